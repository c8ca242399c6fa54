"""The words of the report, each defined in one line. README's words are these: `tests/test_documents.py` holds them."""

import re
from collections.abc import Iterable

from longtail.variants import VARIANTS, label

_GENERAL = {
    "LLM": "a language model; the generator proposes items, a discriminator may be asked about them",
    "observed": "the log as it was recorded",
    "generated": "the log with items that the generator proposes, as many as the judge would keep",
    "judged": "the log with the proposals that the judge accepts, by confidences; a second LLM may be one of them",
    "control": "does the same as the LLM without an LLM: as many items for the same users, from another source",
    "plain": "trained on the log as it was recorded, and served without any list",
    "trained on": "which log the recommender learned from: the observed one, or one with additions",
    "fused": "at serving, the recommender's list and a second list become one",
    "fit": "one recommender, trained on one log, alone or fused with a list",
    "validation": "an item of each user before the test; every choice is made on these items",
    "test": "the later items of each user, ranked only after everything was chosen",
    "targets": "the test items that are to be found",
    "Recall": "the share of a user's test items that stand among the first k, as in Recall@10; a mean over users",
    "NDCG": "as Recall, but an item near the top counts more",
    "long tail": "items with few training interactions, by default 1 to 5",
    "sparse users": "users with few training interactions, by default at most 5",
    "best rival": "of observed and all controls the one that is highest on the test, which favours the rival",
    "interval": "95 of 100 such intervals hold the true difference; 0 inside means that it may be chance",
    "sure": "above 0 by a test that is corrected: of all that is called sure, one in twenty is wrong on average",
    "corrected": "made stricter because many comparisons are made at once (Benjamini-Hochberg)",
    "computing": "the time of every part of the run, added up also if parts ran in parallel",
}
GLOSSARY = _GENERAL | {
    label(one.name): one.says for one in VARIANTS.values() if label(one.name) not in _GENERAL
}
"""From a word, as it stands in sentences, to its meaning in one line. Variants mean what they say of themselves."""


def words_in(sentences: Iterable[str]) -> dict[str, str]:
    """The words of the glossary that stand in the sentences, with their meanings, in the order of the glossary."""
    text = " ".join(sentences)
    found = {word: spans for word in GLOSSARY if (spans := _spans(word, text))}
    return {word: GLOSSARY[word] for word, spans in found.items() if _on_its_own(word, spans, found)}


def _spans(word: str, text: str) -> list[tuple[int, int]]:
    """Where a word stands in a text, also at the start of a sentence, in the plural and before «@10»."""
    return [
        one.span() for one in re.finditer(rf"(?<![\w-]){re.escape(word)}s?(?![\w-])", text, re.IGNORECASE)
    ]


def _on_its_own(word: str, spans: list[tuple[int, int]], found: dict[str, list[tuple[int, int]]]) -> bool:
    """Whether it stands somewhere outside of a longer word: «itemcf» is not in «served itemcf»."""
    longer = [span for other, others in found.items() if len(other) > len(word) for span in others]
    return any(not any(low <= start and end <= high for low, high in longer) for start, end in spans)
