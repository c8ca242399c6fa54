"""The tree of a catalogue's texts: no text is lost, no start is read twice, and sums along it are those of each text."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.llm.prompts.item_text import ItemTokens
from longtail.llm.quality.text_tree import ROOT, TextTree, text_trees

TEXTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=12)


def item_tokens(texts: list[list[int]]) -> ItemTokens:
    ends = np.cumsum([0, *map(len, texts)])
    return ItemTokens(np.array([token for text in texts for token in text], np.int32), ends)


def starts(texts: list[list[int]]) -> set[tuple[int, ...]]:
    return {tuple(text[:end]) for text in texts for end in range(1, len(text) + 1)}


def path(tree: TextTree, node: int) -> list[int]:
    return [] if node == ROOT else [*path(tree, tree.parents[node]), int(tree.tokens[node])]


@given(TEXTS)
def test_each_node_is_one_start_and_each_text_one_path(texts):
    tree = TextTree.build(item_tokens(texts), np.arange(len(texts)))
    paths = [tuple(path(tree, node)) for node in range(len(tree.tokens))]
    assert len(paths) == len(set(paths)) and set(paths) == starts(texts)
    assert [path(tree, end) for end in tree.ends] == texts
    assert {paths[node] for node in tree.inner} == {start[:-1] for start in paths} - {()}


@given(TEXTS)
def test_a_node_sees_its_own_text_and_no_other(texts):
    tree = TextTree.build(item_tokens(texts), np.arange(len(texts)))
    paths = [path(tree, node) for node in tree.inner]
    for row, one in enumerate(paths):
        assert tree.sees()[row].tolist() == [one[: len(other)] == other for other in paths]


@given(TEXTS, st.integers(0, 99))
def test_sums_are_those_of_each_text(texts, seed):
    tree = TextTree.build(item_tokens(texts), np.arange(len(texts)))
    values = np.random.default_rng(seed).normal(size=len(tree.tokens))
    by_start = {tuple(path(tree, node)): values[node] for node in range(len(values))}
    expected = [sum(by_start[tuple(text[: end + 1])] for end in range(len(text))) for text in texts]
    np.testing.assert_allclose(tree.add_up(values), expected)


@given(TEXTS, st.integers(1, 12))
def test_trees_hold_every_item_once_and_no_more_tokens_than_allowed(texts, most):
    trees = list(text_trees(item_tokens(texts), most))
    assert sorted(np.concatenate([tree.items for tree in trees])) == list(range(len(texts)))
    for tree in trees:
        assert len(tree.inner) <= most or len(tree.items) == 1
        assert [path(tree, end) for end in tree.ends] == [texts[item] for item in tree.items]
