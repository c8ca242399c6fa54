"""Items as text: a name that several items share is told apart, and no text can break the list that it stands in."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.llm.prompts.item_text import (
    MAX_TITLE,
    item_names,
    item_texts,
    list_texts,
    new_numbers,
    separator,
)
from longtail.schema import ITEMS


def catalogue_of(titles: list[str | None]) -> pa.Table:
    rows = [
        {"item": code, "item_id": f"sku-{code}", "title": title, "attributes": []}
        for code, title in enumerate(titles)
    ]
    return pa.Table.from_pylist(rows, ITEMS)


def test_items_that_share_a_title_carry_their_ids():
    assert item_texts(catalogue_of(["Twin", "Other", "Twin", None, ""]), "title") == [
        "Twin (sku-0)",
        "Other",
        "Twin (sku-2)",
        "sku-3",
        "sku-4",
    ]


def test_titles_that_cutting_makes_alike_carry_their_ids():
    long = "x" * MAX_TITLE
    assert item_texts(catalogue_of([long + "a", long + "b"]), "title") == [
        f"{long} (sku-0)",
        f"{long} (sku-1)",
    ]


@pytest.mark.parametrize("rendering", ["token", "id", "title", "renumbered", "string"])
def test_an_empty_catalogue_has_no_texts(rendering):
    assert item_texts(catalogue_of([]), rendering) == list_texts(catalogue_of([]), rendering) == []


def test_no_text_looks_like_a_token_of_an_item():
    assert item_texts(catalogue_of(["Buy <item_1>", "I <3 U", "می\u200cخواهم"]), "title") == [
        "Buy ‹item_1›",
        "I ‹3 U",
        "می\u200cخواهم",
    ]


def test_a_new_number_is_one_of_the_old_ones_and_a_random_one():
    items = catalogue_of([None] * 400)
    texts = item_texts(items, "renumbered")
    assert texts != item_texts(items, "id") and sorted(texts) == sorted(item_texts(items, "id"))
    moved = np.corrcoef(new_numbers(items), np.arange(400))[0, 1]
    assert abs(moved) < 0.2, "near numbers say nothing"


@pytest.mark.parametrize("rendering", ["renumbered", "string"])
def test_what_an_id_is_written_as_depends_on_nothing_but_the_ids(rendering):
    items = catalogue_of([None] * 50)
    other = items.take(pa.array(np.random.default_rng(0).permutation(50)))
    found = dict(zip(items["item_id"].to_pylist(), item_texts(items, rendering), strict=True))
    assert found == dict(zip(other["item_id"].to_pylist(), item_texts(other, rendering), strict=True))


def test_random_strings_of_a_large_catalogue_differ():
    texts = item_texts(catalogue_of([None] * 60_000), "string")
    assert len(set(texts)) == 60_000
    assert {len(text) for text in texts} == {6, 12}, "those that would be alike have twice as many letters"
    assert all(re.fullmatch("[a-z]+", text) for text in texts[:100])


@given(st.lists(st.none() | st.text(alphabet="ab \n\r\u2028", max_size=4), max_size=12))
def test_every_text_is_one_line_and_one_item(titles):
    catalogue = catalogue_of(titles)
    texts = item_texts(catalogue, "title")
    assert len(set(texts)) == len(texts)
    assert all(text and text == text.strip() and len(text.splitlines()) == 1 for text in texts)
    entries = list_texts(catalogue, "title")
    assert "".join(entries).split(separator("title"))[:-1] == texts
    alone = [name for name in item_names(catalogue) if item_names(catalogue).count(name) == 1]
    assert set(alone) <= set(texts), "a name of one item's own stays as it is"
