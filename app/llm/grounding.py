"""Grounding: what an LLM wrote -> an item of the catalogue, or nothing. The text is data; it is looked up, never obeyed."""

import re
import unicodedata

import numpy as np
import pyarrow as pa

from app.llm.items import MAX_TITLE, item_texts

_ID = re.compile(r"\s*i(\d+)\s*")


class Grounder:
    """Looks up item texts of one rendering.

    Titles: exact, then after case, accents, punctuation and spaces are levelled. A title that several items share names
    none of them. Ids: `i12` within the catalogue.
    """

    def __init__(self, items: pa.Table, rendering: str) -> None:
        self.size, self.rendering = items.num_rows, rendering
        self._exact: dict[str, int] = {}
        self._levelled: dict[str, int] = {}
        if rendering == "title":
            texts = item_texts(items, "title")
            self._exact = _unambiguous(texts)
            self._levelled = _unambiguous([level(text) for text in texts])

    def ground(self, text: str) -> int | None:
        """The item code that `text` names, or None."""
        if self.rendering == "title":
            cut = text.strip()[:MAX_TITLE]
            return self._exact.get(cut, self._levelled.get(level(cut)))
        found = _ID.fullmatch(text)
        code = int(found.group(1)) if found and len(found.group(1)) < 10 else -1
        return code if 0 <= code < self.size else None

    def parses(self, text: str) -> bool:
        """Whether `text` has the form of an item at all; one that has, yet names none, is `not_in_catalogue`."""
        return bool(text.strip()) if self.rendering == "title" else bool(_ID.fullmatch(text))


def level(text: str) -> str:
    """Lower case, no accents, words and digits only."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[a-z0-9]+", plain.lower()))


def _unambiguous(texts: list[str]) -> dict[str, int]:
    unique, first, counts = np.unique(np.asarray(texts, object), return_index=True, return_counts=True)
    return {
        text: int(code)
        for text, code, count in zip(unique, first, counts, strict=True)
        if count == 1 and text
    }
