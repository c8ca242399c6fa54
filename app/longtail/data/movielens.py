"""MovieLens as GroupLens publishes it: 100K (u.data, u.item) and 1M (ratings.dat, movies.dat), also compressed.

The encoding of both is Latin-1, in which every byte is a character.
"""

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.csv as pacsv

from longtail.data.columns import as_ids, as_ratings
from longtail.data.files import open_file, published_table
from longtail.data.source import CATALOGUE, Piece, Source, file_states, read_rows
from longtail.data.times import as_times
from longtail.errors import InputError
from longtail.recipe import Dataset
from longtail.workspace.place import Place

GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *(
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ),
)
"""The order of the flags in u.item (u.genre)."""

RATINGS = (1, 5)
_COLUMNS = ("user", "item", "rating", "timestamp")


def open_movielens(folder: Place, dataset: Dataset) -> Source:
    """The source of the MovieLens files in `folder` or its sub folder `original`.

    Raises InputError if they are missing or empty.
    """
    named = dataset.interactions
    for ratings, movies, read, catalogue in (
        ("u.data", "u.item", _read_100k, _catalogue_100k),
        ("ratings.dat", "movies.dat", _read_1m, _catalogue_1m),
    ):
        if named and not named.rpartition("/")[2].startswith(ratings):
            continue
        (_, ratings_end), (_, movies_end) = ratings.split("."), movies.split(".")
        ratings_files = published_table(folder, named or ratings, ratings_end, named=bool(named))
        movies_files = published_table(folder, dataset.items or movies, movies_end, named=bool(dataset.items))
        if ratings_files and movies_files:
            return _source(ratings_files, movies_files, read, catalogue)
        if ratings_files or movies_files:
            missing, there = (movies, ratings_files) if ratings_files else (ratings, movies_files)
            raise InputError(f"{folder}: {missing} is missing beside {there[0]}. {_hint(folder)}")
    if named:
        raise InputError(f"{folder / named} is neither u.data nor ratings.dat. {_hint(folder)}")
    raise InputError(f"{folder}: neither u.data and u.item nor ratings.dat and movies.dat. {_hint(folder)}")


def _source(
    ratings: list[Place],
    movies: list[Place],
    read: Callable[[Piece], Iterator[pa.Table]],
    catalogue: Callable[[Place], pa.Table],
) -> Source:
    for file in ratings:
        if not file.fs.get_file_info(file.path).size:
            raise InputError(f"{file}: the file is empty. Give the published file.")

    return Source(
        pieces=[Piece(file, 0) for file in ratings],
        read=read,
        catalogue=lambda: pa.concat_tables([catalogue(file) for file in movies]),
        has_ratings=True,
        files=file_states(ratings + movies),
        listing=str(movies[0]),
    )


def _hint(folder: Place) -> str:
    for kind in ("parquet", "csv"):
        if (folder / f"interactions.{kind}").exists():
            return f"There is interactions.{kind}: set dataset.source to {kind}."
    return "Set dataset.path to the unpacked MovieLens folder."


def _read_100k(piece: Piece) -> Iterator[pa.Table]:
    yield from _read(piece, "\t", list(_COLUMNS))


def _read_1m(piece: Piece) -> Iterator[pa.Table]:
    """`1::1193::5::978300760` has an empty column between any two, because a delimiter in Arrow is one byte."""
    yield from _read(piece, "::", [name for column in _COLUMNS for name in (column, f"after_{column}")][:-1])


def _read(piece: Piece, delimiter: str, names: list[str]) -> Iterator[pa.Table]:
    file, row = piece.place, 0
    refused: list[pacsv.InvalidRow] = []

    def refuse(line: pacsv.InvalidRow) -> str:
        refused.append(line)
        return "skip"

    with pacsv.open_csv(
        open_file(file),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=names, encoding="latin-1"),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter[0], quote_char=False, invalid_row_handler=refuse
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(_COLUMNS), column_types={name: pa.string() for name in names}
        ),
    ) as reader:
        for batch in reader:
            table = pa.table(batch)
            users, items = (as_ids(table[name], name, file) for name in ("user", "item"))
            times = as_times(table["timestamp"], "timestamp", file, row)
            ratings = as_ratings(table["rating"], "rating", file, row, RATINGS)
            yield read_rows(users, items, times, ratings, row)
            row += batch.num_rows
    if refused:
        first = refused[0]
        fields = len(first.text.split(delimiter))
        raise InputError(
            f"{file}, row {first.number}: {first.text[:80]!r} has {fields} fields, not {len(_COLUMNS)}. "
            "Mend or remove the row."
        )


def _catalogue_100k(file: Place) -> pa.Table:
    def genres(flags: list[str]) -> str:
        return "|".join(name for name, flag in zip(GENRES_100K, flags, strict=True) if flag == "1")

    rows = _fields(file, "|", 5 + len(GENRES_100K))
    return _catalogue([(row[0], row[1], genres(row[5:])) for row in rows])


def _catalogue_1m(file: Place) -> pa.Table:
    return _catalogue([(row[0], row[1], row[2]) for row in _fields(file, "::", 3)])


def _fields(file: Place, delimiter: str, n: int) -> Iterator[list[str]]:
    """The lines of a catalogue, each as n fields. Raises InputError for the first line with another number."""
    with open_file(file) as stream:
        lines = stream.read().decode("latin-1").split("\n")
    for number, line in enumerate(lines, start=1):
        row = line.rstrip("\r").split(delimiter)
        if len(row) == n:
            yield row
        elif line.strip():
            raise InputError(
                f"{file}, row {number}: {line[:80]!r} has {len(row)} fields, not {n}. Mend or remove the row."
            )


def _catalogue(rows: list[tuple[str, str, str]]) -> pa.Table:
    return pa.table(
        {
            "item_id": [item or None for item, _, _ in rows],
            "title": [title for _, title, _ in rows],
            "attributes": [[("genres", genres)] if genres else [] for _, _, genres in rows],
        },
        schema=CATALOGUE,
    )
