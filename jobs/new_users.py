"""What somebody is answered whom the workspace does not know, and what he would be answered as a known user.

    python -m jobs.new_users runs/mine --to runs/new-users --users 2000

Draws users of a finished run who have a test item. The recipe is run again on the log without them, in TO/run: nothing there
has seen them. Then both runs are served, and each drawn user is asked for with the history before the test item: of the
finished run as a known user, of the other one as somebody with this history, without a live LLM and with one.
"""

import asyncio
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.table import Table

import longtail
from longtail.arrays import places_of
from longtail.command.log import results, speaking
from longtail.data import read_histories
from longtail.ranking_metrics import METRICS, Moments, per_user
from longtail.recipe import Recipe, dump_recipe
from longtail.recipe.dataset import Columns, Dataset
from longtail.serving.versions.served_run import sources_of
from longtail.workspace.place import Place

K = 10
AT_ONCE = 8
DEADLINE_MS = 10_000
"""So long that nothing is left out on a busy machine."""
KNOWN, NEW, NEW_LIVE = "known", "new", "new, with a live LLM"
log = logging.getLogger("longtail")


class Drawn(NamedTuple):
    """A user who is asked for. history: the ids of the known items, oldest first; target: that of the test item."""

    user_id: str
    history: list[str]
    target: str


def new_users(
    workspace: Annotated[str, typer.Argument(help="A finished run with a leave-one-out split")],
    to: Annotated[Path, typer.Option(help="Folder for the run without the users, and figures.json")],
    users: Annotated[int, typer.Option(min=2, help="How many users are drawn")] = 2000,
    change: Annotated[list[str] | None, typer.Option("--set", help="Changes to the recipe")] = None,
    port: int = 8126,
) -> None:
    """Print the mean NDCG@10 of the drawn users, and how far new users are below known ones, with 95 % intervals."""
    with speaking():
        known = longtail.open(workspace)
        chosen = next(iter(sources_of(known.workspace, known.recipe.serving).arms.values()))
        data = known.workspace / chosen.data
        drawn = draw(data, users, known.recipe.seed)
        write_log(data, {one.user_id for one in drawn}, to / "log")
        named = {"recommender": chosen.recommender, "variant": chosen.variant, "list": chosen.list or "none"}
        recipe = without_them(known.recipe, to / "log", named)
        (to / "recipe.yaml").write_text(dump_recipe(recipe))
        other = longtail.run(to / "recipe.yaml", workspace=to / "run", changes=change)
        asked = {KNOWN: (known, True, False), NEW: (other, False, False)}
        if chosen.list:  # else a live LLM has nothing to make
            asked[NEW_LIVE] = other, False, True
        ranks = {name: _served(*how, drawn, port) for name, how in asked.items()}
    figures = compared(ranks)
    (to / "figures.json").write_text(json.dumps(figures, indent=1))
    table = Table("users", "NDCG@10", "over known", "95 %", "t")
    for name, one in figures.items():
        interval = f"{one['low']:+.4f} to {one['high']:+.4f}"
        table.add_row(name, f"{one['ndcg']:.4f}", f"{one['difference']:+.4f}", interval, f"{one['t']:.1f}")
    results().print(table)


def draw(data: Place, many: int, seed: int) -> list[Drawn]:
    """At most `many` users of prepared data who have a known item and exactly one held-out item."""
    ids = _ids((data / "items.parquet").read_table(["item", "item_id"]).sort_by("item"))
    rows = read_histories(data).select(["user_id", "items", "train_end"]).to_pylist()
    fitting = [row for row in rows if 0 < row["train_end"] == len(row["items"]) - 1]
    chosen = np.random.default_rng(seed).permutation(len(fitting))[:many]
    found = []
    for place in chosen:
        *history, target = ids[fitting[place]["items"]].tolist()
        found.append(Drawn(fitting[place]["user_id"], history, target))
    return found


