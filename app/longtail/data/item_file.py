"""A file of items that the catalogue of a workspace lacks, in the form of that catalogue."""

import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.catalogue import clean_catalogue
from longtail.data.catalogue_ids import as_the_log_writes
from longtail.data.files import plain_name, readable
from longtail.data.source import CATALOGUE
from longtail.data.tables import SUFFIXES, open_catalogue
from longtail.errors import InputError
from longtail.recipe import Columns, Dataset
from longtail.workspace.place import Place

SETTING = "FILE"


def read_item_file(name: str, dataset: Dataset, known: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """The items of the file `name`, rows of CATALOGUE with clean texts, and how many rows were changed, by reason.

    It is Parquet or CSV, by its suffix, or RecBole's if the recipe's source is. Its columns are those of the recipe's
    catalogue; if the source has no columns to name, they are item_id, title and the attributes of `known`, rows of
    schema.ITEMS of the workspace. Raises InputError for what is no such table, without rows, or with an id twice.
    """
    place = Place.named(name, SETTING)
    if not place.exists():
        raise InputError(f"{SETTING}: {place} does not exist. Give a Parquet or CSV file with the new items.")
    own = dataset.model_copy(
        update={"source": _kind(place, dataset), "items": place.name, "columns": _columns(dataset, known)}
    )
    _, read = open_catalogue(place.parent, own)
    with readable(place):
        listed = read()
    if not listed.num_rows:
        raise InputError(f"{SETTING}: {place} has no rows. Give a table with at least one new item.")
    listed, counts = clean_catalogue(_checked(listed, place), str(place), dataset.null_words)
    met = known["item_id"].combine_chunks()
    ids = as_the_log_writes(listed["item_id"].combine_chunks(), met)
    return listed.set_column(
        listed.schema.get_field_index("item_id"), CATALOGUE.field("item_id"), ids
    ), counts


def _kind(place: Place, dataset: Dataset) -> str:
    """The source in a recipe that reads such files."""
    suffix = plain_name(place).rpartition(".")[2]
    for source, (_, own) in SUFFIXES.items():
        if suffix == own and (source != "recbole" or dataset.source == "recbole"):
            return source
    raise InputError(
        f"{SETTING}: {place} is neither .parquet nor .csv. Write the new items as one of these, with the columns of the"
        " catalogue."
    )


def _columns(dataset: Dataset, known: pa.Table) -> Columns:
    if dataset.source in SUFFIXES:
        return dataset.columns
    names = pc.unique(known["attributes"].combine_chunks().keys).drop_null()
    return Columns(attributes=sorted(names.to_pylist()))


def _checked(listed: pa.Table, place: Place) -> pa.Table:
    """The table. Raises InputError if an id is there twice: which of both rows is meant, nobody knows."""
    counted = pc.value_counts(listed["item_id"].drop_null())
    twice = counted.filter(pc.greater(counted.field("counts"), 1))
    if len(twice):
        first = twice[0].as_py()
        raise InputError(
            f"{SETTING}: {place} has the item id {first['values']!r} {first['counts']} times ({len(twice)} such ids). Leave"
            " each item once."
        )
    return listed
