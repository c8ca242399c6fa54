"""Where a fit finds the texts of items, and what they depend on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from longtail.data.item_words import read_item_words
from longtail.recipe import TFIDF, RecommenderSection, Text
from longtail.text.embed_stage import read_vectors, vectors_of
from longtail.text.item_texts import ItemTexts
from longtail.workspace import Workspace
from longtail.workspace.place import Place


@dataclass(frozen=True)
class TextSource:
    """In `data`, a published place, are the words; each pretrained encoder has its `vectors`. Calling it reads them."""

    data: Place
    counted: bool = True
    vectors: tuple[Place, ...] = ()

    @classmethod
    def of(
        cls, text: Text, ws: Workspace, data: Place, readers: Iterable[RecommenderSection]
    ) -> "TextSource":
        """The texts for some recommenders. If none of them reads texts, it has the words alone, whatever the recipe names.
        Raises InputError if `embed` has not run for an encoder that is needed.
        """
        if not any(one.reads_texts for one in readers):
            return cls(data)
        return cls.whole(text, ws, data)

    @classmethod
    def whole(cls, text: Text, ws: Workspace, data: Place) -> "TextSource":
        """The texts as all encoders of the recipe see them. Raises InputError as `of` does."""
        return cls(data, TFIDF in text.encoders, tuple(vectors_of(ws, one) for one in text.pretrained))

    def __call__(self) -> ItemTexts:
        vectors = tuple(read_vectors(one) for one in self.vectors)
        return ItemTexts(read_item_words(self.data), self.counted, vectors)

    @property
    def told(self) -> dict[str, Any]:
        """What a fingerprint depends on, beside the places; empty for words alone, as all was before there were encoders."""
        return {} if self.counted and not self.vectors else {"words": self.counted}
