"""Grounding: from text that an LLM wrote to an item of the catalogue, or to nothing. The text is only looked up."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.llm.prompts.item_text import (
    LETTERS,
    MAX_TITLE,
    item_names,
    item_texts,
    new_numbers,
    one_line,
)
from longtail.schema import NOTHING

_ID = re.compile(r"\s*i(\d{1,9})\s*", re.ASCII)
_STRING = re.compile(rf"\s*([a-z]{{{LETTERS}}}|[a-z]{{{2 * LETTERS}}})\s*")


class Grounder:
    """Looks up item texts of one rendering.

    Ids: `i12`, if the catalogue has that number; strings: the letters. Titles: the exact text; else the text without case,
    accents, punctuation and extra spaces (see `level`); else the nearest title (see `NearestTitle`). A text of several
    items names none.
    """

    def __init__(self, items: pa.Table, rendering: str) -> None:
        self.size, self.rendering = items.num_rows, rendering
        self._exact: dict[str, int] = {}
        self._levelled: dict[str, int] = {}
        if rendering == "title":
            texts = item_texts(items, "title")
            self._exact = _codes(texts)
            self._levelled = _codes([level(text) for text in texts])
            self._names = [level(name) for name in item_names(items)]
        if rendering == "string":
            self._exact = _codes(item_texts(items, "string"))
        if rendering == "renumbered":
            self._numbered = np.argsort(new_numbers(items))

    def ground_all(self, texts: Sequence[str]) -> np.ndarray:
        """The item code that each text names, int32 [n]; NOTHING if it names none. Equal texts are looked up once."""
        written = pa.array(texts, pa.string()).dictionary_encode()
        distinct = written.dictionary.to_pylist()
        if self.rendering == "title":
            codes = self._titles(distinct)
        else:
            codes = np.fromiter(map(self._id, distinct), np.int32, len(distinct))
        return codes[written.indices.to_numpy()]

    def formed(self, texts: Sequence[str]) -> np.ndarray:
        """bool [n]: which texts have the form of an item. If such a text names no item, it is `not_in_catalogue`."""
        test = {"title": str.strip, "string": _STRING.fullmatch}.get(self.rendering, _ID.fullmatch)
        return np.fromiter((bool(test(text)) for text in texts), bool, len(texts))

    def _id(self, text: str) -> int:
        if self.rendering == "string":
            return self._exact.get(text.strip(), NOTHING)
        found = _ID.fullmatch(text)
        number = int(found.group(1)) if found else NOTHING
        if not 0 <= number < self.size:
            return NOTHING
        return int(self._numbered[number]) if self.rendering == "renumbered" else number

    def _titles(self, texts: list[str]) -> np.ndarray:
        known = [self._known(text) for text in texts]
        unknown = [place for place, code in enumerate(known) if code is None]
        codes = np.array([NOTHING if code is None else code for code in known], np.int32)
        if unknown:
            codes[unknown] = self._nearest.find([level(texts[place]) for place in unknown])
        return codes

    def _known(self, text: str) -> int | None:
        """The item code of a text, or of its first MAX_TITLE characters, because an LLM may know the full title.

        NOTHING if several items share the text, None if no item has it.
        """
        line = one_line(text)
        for whole in (line, line[:MAX_TITLE].rstrip()):
            if whole in self._exact:
                return self._exact[whole]
            if (plain := level(whole)) in self._levelled:
                return self._levelled[plain]
        return None

    @cached_property
    def _nearest(self) -> "NearestTitle":
        return NearestTitle(self._names)

    def __getstate__(self) -> dict[str, Any]:
        """The state without the index of nearest titles: each process builds it when first needed, in about a second."""
        return {name: value for name, value in self.__dict__.items() if name != "_nearest"}


class NearestTitle:
    """The nearest of a catalogue's names by the cosine of TF-IDF vectors of character trigrams, or none.

    A name is accepted only if it is similar enough, far enough ahead of the second, and contains every number of the text:
    often only a size or a part number differs between two items.
    """

    SIMILARITY = 0.9
    AHEAD = 0.1
    """Measured on Beauty's 12,101 titles, a fifth of them removed from the catalogue. Of damaged titles (letters changed,
    words dropped or swapped, end cut off) 45 % name an item, 99.8 % of these correctly. Of removed titles 1.7 % name an
    item, of halves of two titles none. In all, 99.2 % of named items are correct. At 0.85 and 0.2: 49 % and 99.0 %.
    """
    FEATURES = 2**20
    """Size of the trigram hash. A hash also counts trigrams that are not in the catalogue; they lower the similarity."""
    WORKING_MEMORY = 64
    """Most MiB of similarities in memory at a time."""

    def __init__(self, names: Sequence[str]) -> None:
        """names: one per item code, after `level`. A name of several items can be nearest, but gives NOTHING."""
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
        from sklearn.neighbors import NearestNeighbors

        owners = _codes(names)
        self.names = [*owners]
        self.codes = np.array([*owners.values(), NOTHING], np.int32)
        self._trigrams = HashingVectorizer(
            analyzer="char_wb",
            ngram_range=(3, 3),
            n_features=self.FEATURES,
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
        )
        self._weights = TfidfTransformer(sublinear_tf=True)
        # The empty name is similar to no text: it is the second neighbour if the catalogue has one name.
        counts = self._trigrams.transform([*self.names, ""])
        self._index = NearestNeighbors(n_neighbors=2, metric="cosine", algorithm="brute")
        self._index.fit(self._weights.fit_transform(counts))

    def find(self, texts: Sequence[str]) -> np.ndarray:
        """The item codes, int32 [n], of texts after `level`; NOTHING if none is near enough."""
        from sklearn import config_context

        if not self.names:
            return np.full(len(texts), NOTHING, np.int32)
        with config_context(working_memory=self.WORKING_MEMORY):
            distances, found = self._index.kneighbors(
                self._weights.transform(self._trigrams.transform(texts))
            )
        near = (1 - distances[:, 0] >= self.SIMILARITY) & (distances[:, 1] - distances[:, 0] >= self.AHEAD)
        for place in np.flatnonzero(near):
            near[place] = _numbers(texts[place]) <= _numbers(self.names[found[place, 0]])
        return np.where(near, self.codes[found[:, 0]], NOTHING).astype(np.int32)


def level(text: str) -> str:
    """The text in lower case, without accents, with only letters and digits of any script, words joined by one space.

    Invisible characters inside words (soft hyphen, ZWNJ, ZWJ) are removed, because an LLM may leave them out.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = (c for c in plain if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    return " ".join(re.findall(r"[^\W_]+", "".join(letters)))


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", text))


def _codes(texts: Sequence[str]) -> dict[str, int]:
    """The item code of every text, NOTHING if several items have it. The empty text is left out."""
    counts = Counter(texts)
    return {text: code if counts[text] == 1 else NOTHING for code, text in enumerate(texts) if text}
