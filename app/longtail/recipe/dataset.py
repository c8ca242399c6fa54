"""The data: where it comes from, how it is filtered, split and sliced."""

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from longtail.recipe.section import Count, Positive, Section, Share

TimeUnit = Literal["s", "ms", "us", "ns"]
Repeats = Literal["first", "last", "all", "weight"]


def _mark(value: object) -> object:
    return "\t" if value in ("\\t", "tab") else value


def _one_mark(value: str) -> str:
    if len(value) != 1 or not value.isascii() or value in "\r\n\0":
        raise ValueError("give one ASCII character, or tab")
    return value


def _text_encoding(value: str) -> str:
    try:
        "".encode(value)
        codecs.getincrementaldecoder(value)
    except (LookupError, TypeError):
        raise ValueError(
            "no encoding of text has this name; give one such as utf-8, utf-16, latin-1, cp1252"
        ) from None
    return value


Mark = Annotated[str, BeforeValidator(_mark), AfterValidator(_one_mark)]
Encoding = Annotated[str, AfterValidator(_text_encoding)]


class Simulation(Section):
    """The simulated store; its true preferences are kept apart for evaluation."""

    users: Positive = 2000
    items: Positive = 800
    tastes: Positive = 16
    mean_history: Annotated[float, Field(ge=4)] = 12.0
    zipf: Annotated[float, Field(ge=0)] = 1.0
    """Exponent of the items' popularity."""
    new_items: Share = 0.05
    """Share of the items that nobody has met yet."""
    noise: Share = 0.1
    """Share of interactions that are accidental clicks."""


class Columns(Section):
    """Which column of a Parquet, CSV or RecBole table holds what; null where the table has none.

    A folder `key=value` above a file is a column too (Hive's partitions).
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = "timestamp"
    """Dates, ISO 8601 in text (without a zone: UTC), or numbers; never both in one log."""
    rating: str | None = None
    title: str | None = "title"
    attributes: list[str] = []


class Dataset(Section):
    source: Literal["simulated", "movielens", "parquet", "csv", "recbole", "lightgcn", "sasrec"] = "simulated"
    """`recbole`: atomic files (.inter, .item). `lightgcn`: a line `user item item …` for each user in train.txt and
    test.txt. `sasrec`: a line `user item` for each interaction, in order of time."""
    path: str | None = None
    """Folder with the raw files, or the interactions themselves with the other files beside them; none if simulated."""
    interactions: str | None = None
    """Name of the interactions inside `path`, a file or a folder of parts, also packed (.gz, .zst); by default
    interactions.parquet or .csv, with a published split train.parquet, .csv or .txt, and of RecBole and SASRec files
    the only one there. Parts that begin with _ or . are no data, but for folders key=value."""
    test: str | None = None
    """Published split: file name of the test interactions inside `path`; by default test.parquet, .csv or .txt."""
    items: str | None = None
    """File name of the catalogue; by default items.parquet, items.csv or the only .item file, if it is there."""
    columns: Columns = Columns()
    delimiter: Mark = ","
    """CSV: what stands between two values; `tab` for a tab."""
    quote: Mark | None = '"'
    """CSV: what stands around a value that holds a delimiter or a line end, and twice for itself; null for nothing."""
    escape: Mark | None = None
    """CSV: what stands before a quote or delimiter that belongs to a value, such as a backslash."""
    encoding: Encoding = "utf-8"
    """CSV and RecBole: how letters are written as bytes, by Python's names, such as utf-16, latin-1 or cp1252."""
    simulation: Simulation = Simulation()
    time_unit: TimeUnit | None = None
    """What times count that are numbers. null: they only order; if one has a fraction, they count as seconds."""
    null_words: list[str] = ["NULL", "null", "\\N", "NaN", "nan", "None", "<NA>"]
    """Ids that are one of these words stand for no id, as databases and pandas write it; such rows are dropped, counted."""
    min_rating: float | None = None
    """Interactions rated lower are not positives and are dropped, counted."""
    repeats: Repeats = "first"
    """Of a user's interactions with one item the `first` or the `last` in time is kept, the others are dropped, counted.
    `all`: those of the training part stay too; what is held out is as with `first`. `weight`: the first is kept, and
    weighs as often as it came about in the training part."""
    k_core: Count = 0
    """Keep only users with at least this many items and items with at least this many users, until nothing changes."""
    split: Literal["leave-one-out", "temporal", "published"] = "leave-one-out"
    """`published`: train and test are files of their own, and no times are read."""
    valid_share: Share = 0.1
    """Temporal split: this share of all interactions by time, before the test's. Published split: this share of each
    user's train items, drawn by `seed`."""
    test_share: Share = 0.1
    """Temporal split: the last share of all interactions by time."""
    tail_max: Count = 5
    """An item with 1..tail_max training interactions is long-tail (LLM-I2I: 5 on Amazon)."""
    head_share: Share = 0.2
    """This share of the warm items, the most popular, is the head."""
    sparse_max: Count = 5
    """A user with at most this many training interactions is sparse."""
    active_min: Count = 20
    """A user with at least this many is active."""

    @model_validator(mode="after")
    def _marks_differ(self) -> "Dataset":
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if len(set(marks)) < len(marks):
            raise ValueError("dataset: delimiter, quote and escape must be three characters")
        return self
