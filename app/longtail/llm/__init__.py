"""The LLM room: prompts, items as text, tuning, and the engines that answer."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "finetune":
        from longtail.llm.finetune.finetune_stage import finetune

        return finetune
    raise AttributeError(name)


__all__ = ["finetune"]
