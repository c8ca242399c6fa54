"""The stage `evaluate`: ranks of the test items by every published recommender, alone and as it would be served.

The users of one run are split over Ray tasks. Each task writes its own file of ranks and returns sums. The run is
published after all tasks have ended. The driver holds only the sums of one run: one number per item.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from longtail.aggregation.artefact import fit_evaluated
from longtail.aggregation.fused import Fused
from longtail.aggregation.kinds import ALONE, LIST, Fusion
from longtail.aggregation.llm_lists import LLMLists
from longtail.aggregation.stand_in_lists import stand_in_lists
from longtail.errors import InputError
from longtail.evaluation.evaluated_runs import (
    evaluated_in,
    first_of,
    has_kinds,
    inputs_of,
    is_alone,
    protocol_of,
    ranking_settings,
)
from longtail.evaluation.kind_ranks import rank_kinds
from longtail.evaluation.ranks import Protocol, Ranked, catalogue_size, check_catalogue, rank_part
from longtail.evaluation.served_validation import Tried, chosen_in, kinds_in, try_fit, try_fused
from longtail.evaluation.slices import Membership
from longtail.evaluation.targets import Part, split_parts
from longtail.evaluation.validation_figures import VALIDATION, publish_figures
from longtail.progress import progress, tell
from longtail.recipe import Constraint, Recipe, Slice
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.training.fits import Run, ServedRun
from longtail.recommenders.training.reading import observed_itemcf
from longtail.rounds import Round, rounds
from longtail.runtime.cluster import connect, side_by_side
from longtail.variants import VARIANTS
from longtail.workspace import Stage, Workspace, read_manifest
from longtail.workspace.place import Place

MEANING = 3
"""The version of this stage's output. Raise it if equal settings and inputs give different ranks."""
TASKS_AT_ONCE = 64
"""Tasks of one run that wait or work at a time: enough for a large cluster, and their results stay small."""


def evaluate(recipe: Recipe, ws: Workspace) -> None:
    """Write `evaluation/<variant>/<recommender>-<seed>/` of each round for every run, and all validation figures.

    The first round measures validation and chooses how lists are fused; the last one ranks the test with that choice. The
    ranks allow any metric up to the largest k, so a recipe that only changes smaller ks ranks nothing again. The protocol
    is that of `longtail.evaluation.ranks`. Raises InputError if a recommender is not trained yet, or was trained on a
    different catalogue. At the end what is served is chosen, and written to `aggregator/`.
    """
    for round_ in rounds(recipe):
        units = [(run, _unit(recipe, ws, run)) for run in evaluated_in(recipe, round_)]
        units = [(run, unit) for run, unit in units if not unit.up_to_date]
        if units:
            ws.claim()
            connect(recipe.resources)
            shared = _Shared.of(recipe, ws, round_, [run for run, _ in units])
            calls = (partial(_publish, run, unit, ws, shared) for run, unit in units)
            side_by_side(calls, recipe.resources.parallel, "evaluate", "evaluations")
    publish_figures(recipe, ws)
    fit_evaluated(recipe, ws)


def _unit(recipe: Recipe, ws: Workspace, run: Run | ServedRun) -> Stage:
    chosen = [first_of(run)] if run.round.final and not is_alone(run) else []
    inputs = [ws / place for place in (*inputs_of(run), *chosen)]
    return ws.stage(run.evaluation, ranking_settings(recipe, run), inputs, MEANING)


@dataclass(frozen=True)
class _Shared:
    """What all runs use. Lists and ItemCF are read once; the tasks of a node share them in Ray's object store."""

    n_items: int
    parts: list[Part]
    protocol: Protocol
    lists: dict[str, Any]
    """By strategy that of the LLM, by place that of a stand-in."""
    itemcf: Any
    candidates: int
    constraint: Constraint
    slices: Any
    """The `Membership` of the slices of the constraint."""
    kinds: bool
    """Whether the test is ranked with every kind of fusion too."""

    @classmethod
    def of(cls, recipe: Recipe, ws: Workspace, round_: Round, due: list[Run | ServedRun]) -> "_Shared":
        data, protocol = ws / round_.data, protocol_of(recipe)
        served = [run for run in due if isinstance(run, ServedRun)]
        read, n_users = _task(_read_lists), read_manifest(data)["counts"]["users"]
        strategies = {run.strategy for run in served}
        control = any(VARIANTS[run.variant].uses_itemcf for run in served)
        itemcf = _task(observed_itemcf)(data, recipe.itemcf) if control else None
        lists = {name: read(ws / round_.at(f"augmentation/{name}/rankings"), n_users) for name in strategies}
        make = _task(stand_in_lists)
        for place, strategy in {(run.proposer.place, run.strategy) for run in served if run.proposer}:
            lists[place] = make(ws / place, lists[strategy], data, itemcf, recipe.judge)
        return cls(
            n_items=catalogue_size(data),
            parts=split_parts(data),
            protocol=protocol,
            lists=lists,
            itemcf=itemcf,
            candidates=max(recipe.serving.candidates, protocol.depth),
            constraint=recipe.constraint,
            slices=_task(_read_slices)(recipe.constraint.slices, data) if served else None,
            kinds=recipe.evaluation.kinds,
        )


