"""How much the catalogue of a prepared workspace tells of who takes what.

    python -m jobs.title_signal runs/demo runs/beauty

Texts are compared by the cosine of their TF-IDF. docs/methods/simulated-store.md has the figures of
real data, by which the default of dataset.simulation.title_signal was chosen, and says what they mean.
"""

import warnings
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from rich.table import Table
from scipy.sparse import csr_matrix
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from longtail.command.log import results
from longtail.data import Prepared, read_histories
from longtail.data.item_words import item_words, tf_idf
from longtail.workspace import Workspace

PAIRS = 200_000
"""Pairs of items drawn, each time from a user drawn evenly."""
NEIGHBOURS, FOLDS = 10, 5


def title_signal(
    workspaces: Annotated[list[str], typer.Argument(help="Workspaces whose `data/` is prepared")],
) -> None:
    """Print how alike the texts of a user's items are; of the simulated store also how well texts give the taste away."""
    columns = ("ratio", "AUC", "taste by centroid", f"taste by {NEIGHBOURS} neighbours")
    table = Table("workspace", "text", *columns)
    for uri in workspaces:
        prepared = Prepared(Workspace(uri))
        lists = read_histories(prepared.place)["items"].combine_chunks()
        for name, texts in texts_of(prepared.items).items():
            vectors, rng = tf_idf(texts), np.random.default_rng(0)
            figures = [*coherence(vectors, lists.offsets.to_numpy(), lists.values.to_numpy(), rng)]
            if prepared.truth:
                truth = (prepared.truth / "items.parquet").read_table().sort_by("item")
                figures += recovery(vectors, np.stack(truth["taste"].to_numpy()).argmax(axis=1))
            table.add_row(uri, name, *(f"{figure:.3g}" for figure in figures))
    results().print(table)


def texts_of(items: pa.Table) -> dict[str, list[str]]:
    """The texts that are measured, of rows of schema.ITEMS."""
    titles = [title or "" for title in items["title"].to_pylist()]
    return {"title": titles, "title and attributes": item_words(items)}


def coherence(
    vectors: csr_matrix, starts: np.ndarray, items: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """How alike two items of one user are, compared with an item of the user and one of another user.

    items int [n]: those of user u are items[starts[u] : starts[u + 1]]. The ratio of the two mean cosines (1: texts tell
    nothing), and the probability that the first cosine is the larger one, ties by half (0.5: nothing). All pairs are
    drawn by users, so both kinds have items of equal popularity, and popularity alone gives 1 and 0.5.
    """
    lengths = np.diff(starts)
    users = rng.choice(np.flatnonzero(lengths > 1), PAIRS)
    first = rng.integers(0, lengths[users])
    second = (first + rng.integers(1, lengths[users])) % lengths[users]
    one, own = items[starts[users] + first], items[starts[users] + second]
    other = own[rng.permutation(PAIRS)]
    differ = (one != own) & (one != other)
    near, far = (_cosines(vectors, one[differ], mate[differ]) for mate in (own, other))
    return near.mean() / far.mean(), ((near > far) + 0.5 * (near == far)).mean()


def recovery(vectors: csr_matrix, taste: np.ndarray) -> tuple[float, float]:
    """The share of items whose main taste, int [items], is found by the nearest centroid of the tastes, and by most of the
    nearest items; in each case learned from the items of the other folds.
    """
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    models = (NearestCentroid(), KNeighborsClassifier(NEIGHBOURS, metric="cosine"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a word that no item of a taste has is not worth one
        centroid, neighbours = (cross_val_score(model, vectors, taste, cv=folds).mean() for model in models)
    return centroid, neighbours


def _cosines(vectors: csr_matrix, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.asarray(vectors[ones].multiply(vectors[others]).sum(axis=1)).ravel()


if __name__ == "__main__":
    typer.run(title_signal)
