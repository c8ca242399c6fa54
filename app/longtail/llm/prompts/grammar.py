"""A grammar under which an LLM can write lists of given texts and nothing else (vLLM's structured outputs, xgrammar)."""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise

from longtail.errors import InputError

MOST_TEXTS = 20_000
"""An engine compiles a grammar once, in a time that grows faster than the texts: 16 s for Beauty's 12,101 titles and 38 s
for 20,000 with a vocabulary of 1,000 tokens, 45 s for 12,101 with 130,000 (two busy cores). For every prompt it is parsed
again, 0.05 s and 0.08 s, and all of it stays in memory, 9 to 13 KB a title; beyond 512 MB vLLM would compile over and over.
"""


def list_grammar(texts: Iterable[str]) -> str:
    """The grammar (EBNF) of lists of one or more `texts`, separators included; the end token may follow any of them.

    Texts are matched byte by byte, so tokens may be cut otherwise than in tuning. Beginnings that texts share are
    written once: compiling is a third as long. Raises InputError for no texts, or for more than MOST_TEXTS.
    """
    distinct = sorted(set(texts))
    if not distinct:
        raise InputError(
            "constrained = true: no item that may be proposed has a text of its own, so nothing could be written;"
            " give the items titles, or widen `only`."
        )
    if len(distinct) > MOST_TEXTS:
        raise InputError(
            f"constrained = true: a grammar of {len(distinct)} items takes an engine too long, at most {MOST_TEXTS} can"
            " be compiled; propose fewer by `only`, or set constrained to false: what is written is looked up anyway."
        )
    return f"root ::= item+\nitem ::= {''.join(_tree(distinct, 0, len(distinct), 0))}"


def _tree(texts: list[str], first: int, last: int, depth: int) -> Iterator[str]:
    """The alternatives texts[first:last] (sorted, distinct), of which `depth` characters are written already."""
    shared = len(os.path.commonprefix([texts[first], texts[last - 1]]))
    if shared > depth or last - first == 1:
        yield _literal(texts[first][depth:shared])
    if last - first == 1:
        return
    if shared > depth:
        yield " "
    # A text that ends here sorts first; its branch is the empty one.
    letters = [text[shared : shared + 1] for text in texts[first:last]]
    turns = [first + place for place, (a, b) in enumerate(pairwise(letters), 1) if a != b]
    yield "("
    for branch, (start, end) in enumerate(pairwise([first, *turns, last])):
        yield " | " if branch else ""
        yield from _tree(texts, start, end, shared)
    yield ")"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
