"""Reading the result of `prepare`, for all later stages."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from ray.data import Dataset


class Prepared:
    """The published data of a workspace. Raises InputError if `prepare` has not run."""

    def __init__(self, ws: Workspace, place: str = "data") -> None:
        """place: where the data of a round are published (`Round.data`)."""
        self.place: Place = ws.require(place)
        manifest = read_manifest(self.place)
        self.counts: dict[str, Any] = manifest["counts"]
        self.fingerprint: str = manifest["fingerprint"]

    @property
    def n_users(self) -> int:
        return self.counts["users"]

    @property
    def n_items(self) -> int:
        return self.counts["items"]

    @cached_property
    def items(self) -> pa.Table:
        """The catalogue, rows of schema.ITEMS; row number == item code."""
        return (self.place / "items.parquet").read_table()

    def histories(self) -> "Dataset":
        """Rows of schema.HISTORIES as a Ray Dataset, in no order."""
        import ray

        histories = self.place / "histories"
        files = [file.path for file in histories.files(".parquet")]
        context = ray.data.DataContext.get_current().copy()
        # The new reader of Ray 2.60 lists files in separate tasks: 10 s on two cores. The old one takes 0.2 s.
        context.use_datasource_v2 = False
        with ray.data.DataContext.current(context):
            return ray.data.read_parquet(files, filesystem=histories.fs, override_num_blocks=len(files))

    @property
    def truth(self) -> Place | None:
        """The true tastes of the simulated store; None if the data are real.

        users/ has user int32 and taste list<float32>, items.parquet item int32 and taste; see simulation.liked.
        """
        truth = self.place / "truth"
        return truth if truth.exists() else None


def read_histories(place: Place) -> pa.Table:
    """All rows of schema.HISTORIES in `place` (a published `data/`), sorted by user; only for Ray tasks."""
    return (place / "histories").read_table().sort_by("user")
