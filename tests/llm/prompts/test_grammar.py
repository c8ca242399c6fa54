"""A grammar of lists: the engine's own compiler takes every list of the texts and nothing else, whatever stands in them."""

from functools import cache

import pytest
import xgrammar
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.llm.prompts.grammar import MOST_TEXTS, list_grammar
from longtail.llm.small_llama import build_tokenizer
from tests.llm.prompts.test_item_text import catalogue_of

AWKWARD = [
    *(
        'say "yes"',
        "back\\slash",
        "a\\nb",
        "日本茶",
        "tea 😀",
        "tab\tinside",
        "nul\x00",
        "nul",
        "bell\x08",
        "# no",
    ),
    *(
        "// no",
        "[a-z]+",
        "x ::= y",
        "(a | b)",
        "é",
        "e\u0301",
        " lead",
        "a" * 120,
        "a" * 119,
        "a",
        "'",
        "</s",
    ),
]
TOKENIZER = build_tokenizer(catalogue_of(AWKWARD), "title")


@cache
def compiler() -> xgrammar.GrammarCompiler:
    return xgrammar.GrammarCompiler(
        xgrammar.TokenizerInfo.from_huggingface(TOKENIZER, vocab_size=len(TOKENIZER))
    )


def takes(grammar: str, text: str) -> bool:
    """Whether an engine could write this text and then end."""
    matcher = xgrammar.GrammarMatcher(compiler().compile_grammar(grammar))
    tokens = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return all(map(matcher.accept_token, tokens)) and matcher.accept_token(TOKENIZER.eos_token_id)


def test_awkward_texts_can_be_written_one_by_one_and_together():
    entries = [text + "\n" for text in AWKWARD]
    grammar = list_grammar(entries)
    for written in [*entries, "".join(entries)]:
        assert takes(grammar, written), written


@settings(max_examples=60)
@given(
    texts=st.sets(st.text(alphabet="abc", min_size=1, max_size=4), min_size=1, max_size=8),
    lines=st.lists(st.text(alphabet="abc", max_size=4), max_size=4),
    unfinished=st.sampled_from(["", "", "a", "c"]),
)
def test_a_list_is_taken_only_if_every_line_is_a_text(texts, lines, unfinished):
    written = "".join(line + "\n" for line in lines) + unfinished
    expected = bool(lines) and set(lines) <= texts and not unfinished
    assert takes(list_grammar(text + "\n" for text in texts), written) == expected


@pytest.mark.parametrize(
    ("texts", "named"),
    [([], "no item"), ([f"i{code}," for code in range(MOST_TEXTS + 1)], f"{MOST_TEXTS + 1} items")],
)
def test_nothing_and_too_much_is_refused(texts, named):
    with pytest.raises(InputError, match=f"constrained = true.*{named}"):
        list_grammar(texts)
