"""The stage `evaluate`: the ranks of every published recommender on the test, alone and as it would be served.

The users of one run are split over Ray tasks, each of which writes its own file of ranks and answers sums; the run is
published when all are there. The driver holds the sums of one run, whose size is the catalogue's.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from app.cluster import connect, side_by_side
from app.errors import InputError
from app.evaluation.bias import EXPOSURE_K
from app.evaluation.ranking import Protocol, Ranked, catalogue_size, check_catalogue, rank_part
from app.evaluation.served import GRID, Choice, Served, Tried, try_part
from app.evaluation.targets import Part, split_parts
from app.progress import figures_of, progress
from app.recipe import Recipe
from app.recommenders.ranker import Ranker
from app.recommenders.reading import observed_itemcf
from app.recommenders.runs import Run, ServedRun, runs, served_runs
from app.serving.llm_lists import LLMLists
from app.workspace import Place, Stage, Workspace, fingerprint, read_manifest

log = logging.getLogger("longtail")
MEANING = 1
"""The version of the ranks that equal settings and inputs give: raised whenever they change."""
TASKS_AT_ONCE = 64
"""Tasks of one run that wait or work: enough for a large cluster, and what they answer stays small."""


def evaluate(recipe: Recipe, ws: Workspace) -> None:
    """Write `evaluation/<variant>/<recommender>-<seed>/` for every run of the recipe.

    What is written allows any metric up to the largest k, so a recipe that only changes smaller ks ranks
    nothing again. The protocol is that of `app.evaluation.ranking`. Raises InputError where a recommender is
    not trained yet, or was on another catalogue.
    """
    units = [(run, _unit(recipe, ws, run)) for run in evaluated(recipe)]
    units = [(run, unit) for run, unit in units if not unit.up_to_date]
    if not units:
        return
    ws.claim()
    connect(recipe.resources)
    shared = _Shared.of(recipe, ws, [run for run, _ in units])
    calls = (partial(_publish, run, unit, ws, shared) for run, unit in units)
    side_by_side(calls, recipe.resources.parallel, "evaluate", "evaluations")


def evaluated(recipe: Recipe) -> list[Run | ServedRun]:
    """All that the recipe evaluates: its fits, then what serving makes of them."""
    return [*runs(recipe), *served_runs(recipe)]


def _unit(recipe: Recipe, ws: Workspace, run: Run | ServedRun) -> Stage:
    inputs = [ws / "data", ws / run.place]
    if isinstance(run, ServedRun):
        inputs.append(ws / f"augmentation/{run.strategy}")
    return ws.stage(run.evaluation, ranking_settings(recipe, run), inputs, MEANING)


def ranking_settings(recipe: Recipe, run: Run | ServedRun) -> dict[str, Any]:
    """What a published evaluation was made with, as its manifest says."""
    protocol = _protocol(recipe)
    sampled = {"negatives": protocol.negatives, "seed": protocol.seed} if protocol.negatives else None
    settings = {
        "depth": protocol.depth,
        "sampled": sampled,
        "after_validation": protocol.after_validation,
    }
    if isinstance(run, ServedRun):
        settings |= {
            "list": recipe.itemcf.of_fit() if run.control == "itemcf" else run.control or run.strategy,
            "candidates": recipe.serving.candidates,
            "choices": fingerprint([asdict(choice) for choice in GRID]),
        }
    return settings


def _protocol(recipe: Recipe) -> Protocol:
    asked = recipe.evaluation
    return Protocol(
        max(EXPOSURE_K, *asked.ks),
        negatives=asked.sampled_negatives,
        seed=recipe.seed,
        after_validation=asked.after_validation,
    )


@dataclass(frozen=True)
class _Shared:
    """What the runs have in common. Lists and ItemCF are read once; the tasks of a node share them in the object store."""

    n_items: int
    parts: list[Part]
    protocol: Protocol
    lists: dict[str, Any]
    itemcf: Any
    candidates: int

    @classmethod
    def of(cls, recipe: Recipe, ws: Workspace, due: list[Run | ServedRun]) -> "_Shared":
        data, protocol = ws / "data", _protocol(recipe)
        served = [run for run in due if isinstance(run, ServedRun)]
        read, n_users = _task(_read_lists), read_manifest(data)["counts"]["users"]
        strategies = {run.strategy for run in served}
        control = any(run.control == "itemcf" for run in served)
        return cls(
            n_items=catalogue_size(data),
            parts=split_parts(data),
            protocol=protocol,
            lists={name: read(ws / f"augmentation/{name}/rankings", n_users) for name in strategies},
            itemcf=_task(observed_itemcf)(data, recipe.itemcf) if control else None,
            candidates=max(recipe.serving.candidates, protocol.depth),
        )


def _publish(run: Run | ServedRun, unit: Stage, ws: Workspace, shared: _Shared) -> None:
    """Rank one run in tasks and publish it; how a list is fused is chosen before the test is looked at."""
    recommender = ws / run.place
    with unit.publishing() as draft:
        model, counts = _task(_load)(recommender, shared.n_items), {}
        rank = partial(_task(rank_part), model)
        if isinstance(run, ServedRun):
            control = {"itemcf": shared.itemcf, "own": model, None: None}[run.control]
            fused = (model, shared.lists[run.strategy], control, shared.candidates)
            tries = _over_parts(partial(_task(_try_served), *fused), shared.parts, recommender, unit.name)
            tried = sum(tries, Tried.none())
            choice = tried.best()
            rank, counts = partial(_task(_rank_served), *fused, choice), tried.counts(choice)
        rank = partial(rank, to=draft, protocol=shared.protocol)
        total = sum(_over_parts(rank, shared.parts, recommender, unit.name), Ranked.none(shared.n_items))
        total.write_exposure(draft)
        unit.counts = total.counts | counts


def _task(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a Ray task; called, it gives a reference to its answer."""
    import ray

    return ray.remote(num_cpus=1)(function).remote


