"""The model card of a tuned LLM: what it is, its training data and metrics, how to load it, and its limits."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from jinja2 import Environment, StrictUndefined

from longtail import __version__
from longtail.data import Prepared
from longtail.llm.prompts.words import QUESTIONS
from longtail.recipe import Recipe, Role, Tuning
from longtail.text.pretrained import PACKAGED, hub_name
from longtail.workspace.place import Place

PACKAGES = ("torch", "transformers", "deepspeed", "peft")
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
DOES = {
    "generator": "writes the items that a user may take next",
    "discriminator": "tells plausible interactions of a user from noisy ones",
}
ADAPTER = """, and `adapter/` the adapters alone, for peft: they go on the base after
`base.resize_token_embeddings(len(tokenizer))`"""
ITEM = {"token": "<item_0>", "id": " i0,", "title": "{title of item 0}\n"}
ITEM |= {"renumbered": " i{number of item 0},", "string": " {letters of item 0},"}
"""How the example in the card writes an item, for each rendering."""

CARD = """\
---
{{ front }}---

# {{ name }}: {{ role }}

This model {{ does }}. It is {{ start }}, {{ way }} on the interactions of one catalogue with Longtail {{ longtail }}.

| | |
| --- | --- |
| data | `{{ fingerprint }}`: {{ data }} |
| examples | {{ examples }} |
| tasks (loss weight) | {{ tasks }} |
{% if steps %}
| training loss | first {{ '%.4f' | format(first) }}, last {{ '%.4f' | format(last) }} |
{% endif %}
{% if best is not none %}
| validation loss | best {{ '%.4f' | format(best) }} at step {{ best_step }} |
{% endif %}
| steps | {{ '{:,}'.format(steps) }} |
| tokens | {{ '{:,}'.format(tokens) }} in {{ '{:,.0f}'.format(seconds) }} s |
| workers | {{ workers }} |
| versions | {{ versions }} |

`curve.parquet` has every step (the workspace's `tensorboard/{{ role }}/` the same for TensorBoard), `worth.json` what the
model is worth on validation items{{ adapter }}.

## Recipe

```yaml
{{ recipe }}```

## Loading it

With transformers, in this folder:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
prompt = (tokenizer.bos_token or "") + {{ prompt }}
ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
likeliest = model(ids).logits[0, -1].topk(10).indices
print(tokenizer.convert_ids_to_tokens(likeliest.tolist()))
```

With vLLM, the same prompt:

```python
from vllm import LLM, SamplingParams

llm = LLM(model=".", max_logprobs=10)
answers = llm.generate({"prompt_token_ids": ids[0].tolist()}, SamplingParams(max_tokens=1, logprobs=10))
```

Longtail joins the token ids of instruction and items one by one; where items are written as titles, a tokenizer given
the whole text may cut it elsewhere.

## Limits

It knows the items of this one catalogue by their codes and titles at the time of tuning; an item that came later has
no token and no history. What it says of users is learned from the interactions of this data set, with their biases, and
holds for no other. It was not made for conversation, and answers other questions no better than its base.
"""


def write_card(
    place: Place, recipe: Recipe, role: Role, prepared: Prepared, examples: Mapping[str, int], workers: int
) -> None:
    """Write README.md into `place`, the folder of the tuned model. It must already hold `curve.parquet`.

    examples: counts by name, as `write_examples` returns them.
    """
    section: Tuning = getattr(recipe, role)
    (place / "README.md").write_bytes(
        Environment(undefined=StrictUndefined, trim_blocks=True)
        .from_string(CARD)
        .render(
            front=_front(recipe, role),
            name=recipe.name,
            role=role,
            does=DOES[role],
            start=_start(recipe, role),
            way=_way(section),
            longtail=__version__,
            fingerprint=prepared.fingerprint,
            data=_told(prepared.counts),
            examples=_told(examples),
            tasks=", ".join(f"{task} ({weight:g})" for task, weight in section.tasks.items()),
            workers=workers,
            versions=", ".join(f"{name} {version(name)}" for name in PACKAGES),
            adapter=ADAPTER if section.lora and section.epochs else "",
            recipe=_recipe(recipe, role),
            prompt=repr(_prompt(section, recipe.llm.items)),
            **_losses((place / "curve.parquet").read_table()),
        )
        .encode()
    )


def _front(recipe: Recipe, role: Role) -> str:
    """The YAML that the Hugging Face hub reads."""
    base = recipe.llm.base
    known = {"base_model": hub_name(base)} if _on_hub(base) else {}
    known |= {"license": PACKAGED[base].licence.lower()} if base in PACKAGED else {}
    tags = ["longtail", "recommendation", role]
    return yaml.safe_dump(
        {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": tags} | known,
        sort_keys=False,
    )


def _start(recipe: Recipe, role: Role) -> str:
    if role == "discriminator":
        return "the generator of the same recipe"
    if recipe.llm.base == "small":
        return "a Llama from scratch"
    return f"`{_shown(recipe.llm.base)}`"


def _way(section: Tuning) -> str:
    if not section.epochs:
        return "not tuned"
    return f"tuned with LoRA of rank {section.lora}" if section.lora else "tuned in all its weights"


def _recipe(recipe: Recipe, role: Role) -> str:
    llm = recipe.llm.model_dump(mode="json") | {"base": _shown(recipe.llm.base)}
    section = getattr(recipe, role).model_dump(mode="json")
    return yaml.safe_dump({"seed": recipe.seed, "llm": llm, role: section}, sort_keys=False)


def _prompt(section: Tuning, rendering: str) -> str:
    """A prompt of the section's task with the highest weight, up to where its answer begins, with item 0 for every item."""
    task = max(section.tasks, key=lambda one: section.tasks[one])
    item = ITEM[rendering]
    texts = QUESTIONS[task]
    return "".join(text + item for text in texts[:-1]) + texts[-1] + (item if task == "next_item" else "")


def _losses(curve: pa.Table) -> dict[str, Any]:
    """First and last training loss, best validation loss with its step, and totals, of a curve with one row per step."""
    if not curve.num_rows:
        return {"first": None, "last": None, "best": None, "best_step": None} | dict.fromkeys(
            ("steps", "tokens", "seconds"), 0
        )
    curve = curve.sort_by("step")
    last = curve.slice(curve.num_rows - 1).to_pylist()[0]
    validated = curve.filter(pc.is_valid(curve["valid_loss"])).sort_by("valid_loss")
    best = validated.slice(0, 1).to_pylist()[0] if validated.num_rows else {"valid_loss": None, "step": None}
    return {
        "first": curve["loss"][0].as_py(),
        "last": last["loss"],
        "best": best["valid_loss"],
        "best_step": best["step"],
        "steps": last["step"],
        "tokens": last["tokens"],
        "seconds": last["seconds"],
    }


def _on_hub(base: str) -> bool:
    return base != "small" and not Path(base).exists() and HUB_ID.fullmatch(base) is not None


def _shown(base: str) -> str:
    """The base's name. Of a local path only the last part: a card is shared, and the rest of the path is private."""
    return base if base == "small" or _on_hub(base) else Path(base).name


def _told(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if type(count) is int)