def write_log(data: Place, without: set[str], to: Path) -> None:
    """Write interactions.parquet and items.parquet of prepared data, without these users."""
    items = (data / "items.parquet").read_table().sort_by("item")
    ids = _ids(items)
    kept = [row for row in read_histories(data).to_pylist() if row["user_id"] not in without]
    lengths = [len(row["items"]) for row in kept]
    columns = {
        "user_id": np.repeat(np.array([row["user_id"] for row in kept], object), lengths),
        "item_id": ids[np.concatenate([row["items"] for row in kept])],
        "timestamp": places_of(lengths),  # their order is all that counts
    }
    attributes = [dict(own) for own in items["attributes"].to_pylist()]
    catalogue = {"item_id": items["item_id"], "title": items["title"]}
    for name in sorted({name for own in attributes for name in own}):
        catalogue[name] = pa.array([own.get(name) for own in attributes], pa.string())
    to.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), to / "interactions.parquet")
    pq.write_table(pa.table(catalogue), to / "items.parquet")


def without_them(recipe: Recipe, folder: Path, named: dict[str, str]) -> Recipe:
    """The recipe for the log in `folder`, which serves what is `named`."""
    columns = Columns(attributes=_attributes_of(folder))
    kept = ("split", "tail_max", "head_share", "sparse_max", "active_min")
    own = {name: getattr(recipe.dataset, name) for name in kept}
    dataset = Dataset(source="parquet", path=str(folder), columns=columns, **own)
    serving = recipe.serving.model_copy(update=named)
    return Recipe.model_validate(
        recipe.model_dump(exclude={"dataset", "serving"})
        | {"dataset": dataset.model_dump(), "serving": serving.model_dump(exclude_unset=True)}
    )


def compared(ranks: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """By name the mean NDCG@10, its difference from KNOWN user by user, the 95 % interval of that, and t.

    ranks int [n]: the place of the test item of each user, 0 if it is not among the first K.
    """
    of_ndcg = METRICS.index("ndcg")
    ndcg = {name: per_user(np.arange(len(own)), own, [K])[1][:, of_ndcg, 0] for name, own in ranks.items()}
    found = {}
    for name, own in ndcg.items():
        apart = Moments.of(own - ndcg[KNOWN])
        mean, error = float(apart.mean), float(np.sqrt(apart.variance / apart.n))
        found[name] = {
            "users": apart.n,
            "ndcg": float(own.mean()),
            "difference": mean,
            "low": mean - 1.96 * error,
            "high": mean + 1.96 * error,
            "t": mean / error if error else 0.0,
        }
    return found


def _ids(items: pa.Table) -> np.ndarray:
    """The ids by code, of a catalogue sorted by item."""
    return np.array(items["item_id"].to_pylist(), object)


def _attributes_of(folder: Path) -> list[str]:
    names = pq.read_schema(folder / "items.parquet").names
    return [name for name in names if name not in ("item_id", "title")]


def _served(run: longtail.Run, as_user: bool, live: bool, drawn: list[Drawn], port: int) -> np.ndarray:
    """The place of each user's test item in the answer of `longtail serve`, 0 if it is not there."""
    from ray import serve as ray_serve

    from longtail.serving import serve

    log.info("asking for %d users …", len(drawn))
    settings = run.recipe.serving.model_copy(update={"live": live, "deadline_ms": DEADLINE_MS})
    serve(run.recipe.model_copy(update={"serving": settings}), run.workspace, port, block=False)
    try:
        return asyncio.run(_asked(f"http://127.0.0.1:{port}", as_user, drawn))
    finally:
        ray_serve.shutdown()


async def _asked(url: str, as_user: bool, drawn: list[Drawn]) -> np.ndarray:
    places, lacked = np.zeros(len(drawn), int), Counter[str]()
    at_once = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def ask(number: int, one: Drawn) -> None:
            body = {"history": one.history, "k": K} | ({"user_id": one.user_id} if as_user else {})
            async with at_once:
                answer = (await client.post("/v1/recommend", json=body)).raise_for_status().json()
            items = [item["item_id"] for item in answer["items"]]
            places[number] = items.index(one.target) + 1 if one.target in items else 0
            for part in (answer["degraded"] or {"parts": []})["parts"]:
                lacked[f"{part['part']} {part['reason']}"] += 1

        await asyncio.gather(*(ask(number, one) for number, one in enumerate(drawn)))
    log.info("%d answers; degraded: %s", len(drawn), dict(lacked) or "none")
    return places


if __name__ == "__main__":
    typer.run(new_users)
