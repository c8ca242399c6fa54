"""The catalogue's ids are joined with the log's where that is sure, and never lose their titles without a word."""

import logging
import re

import pyarrow as pa
import pytest

from longtail.data.catalogue_ids import join


def joined(
    listed: list[str], met: list[str], caplog: pytest.LogCaptureFixture
) -> tuple[list[str], int, int, str]:
    logging.getLogger("longtail").propagate = True
    table = pa.table({"title": ["x"] * len(listed), "item_id": pa.array(listed, pa.string())})
    with caplog.at_level(logging.WARNING, "longtail"):
        found, rewritten, met_and_listed = join(table, pa.array(met), "items.csv")
    assert found.column_names == table.column_names and found["title"].equals(table["title"])
    return found["item_id"].to_pylist(), rewritten, met_and_listed, caplog.text


@pytest.mark.parametrize(
    ("listed", "met", "expected"),
    [
        (["1.0", "2.0", "-3.0"], ["1", "2", "7"], ["1", "2", "-3"]),
        (["1", "2"], ["1.0", "2.0"], ["1.0", "2.0"]),
    ],
)
def test_whole_numbers_that_were_written_as_floats_follow_the_log(
    listed: list[str], met: list[str], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert joined(listed, met, caplog) == (expected, len(listed), 2, "")


@pytest.mark.parametrize(
    ("listed", "met", "words"),
    [
        (
            ["A1", "B2"],
            ["a1", "b2"],
            r"2 items of the log are not in the catalogue.*the log has 'a1', the catalogue 'A1'",
        ),
        (["007", "8"], ["7", "8"], r"1 items of the log.*the log has '7', the catalogue '007'"),
        (["1.0", "x"], ["1", "2"], r"1 items of the log.*the log has '1', the catalogue '1.0'"),
        (["p-1"], ["p_1"], r"the log has 'p_1', the catalogue 'p-1'"),
        (
            ["x", "y"],
            ["1", "2"],
            r"items.csv: no item of the catalogue is in the log.*the log has '1', the catalogue 'x'",
        ),
    ],
)
def test_what_is_not_sure_stays_apart_and_is_said_with_an_example_of_both(
    listed: list[str], met: list[str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    ids, rewritten, both, said = joined(listed, met, caplog)
    assert ids == listed and not rewritten and both == len(set(listed) & set(met))
    assert re.search(words, said)


@pytest.mark.parametrize(("listed", "met"), [(["a", "b", "cold"], ["a", "b", "unlisted"]), ([], ["a"])])
def test_ids_that_join_and_a_log_without_a_catalogue_need_no_word(
    listed: list[str], met: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert joined(listed, met, caplog) == (listed, 0, 2 if listed else 0, "")