def _publish(run: Run | ServedRun, unit: Stage, ws: Workspace, shared: _Shared) -> None:
    """Measure one run in tasks and publish it: on validation, where the fusion is chosen, and then on the test.

    Each round does what is its part; a final one takes the choice and the figures from the first one. For a list alone
    nothing is chosen.
    """
    recommender = ws / run.place
    with unit.publishing() as draft:
        model = _task(_load)(recommender, shared.n_items)
        rank = partial(_task(rank_part), model)
        attempt = partial(_task(try_fit), model, to=draft / VALIDATION)
        if isinstance(run, ServedRun):
            control = {"best": shared.itemcf, "own": model}.get(run.stand_in)
            candidates = 0 if run.alone else shared.candidates
            listed = run.proposer.place if run.proposer else run.strategy
            fused = (model, shared.lists[listed], control, candidates)
            attempt = partial(_task(_of_fused), try_fused, *fused, shared.slices)
        if is_alone(run):
            counts = {}
        elif run.round.final:
            counts = read_manifest(ws / first_of(run))["counts"]
        else:
            tried = sum(_over_parts(attempt, shared.parts, recommender, unit.name), Tried.none())
            counts = tried.counts(shared.constraint if isinstance(run, ServedRun) else None)
        if run.round.tests:
            if isinstance(run, ServedRun):
                fusion = LIST if run.alone else chosen_in(counts)
                rank = partial(_task(_of_fused), rank_part, *fused, fusion=fusion)
            rank = partial(rank, to=draft, protocol=shared.protocol)
            total = sum(_over_parts(rank, shared.parts, recommender, unit.name), Ranked.none(shared.n_items))
            total.write_exposure(draft)
            counts |= total.counts
            if shared.kinds and has_kinds(run):
                kinds = {name: own.fusion for name, own in kinds_in(counts).items()}
                rank = partial(
                    _task(_of_fused), rank_kinds, *fused, kinds, to=draft, protocol=shared.protocol
                )
                deque(_over_parts(rank, shared.parts, recommender, unit.name), maxlen=0)
        unit.counts = counts


def _task(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a Ray task: a call returns a reference to its result."""
    import ray

    return ray.remote(num_cpus=1)(function).remote


def _over_parts(
    task: Callable[[Part], Any], parts: list[Part], recommender: Place, about: str
) -> Iterator[Any]:
    """The result of a Ray task for each part, in the order of parts. At most TASKS_AT_ONCE tasks wait or work."""
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
            tell(progress(about, done, len(parts), "parts", time.monotonic() - began))
    finally:
        # Not cancelled: Ray 2.60 ends the driver if a task ends at that moment. The draft with their files is deleted.
        if working:
            ray.wait(list(working), num_returns=len(working))


def _load(recommender: Place, n_items: int) -> Recommender:
    from longtail.recommenders import load

    model = load(recommender)
    check_catalogue(model, n_items)
    return model


def _read_lists(rankings: Place, n_users: int) -> LLMLists:
    return LLMLists.read(rankings, n_users)


def _read_slices(names: list[Slice], data: Place) -> Membership:
    return Membership.read(names, data)


def _of_fused(
    function: Callable[..., Any],
    model: Recommender,
    lists: LLMLists,
    control: Recommender | None,
    candidates: int,
    *rest: Any,
    fusion: Fusion = ALONE,
    **named: Any,
) -> Any:
    """`function(fused, *rest, **named)`. The parts of `fused` are arguments of their own, so Ray fetches them."""
    return function(Fused(model, lists, control, candidates, fusion), *rest, **named)


def _answer(done: Any, recommender: Place) -> Ranked | Tried:
    """The result of a task. An InputError of the task is raised here as an InputError that names the recommender."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(done)
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(f"{recommender}: {error.cause}") from None
        raise
