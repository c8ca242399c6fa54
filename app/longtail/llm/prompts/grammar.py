"""A grammar that lets an LLM write only lists of given texts (vLLM's structured outputs, xgrammar)."""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise

from longtail.errors import InputError

MOST_TEXTS = 20_000
"""An engine compiles a grammar once, and the time grows faster than the number of texts. With a vocabulary of 1,000 tokens:
16 s for Beauty's 12,101 titles and 38 s for 20,000. With 130,000 tokens: 45 s for 12,101 (two busy cores). The grammar is
parsed again for every prompt, in 0.05 s and 0.08 s. It stays in memory, 9 to 13 KB per title; above 512 MB vLLM would
compile it again and again.
"""


def list_grammar(texts: Iterable[str]) -> str:
    """The grammar (EBNF) of lists of one or more `texts`, separators included; the end token may follow any of them.

    Texts are matched byte by byte, so the tokens may differ from those in tuning. Shared beginnings of texts are written
    once, which cuts compile time to a third. Raises InputError if there are no texts, or more than MOST_TEXTS.
    """
    distinct = sorted(set(texts))
    if not distinct:
        raise InputError(
            "constrained = true: no item that may be proposed has a text that names only it, so nothing can be written;"
            " give the items titles, or widen `only`."
        )
    if len(distinct) > MOST_TEXTS:
        raise InputError(
            f"constrained = true: compiling a grammar of {len(distinct)} items takes too long, at most {MOST_TEXTS} are"
            " allowed; propose fewer items with `only`, or set constrained: false (answers are looked up anyway)."
        )
    return f"root ::= item+\nitem ::= {''.join(_tree(distinct, 0, len(distinct), 0))}"


def _tree(texts: list[str], first: int, last: int, depth: int) -> Iterator[str]:
    """The alternatives texts[first:last] (sorted, distinct); their first `depth` characters are written already."""
    shared = len(os.path.commonprefix([texts[first], texts[last - 1]]))
    if shared > depth or last - first == 1:
        yield _literal(texts[first][depth:shared])
    if last - first == 1:
        return
    if shared > depth:
        yield " "
    # A text that ends here is the first in the order; its branch is empty.
    letters = [text[shared : shared + 1] for text in texts[first:last]]
    turns = [first + place for place, (a, b) in enumerate(pairwise(letters), 1) if a != b]
    yield "("
    for branch, (start, end) in enumerate(pairwise([first, *turns, last])):
        yield " | " if branch else ""
        yield from _tree(texts, start, end, shared)
    yield ")"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
