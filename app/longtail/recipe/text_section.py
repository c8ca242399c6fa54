"""What reads the texts of items."""

from typing import Annotated

from pydantic import Field, field_validator

from longtail.recipe.section import Section

TFIDF = "tfidf"


class Text(Section):
    encoders: Annotated[list[str], Field(min_length=1)] = [TFIDF]
    """What makes vectors of title and attributes. `tfidf`: the words that are in them. Any other one is a pretrained model:
    `minilm` (a sentence encoder) or `smollm2` (an LLM of 135 M), which come with the extra `pretrained`; a Hugging Face id;
    a folder; or a .gguf file. Recommenders with `text` use all of them."""

    @field_validator("encoders")
    @classmethod
    def _distinct(cls, encoders: list[str]) -> list[str]:
        if len(set(encoders)) < len(encoders) or not all(one.strip() for one in encoders):
            raise ValueError(f"each encoder once, and none empty, got {encoders}")
        return encoders

    @property
    def pretrained(self) -> list[str]:
        """The encoders that the stage `embed` runs."""
        return [one for one in self.encoders if one != TFIDF]
