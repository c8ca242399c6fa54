"""One run of a recipe as an object: metrics, recommendations and neighbours of items, with the ids of the raw log."""

import os
from functools import cached_property
from typing import TYPE_CHECKING

from longtail.recipe import Recipe, load_recipe
from longtail.rounds import last_round
from longtail.runtime.ray_start import ray_ended
from longtail.workspace import Workspace
from longtail.workspace.lease import session

if TYPE_CHECKING:
    import pandas as pd

    from longtail.serving.versions.snapshot import Snapshot

Name = str | os.PathLike[str]


def run(recipe: Name, workspace: Name | None = None, changes: list[str] | None = None) -> "Run":
    """Run every stage that is not up to date, as `longtail run` does, and open the finished run.

    recipe: a YAML file, or the name of a shipped recipe such as "demo". workspace: folder or URI for all results; by default
    runs/NAME, where NAME is the recipe's name. changes: changes to the recipe, e.g. ["judge.keep=3"].

    If Ray was not connected before, it is disconnected at the end. The logger `longtail` reports progress at level INFO.
    Raises InputError for bad input, EngineError if Ray does not start.
    """
    from longtail.stages import run as run_stages

    loaded = load_recipe(os.fspath(recipe), changes)
    uri = f"runs/{loaded.name}" if workspace is None else os.fspath(workspace)
    ws = Workspace.of_run(uri, loaded.model_dump(mode="json"))
    with ray_ended(), session():
        run_stages(loaded, ws)
    return Run(ws, loaded)


def open(workspace: Name) -> "Run":
    """Open the workspace of an earlier run, a folder or URI. Raises InputError if there is no run."""
    from longtail.serving.versions.served_run import read_recipe

    ws = Workspace(os.fspath(workspace))
    return Run(ws, read_recipe(ws))


class Run:
    """A finished run. Data is read only when it is needed, and the workspace is never changed."""

    def __init__(self, ws: Workspace, recipe: Recipe) -> None:
        self.workspace, self.recipe = ws, recipe

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """One row for each recommender, variant, slice, metric and k: `value`, `n` users, `lift`, `ci_low`, `ci_high`, `p`.

        The columns are the fields of `rows` in report/metrics.json. The fields inside `over_control` and
        `over_best` are the columns `over_control.value` and so on. Raises InputError if the report has not been written.
        """
        import pandas as pd

        return pd.json_normalize((self.workspace.require("report") / "metrics.json").read_json()["rows"])

    def recommend(self, user_id: object, k: int = 10) -> "pd.DataFrame":
        """What serving would answer: at most k items, best first, with item_id, title, score and the source of each.

        user_id: the id in the raw log. An unknown user gets the most popular items. `attrs` of the frame has the other
        fields of the answer, such as user_known, recommender, alpha and interactions. Raises InputError if nothing can be
        served, or if k is less than 1 or more than `serving.candidates` or 100.
        """
        import pandas as pd

        from longtail.api.exports import check_k
        from longtail.serving.answering.answer import answered
        from longtail.serving.messages.answer_messages import RecommendedItem
        from longtail.serving.messages.request_messages import RecommendRequest

        check_k(self.recipe.serving, k)
        answer = answered(RecommendRequest(user_id=str(user_id), k=k), self._snapshot).model_dump()
        columns = [name for name in RecommendedItem.model_fields if name != "why"]
        found = pd.DataFrame(answer.pop("items"), columns=columns)
        found.attrs = answer
        return found

    def recommend_all(self, k: int = 10, *, to: Name, overwrite: bool = False) -> int:
        """Write at most k recommendations for every user to a .parquet or .csv file. Returns the number of rows.

        to: path or URI. Columns: user_id, rank, item_id, score. Ray workers rank the users in batches. Raises InputError if
        the file exists and `overwrite` is false.
        """
        from longtail.api.exports import write_recommendations
        from longtail.api.table_file import new_file

        place = new_file(to, overwrite)
        with ray_ended():
            return write_recommendations(self.workspace, self.recipe, k, place)

    def neighbours(self, *, to: Name, overwrite: bool = False) -> int:
        """Write the neighbours of every item to a .parquet or .csv file, for each fitted item-to-item recommender.

        to: path or URI. Columns: recommender, variant, item_id, rank, neighbour_id, similarity. Returns the number of rows.
        Raises InputError if none of these was fitted, or if the file exists and `overwrite` is false.
        """
        from longtail.api.exports import write_neighbours
        from longtail.api.table_file import new_file

        return write_neighbours(self.workspace, new_file(to, overwrite), last_round(self.recipe))

    def training_log(self, variant: str = "observed", *, to: Name, overwrite: bool = False) -> int:
        """Write the training set of a variant, observed and generated interactions, to a .parquet or .csv file.

        Use it to train a recommender of your own. to: path or URI. Columns: user_id, item_id, weight, origin (observed or
        generated), position, timestamp. Returns the number of rows. Raises InputError if there is no such training set, or
        if the file exists and `overwrite` is false.
        """
        from longtail.api.exports import write_training_log
        from longtail.api.table_file import new_file

        place, round_ = new_file(to, overwrite), last_round(self.recipe)
        return write_training_log(self.workspace, self.recipe.dataset, variant, place, round_)

    def __repr__(self) -> str:
        return f"<longtail run of recipe {self.recipe.name!r} in {self.workspace}>"

    @cached_property
    def _snapshot(self) -> "Snapshot":
        from longtail.serving.versions.served_run import sources_of
        from longtail.serving.versions.snapshot import Snapshot

        return Snapshot.read(self.workspace, sources_of(self.workspace, self.recipe.serving))
