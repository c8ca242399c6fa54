"""Tables of three libraries become one and the same training set; what is wrong in one is named."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from longtail.api.interaction_table import USUAL, read_interactions
from longtail.errors import InputError

ROWS = {
    "user_id": ["v", "u", "u", "u", "v"],
    "item": [30, 20, 10, 20, 10],
    "time": [5, 9, 1, 2, 4],
    "weight": [1.0, 0.25, 0.5, 1.0, 2.0],
}
TABLES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
DATES = [datetime(2024, 1, day) for day in ROWS["time"]]


def read(table: Any, **named: str) -> Any:
    return read_interactions(table, dict.fromkeys(USUAL) | named)


@pytest.mark.parametrize("library", TABLES)
@pytest.mark.parametrize("times", [ROWS["time"], DATES, [f"2024-01-0{day}" for day in ROWS["time"]]])
def test_items_stand_in_the_order_of_time_and_the_first_of_a_pair_counts(library: str, times: list) -> None:
    found = read(TABLES[library](ROWS | {"time": times}))
    assert found.users.of([0, 1]) == ["u", "v"] and found.items.of([0, 1, 2]) == [10, 20, 30]
    assert found.item_column == "item"
    assert [found.train.history(user).tolist() for user in (0, 1)] == [[0, 1], [0, 2]]
    assert found.train.weights.tolist() == [0.5, 1.0, 2.0, 1.0] and found.train.n_items == 3


def test_without_times_rows_stand_in_order_and_weigh_one() -> None:
    found = read(pd.DataFrame(ROWS).drop(columns=["time", "weight"]))
    assert [found.train.history(user).tolist() for user in (0, 1)] == [[1, 0], [2, 0]]
    assert found.train.weights.tolist() == [1.0] * 4


def test_columns_may_be_named() -> None:
    table = pa.table({"who": [1], "what": [2], "user": [3], "score": [0.5]})
    found = read(table, user="who", item="what", weight="score")
    assert (
        found.users.of([0]) == [1] and found.train.weights.tolist() == [0.5] and found.item_column == "what"
    )


def test_categories_and_fractions_are_read() -> None:
    frame = pd.DataFrame(
        {"user": pd.Categorical(["b", "a", "b"]), "item": list("xyz"), "time": [1.5, 1.0, 1.25]}
    )
    found = read(frame)
    assert [found.items.of(found.train.history(user).tolist()) for user in (0, 1)] == [["y"], ["z", "x"]]


FRAME = pd.DataFrame(ROWS)
FAULTS = [
    (FRAME.drop(columns="user_id"), {}, r"no column 'user' or 'user_id', but item, time, weight. .*user='…'"),
    (FRAME, {"item": "sku"}, r"no column 'sku', but user_id"),
    (FRAME, {"timestamp": "when"}, r"no column 'when'"),
    (FRAME.assign(user="x"), {}, r"several columns may be the user: user, user_id"),
    (FRAME.assign(user_id=["u", None, "u", "v", None]), {}, r"row 2: 'user_id' is missing, and so in 2 of 5"),
    (FRAME.assign(time=[1.0, np.nan, 2, 3, 4]), {}, r"row 2: 'time' is missing"),
    (FRAME.assign(time=["1", "2", "soon", "3", "4"]), {}, r"row 3: time = 'soon' is not a number or a date"),
    (FRAME.assign(time=["1", "2", "2024-01-05", "3", "4"]), {}, r"'time' has dates and numbers"),
    (FRAME.assign(weight=[1, 1, 1, -2.0, 1]), {}, r"row 4: weight = -2 is negative"),
    (FRAME.assign(weight=[1, np.inf, 1, 1, 1]), {}, r"row 2: weight = 'inf' is not a finite number"),
    (FRAME.assign(weight=["1", "1", b"x", 1, 1]), {}, r"'weight' holds values of several types"),
    (FRAME[:0], {}, r"the table is empty"),
    (ROWS, {}, r"a dict is no table"),
    (pl.LazyFrame(ROWS), {}, r"a LazyFrame is no table.* Call collect\(\) first"),
]


@pytest.mark.parametrize(("table", "named", "message"), FAULTS, ids=[fault[2][:25] for fault in FAULTS])
def test_what_is_wrong_is_named(table: Any, named: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(table, **named)