def _over_parts(
    task: Callable[[Part], Any], parts: list[Part], recommender: Place, about: str
) -> Iterator[Any]:
    """What a Ray task answers for each part, in their order; at most TASKS_AT_ONCE wait or work."""
    import ray

    began = time.monotonic()
    waiting, working = deque(parts), deque()
    try:
        while waiting or working:
            while waiting and len(working) < TASKS_AT_ONCE:
                working.append(task(waiting.popleft()))
            yield _answer(working[0], recommender)
            working.popleft()
            done = len(parts) - len(waiting) - len(working)
            line = progress(about, done, len(parts), "parts", time.monotonic() - began)
            log.info("%s", line, extra=figures_of(line))
    finally:
        # Not cancelled: where a task ends just then, Ray 2.60 ends the driver. What they write belongs to a draft that goes.
        if working:
            ray.wait(list(working), num_returns=len(working))


def _load(recommender: Place, n_items: int) -> Ranker:
    from app.recommenders import load

    model = load(recommender)
    check_catalogue(model, n_items)
    return model


def _read_lists(rankings: Place, n_users: int) -> LLMLists:
    return LLMLists.read(rankings, n_users)


def _try_served(model: Ranker, lists: LLMLists, control: Ranker | None, candidates: int, part: Part) -> Tried:
    return try_part(Served(model, lists, control, candidates), part)


def _rank_served(
    model: Ranker,
    lists: LLMLists,
    control: Ranker | None,
    candidates: int,
    choice: Choice,
    part: Part,
    to: Place,
    protocol: Protocol,
) -> Ranked:
    return rank_part(Served(model, lists, control, candidates, choice), part, to, protocol)


def _answer(done: Any, recommender: Place) -> Ranked | Tried:
    """What a task answers; its InputError is the user's."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(done)
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(f"{recommender}: {error.cause}") from None
        raise
