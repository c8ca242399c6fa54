"""The data set: its source, and how it is filtered, split and divided into slices."""

import codecs
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from longtail.recipe.event_settings import ReadEvents
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
            "this is not the name of a text encoding; give one such as utf-8, utf-16, latin-1, cp1252"
        ) from None
    return value


Mark = Annotated[str, BeforeValidator(_mark), AfterValidator(_one_mark)]
Encoding = Annotated[str, AfterValidator(_text_encoding)]


class Simulation(Section):
    """The simulated store. Its true preferences are stored separately and used only for evaluation."""

    meaning: ClassVar[int] = 2
    """The version of the simulator: raise it if equal settings give another store. No other source depends on it."""
    users: Positive = 2000
    items: Positive = 800
    tastes: Positive = 16
    mean_history: Annotated[float, Field(ge=4)] = 12.0
    zipf: Annotated[float, Field(ge=0)] = 1.0
    """Exponent of Zipf's law for the popularity of the items."""
    new_items: Share = 0.05
    """Share of the items that have no interactions yet."""
    noise: Share = 0.1
    """Share of interactions that are accidental clicks."""
    title_signal: Share = 0.5
    """How much the catalogue tells: a word of a title that can be of the item's taste is so with this probability, and any
    word if not; the category likewise. 0: nothing. At the default, titles and categories are as telling as in real
    catalogues, at 1 more so (docs/methods/simulated-store.md)."""


class Columns(Section):
    """The names of the columns of a Parquet, CSV or RecBole table; null if the table does not have that column.

    A folder named `key=value` above a file is also a column (Hive partitioning).
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = "timestamp"
    """Dates or numbers, not both in one log. A date as text is in ISO 8601, and in UTC if it has no time zone."""
    rating: str | None = None
    title: str | None = "title"
    attributes: list[str] = []


class Dataset(Section):
    source: Literal["simulated", "movielens", "parquet", "csv", "recbole", "lightgcn", "sasrec", "events"] = (
        "simulated"
    )
    """`events`: the log of the endpoint, whose folder is `path` (docs/serving.md); items.parquet there may be the catalogue.
    `recbole`: atomic files (.inter, .item). `lightgcn`: train.txt and test.txt with one line `user item item …` per user.
    `sasrec`: one line `user item` per interaction, in order of time."""
    path: str | None = None
    """Folder with the raw files, or the file of interactions with the other files beside it; null if simulated."""
    interactions: str | None = None
    """Name of the interactions inside `path`: a file, or a folder of part files, which may be compressed (.gz, .zst). By
    default interactions.parquet or .csv; with a published split train.parquet, .csv or .txt; with RecBole and SASRec the
    only such file. Names that begin with _ or . are ignored, except folders named key=value."""
    test: str | None = None
    """Published split: name of the file of test interactions inside `path`; by default test.parquet, .csv or .txt."""
    items: str | None = None
    """Name of the file of the catalogue; by default items.parquet, items.csv or the only .item file, if there is one."""
    columns: Columns = Columns()
    delimiter: Mark = ","
    """CSV: the character between two values; `tab` for a tab."""
    quote: Mark | None = '"'
    """CSV: the character around a value that contains a delimiter or a line break. Inside such a value it is written twice.
    null: values are never quoted."""
    escape: Mark | None = None
    """CSV: the character before a quote or delimiter that is part of a value, such as a backslash; null: there is none."""
    encoding: Encoding = "utf-8"
    """CSV and RecBole: the text encoding, by its name in Python, such as utf-16, latin-1 or cp1252."""
    simulation: Simulation = Simulation()
    events: ReadEvents | None = None
    """Interactions from the endpoint's log, in addition to the source; with source `events`, what is read of it."""
    time_unit: TimeUnit | None = None
    """The unit of times that are numbers. null: they only give the order; if one of them has a fraction, the unit is the
    second."""
    null_words: list[str] = ["NULL", "null", "\\N", "NaN", "nan", "None", "<NA>"]
    """Words that mean "no id", as databases and pandas write it. A row with such an id is dropped, and the number of dropped
    rows is reported."""
    min_rating: float | None = None
    """Interactions with a lower rating are not positives. They are dropped, and their number is reported."""
    repeats: Repeats = "first"
    """What to do if a user has several interactions with one item. `first`, `last`: keep the first or the last in time. The
    others are dropped, and their number is reported. `all`: keep also those in the training part; the held-out items are
    the same as with `first`. `weight`: keep the first, and make its weight their number in the training part."""
    k_core: Count = 0
    """Keep only users with at least this many items and items with at least this many users, until nothing changes."""
    split: Literal["leave-one-out", "temporal", "published", "cold"] = "leave-one-out"
    """`published`: train and test are two separate files, and no times are read. `cold`: as leave-one-out, and all
    interactions with some items are held out too, which are drawn with `seed`: these items are cold."""
    cold_share: Share = 0.1
    """Cold split: this share of the items is cold in the test, and half as many others in validation."""
    valid_share: Share = 0.1
    """Temporal split: validation is this share of all interactions, the latest before those of the test. Published split:
    validation is this share of each user's training items, drawn with `seed`."""
    test_share: Share = 0.1
    """Temporal split: the test is this share of all interactions, the latest ones."""
    history_max: Positive | None = None
    """Sparsity on purpose: only the latest history_max training interactions of each user are kept. The others are dropped,
    and their number is reported. Held-out items stay as they are."""
    item_max: Positive | None = None
    """Sparsity on purpose: only the training interactions of item_max users with each item are kept, drawn with `seed`.
    `history_max` comes first. A smaller number keeps a part of what a larger one keeps."""
    tail_max: Count = 5
    """An item with 1 to tail_max training interactions is long-tail (5 on Amazon in LLM-I2I, arXiv 2512.21595)."""
    head_share: Share = 0.2
    """The head is this share of the warm items: the most popular ones."""
    sparse_max: Count = 5
    """A user with at most this many training interactions is sparse."""
    active_min: Count = 20
    """A user with at least this many is active."""

    @model_validator(mode="after")
    def _marks_differ(self) -> "Dataset":
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if len(set(marks)) < len(marks):
            raise ValueError("dataset: delimiter, quote and escape must be different characters")
        return self
