"""Copies a prepared workspace with its items renumbered at random, to test whether an LLM learns from the item
numbers.

In LLM4IDRec (arXiv 2411.02041) items are numbers in plain text. A tokenizer may split them into digits, and items with
similar numbers may then look similar. Run `python -m jobs.renumber FROM TO --seed 1`, then `longtail finetune` on both
workspaces, and compare the quality of the LLMs.
"""

from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from longtail.arrays import with_values
from longtail.data import Prepared, read_histories
from longtail.schema import HISTORIES
from longtail.workspace import Workspace


def renumber(
    source: Annotated[str, typer.Argument(help="Workspace whose `data/` is prepared")],
    target: Annotated[str, typer.Argument(help="Workspace to write; it must not have `data/` yet")],
    seed: Annotated[int, typer.Option(help="Seed of the permutation")] = 1,
) -> None:
    """Write `data/` of a new workspace. Item c becomes item permutation[c]; everything else stays the same."""
    prepared = Prepared(Workspace(source))
    new_code = np.random.default_rng(seed).permutation(prepared.n_items).astype(np.int32)
    items = prepared.items.take(pa.array(np.argsort(new_code)))
    items = items.set_column(
        items.column_names.index("item"), items.schema.field("item"), pa.array(range(len(items)), pa.int32())
    )
    histories = read_histories(prepared.place)
    lists = histories["items"].combine_chunks()
    renamed = with_values(lists, pa.array(new_code[lists.flatten().to_numpy()]))
    histories = histories.set_column(histories.column_names.index("items"), "items", renamed)
    stage = Workspace(target).stage("data", {"renumbered": seed, "from": prepared.fingerprint})
    stage.counts = prepared.counts
    with stage.publishing() as draft:
        (draft / "items.parquet").write_table(items)
        (draft / "histories/00000.parquet").write_table(histories.cast(HISTORIES))


if __name__ == "__main__":
    typer.run(renumber)
