"""Copy a prepared workspace with its items renumbered at random: does an LLM live off the numbers (papers.md 3.7)?

python -m jobs.renumber FROM TO --seed 1, then `longtail finetune` on both and compare what the LLMs are worth.
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
    target: Annotated[str, typer.Argument(help="Workspace to write, without one yet")],
    seed: Annotated[int, typer.Option(help="Of the permutation")] = 1,
) -> None:
    """Write `data/` of a new workspace in which item c of the old one is item permutation[c]; nothing else differs."""
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
