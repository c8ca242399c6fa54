"""The page's tables of kinds are bold only where a kind is above the better one of its parts."""

import pytest

from longtail.report.kind_tables import kind_tables, over_in_words


def difference(low: float | None, high: float | None = 0.3, t: float | None = 2.5) -> dict:
    return {"value": 0.1, "ci_low": low, "ci_high": high, "t": t}


def row(kind: str, slice_: str = "all", **over: dict) -> dict:
    own = {"recommender": "swing", "variant": "served", "kind": kind, "slice": slice_}
    over = over or {"recommender": difference(-0.1), "list": difference(-0.1)}
    return own | {"metric": "ndcg", "k": 10, "value": 0.5, "better": "list", "over": over}


def test_a_line_for_each_kind_and_a_column_for_each_slice() -> None:
    rows = [row(kind, name) for name in ("all", "items:tail") for kind in ("recommender", "list", "inject")]
    (table,) = kind_tables([*rows, row("paper") | {"k": 5}, row("paper") | {"metric": "recall"}], 10)
    assert (table["recommender"], table["variant"]) == ("swing", "served")
    assert table["slices"] == ["all", "items tail"]
    assert [line["kind"] for line in table["lines"]] == ["recommender alone", "list alone", "inject"]
    assert [[cell["row"] for cell in line["cells"]] for line in table["lines"]] == [
        [rows[number], rows[number + 3]] for number in range(3)
    ]


@pytest.mark.parametrize(
    ("own", "bold"),
    [
        (row("paper", recommender=difference(0.2), list=difference(0.01)), True),
        (row("paper", recommender=difference(0.2), list=difference(-0.01)), False),
        (row("paper", recommender=difference(0.2), list=difference(None)), False),
        (row("list", recommender=difference(0.2)), False),
    ],
)
def test_only_above_the_better_part_is_bold(own: dict, bold: bool) -> None:
    (table,) = kind_tables([own], 10)
    assert table["lines"][0]["cells"] == [{"row": own, "above": bold}]


def test_differences_in_words() -> None:
    own = row("paper", recommender=difference(-0.1), list=difference(0.05, t=None), paper=difference(None))
    assert over_in_words(own) == (
        "over recommender alone +0.1000 (−0.1000 to +0.3000, t +2.5); over list alone +0.1000 (+0.0500 to +0.3000);"
        " over paper +0.1000"
    )
