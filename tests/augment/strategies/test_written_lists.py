"""Written lists: tokens give the items that the decoded text names, with the probability of their tokens."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgrammar
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from longtail.augment.proposals import OPEN, Proposals
from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.written_lists import ListReader
from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.item_text import item_texts, list_texts, separator
from longtail.llm.small_llama import build_tokenizer
from longtail.schema import ANSWER, NOT_IN_CATALOGUE, NOTHING, OUTCOMES, UNPARSABLE
from tests.llm.prompts.test_item_text import catalogue_of

TITLES = [
    "Trail shoe red",
    "Trail shoe blue",
    "Café déjà-vu",
    None,
    "Twin",
    "Twin",
    "Answer: Yes, or No",
    "Tent",
]
ITEMS = catalogue_of(TITLES)


def _merging(rendering: str) -> PreTrainedTokenizerFast:
    """Byte-level, with tokens that cross separators: `,i`, `red` with a line break, and two line breaks."""
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    own.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    entry = separator(rendering)
    lists = ["".join(list_texts(ITEMS, rendering)), entry * 4, f"{entry}Tent{entry}Tw", f"{entry}i1{entry}i"]
    own.train_from_iterator(lists * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=own, bos_token="<s>", eos_token="</s>")


@cache
def reader_of(rendering: str, kind: str) -> ListReader:
    tokenizer = build_tokenizer(ITEMS, rendering) if kind == "small" else _merging(rendering)
    return ListReader(tokenizer, Catalogue(_sliced(ITEMS), rendering, tokenizer))


def _sliced(items: pa.Table) -> pa.Table:
    slices = pa.array(["mid"] * items.num_rows, pa.string())
    return items.set_column(items.schema.get_field_index("slice"), "slice", slices)


def answers(rows: list[list[tuple[list[int], list[float]]]]) -> pa.Table:
    """Rows of answers; for each question, tokens and log-probabilities."""
    said = [
        [
            {"written": tokens, "written_logprobs": logprobs, "options": [], "option_logprobs": []}
            for tokens, logprobs in row
        ]
        for row in rows
    ]
    return pa.table({"answers": pa.array(said, pa.list_(ANSWER))})


def rows_of(found: Proposals) -> list[tuple[int, str, float]]:
    return list(zip(found.rows.tolist(), found.texts, found.likelihood.tolist(), strict=True))


def read_slowly(tokenizer: PreTrainedTokenizerBase, end: str, row: int, tokens: Any, logprobs: Any) -> list:
    """Brute force: token by token, with one decoded text for the whole answer."""
    found, logprob, closed = [], 0.0, 0
    for place, (token, one) in enumerate(zip(tokens, logprobs, strict=True)):
        logprob += one
        texts = tokenizer.decode(tokens[: place + 1], skip_special_tokens=True).split(end)
        if token in tokenizer.all_special_ids:
            if texts[-1].strip():
                found.append((row, texts[-1].strip(), np.exp(logprob)))
            return found
        found += [(row, text.strip(), np.exp(logprob)) for text in texts[closed:-1]]
        logprob = 0.0 if len(texts) - 1 > closed else logprob
        closed = len(texts) - 1
    return found


@settings(max_examples=150)
@given(data=st.data(), rendering=st.sampled_from(["title", "id"]), kind=st.sampled_from(["small", "merging"]))
def test_reading_equals_the_text_token_by_token(data, rendering, kind):
    reader = reader_of(rendering, kind)
    tokenizer, end = reader.tokenizer, separator(rendering)
    entries = st.sampled_from(
        [*list_texts(ITEMS, rendering), end, " ", "Tent", "i1", f" i99{end}", f"Tnet{end}"]
    )
    written = st.lists(entries, max_size=6).map("".join).map(lambda text: tokenizer(text)["input_ids"])
    noise = st.lists(st.integers(2, len(tokenizer) - 1), max_size=8)
    stop = st.sampled_from([[], [tokenizer.eos_token_id]])
    parts = st.tuples(st.one_of(written, noise), st.one_of(written, noise), stop)
    rows, expected = [], []
    for row in range(data.draw(st.integers(0, 3))):
        rows.append([])
        for first, second, last in data.draw(st.lists(parts, max_size=2)):
            tokens = [token for token in [*first, *second] if token not in tokenizer.all_special_ids] + last
            logprobs = (-(np.arange(len(tokens)) % 5) / 10).tolist()
            rows[-1].append((tokens, logprobs))
            expected += read_slowly(tokenizer, end, row, tokens, logprobs)
    found = reader.read(answers(rows))
    assert [(row, text) for row, text, _ in rows_of(found)] == [(row, text) for row, text, _ in expected]
    assert found.likelihood == pytest.approx([chance for *_, chance in expected], rel=1e-5)
    codes = reader.grounder.ground_all(found.texts)
    assert (found.items == codes).all() and ((found.outcomes == OPEN) == (codes != NOTHING)).all()


def test_the_merging_tokenizer_has_tokens_across_separators():
    """Without such tokens the test above would check nothing new."""
    for rendering in ("title", "id"):
        reader = reader_of(rendering, "merging")
        assert any(rest.strip() for rest in reader._rest.values())
        pairs = reader.tokenizer.batch_decode([[token] for token in range(len(reader.tokenizer))])
        assert any(text.count(separator(rendering)) > 1 for text in pairs)


@pytest.mark.parametrize(
    ("rendering", "text", "outcomes"),
    [
        (
            "title",
            "Trail shoe red\nNo such thing\n \nTwin\nTwin (sku-5)\ncut off",
            [0, "none", "form", "none", 5],
        ),
        ("id", " i0, i999, nonsense, i1", [0, "none", "form"]),
    ],
)
def test_what_names_nothing_is_told_apart(rendering, text, outcomes):
    reader = reader_of(rendering, "small")
    tokens = reader.tokenizer(text, add_special_tokens=False)["input_ids"]
    found = reader.read(answers([[(tokens, [-0.1] * len(tokens))]]))
    names = {"none": NOT_IN_CATALOGUE, "form": UNPARSABLE}
    read = [
        int(item) if item != NOTHING else OUTCOMES[outcome]
        for item, outcome in zip(found.items, found.outcomes, strict=True)
    ]
    assert read == [names.get(outcome, outcome) for outcome in outcomes]


def test_an_end_of_text_ends_the_last_item_and_what_is_cut_off_is_none():
    reader = reader_of("title", "small")
    tokens = reader.tokenizer("Tent", add_special_tokens=False)["input_ids"]
    ended = (tokens + [reader.tokenizer.eos_token_id], [-0.5] * (len(tokens) + 1))
    found = reader.read(answers([[], [(tokens, [-0.5] * len(tokens))], [ended]]))
    (only,) = rows_of(found)
    assert only[:2] == (2, "Tent") and found.items.tolist() == [7]
    assert only[2] == pytest.approx(np.exp(-0.5 * (len(tokens) + 1)))


@pytest.mark.parametrize("rendering", ["title", "id"])
def test_the_grammar_takes_lists_of_allowed_items_alone(rendering):
    reader = reader_of(rendering, "small")
    allowed = np.arange(len(TITLES)) != 7
    info = xgrammar.TokenizerInfo.from_huggingface(reader.tokenizer, vocab_size=len(reader.tokenizer))
    grammar = xgrammar.GrammarCompiler(info).compile_grammar(reader.grammar(allowed))
    prompts = Prompts(reader.tokenizer, ITEMS, rendering, 5, 300)
    for item in range(len(TITLES)):
        matcher = xgrammar.GrammarMatcher(grammar)
        taken = all(map(matcher.accept_token, [*prompts.items.of(0), *prompts.items.of(item), prompts.end]))
        assert taken == allowed[item], item_texts(ITEMS, rendering)[item]


def test_a_grammar_of_no_item_is_refused():
    with pytest.raises(InputError, match="constrained"):
        reader_of("title", "small").grammar(np.zeros(len(TITLES), bool))
