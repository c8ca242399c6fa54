"""The stage `evaluate`: ranks of the test items by every published recommender, alone and as it would be served.

The users of one run are split over Ray tasks. Each task writes its own file of ranks and returns sums. The run is
published after all tasks have ended. The driver holds only the sums of one run: one number per item.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from longtail.aggregation.choice import FIGURES, Figure, write_figures
from longtail.aggregation.fused import LIST, Choice, Fused
from longtail.aggregation.llm_lists import LLMLists
from longtail.aggregation.stand_in_lists import stand_in_lists
from longtail.errors import InputError
from longtail.evaluation.list_bias import EXPOSURE_K
from longtail.evaluation.lost_slices import Lost, lost_slices
from longtail.evaluation.ranks import Protocol, Ranked, catalogue_size, check_catalogue, rank_part
from longtail.evaluation.served_validation import GRID, Tried, chosen_in, try_fit, try_fused
from longtail.evaluation.slices import Membership
from longtail.evaluation.targets import Part, split_parts
from longtail.progress import progress, tell
from longtail.recipe import Constraint, Recipe, Slice
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.training.fits import Run, ServedRun, list_runs, runs, served_runs
from longtail.recommenders.training.reading import observed_itemcf
from longtail.rounds import Round, first_round, rounds
from longtail.runtime.cluster import connect, side_by_side
from longtail.variants import CONTROLS, VARIANTS
from longtail.workspace import Stage, Workspace, fingerprint, read_manifest
from longtail.workspace.place import Place

MEANING = 3
"""The version of this stage's output. Raise it if equal settings and inputs give different ranks or figures."""
VALIDATION = "validation"
"""The folder, in the evaluation of a fit in the round that chooses, with the ranks of its validation items."""
TASKS_AT_ONCE = 64
"""Tasks of one run that wait or work at a time: enough for a large cluster, and their results stay small."""


def evaluate(recipe: Recipe, ws: Workspace) -> None:
    """Write `evaluation/<variant>/<recommender>-<seed>/` of each round for every run, and all validation figures.

    The first round measures validation and chooses how lists are fused; the last one ranks the test with that choice. The
    ranks allow any metric up to the largest k, so a recipe that only changes smaller ks ranks nothing again. The protocol
    is that of `longtail.evaluation.ranks`. Raises InputError if a recommender is not trained yet, or was trained on a
    different catalogue.
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
    _publish_figures(recipe, ws)


def evaluated_in(recipe: Recipe, round_: Round) -> list[Run | ServedRun]:
    """All runs of a round that are evaluated: its fits, the same fits fused with a list as in serving, and, if the round
    ranks the test, the lists alone. Nothing is chosen for these.
    """
    alone = list_runs(recipe, round_) if round_.tests else []
    return [*runs(recipe, round_), *served_runs(recipe, round_), *alone]


def evaluated(recipe: Recipe) -> list[Run | ServedRun]:
    """All runs whose test items are ranked, of all seeds: the fits, then those fused with a list, then the lists alone."""
    last = [round_ for round_ in rounds(recipe) if round_.tests]
    return [run for kind in (runs, served_runs, list_runs) for round_ in last for run in kind(recipe, round_)]


def evaluations(recommender: str, recipe: Recipe, ws: Workspace) -> dict[str, list[Place]]:
    """Where the test items are ranked, for each variant that stands among the figures of a recommender: a place per pair."""
    found: dict[str, list[Place]] = {}
    for run in evaluated(recipe):
        beside = run.beside(recommender) if isinstance(run, ServedRun) else run.recommender == recommender
        if beside:
            found.setdefault(run.variant, []).append(ws / run.evaluation)
    return found


def _unit(recipe: Recipe, ws: Workspace, run: Run | ServedRun) -> Stage:
    chosen = [_first(run)] if run.round.final and not _alone(run) else []
    inputs = [ws / place for place in (*_inputs(run), *chosen)]
    return ws.stage(run.evaluation, ranking_settings(recipe, run), inputs, MEANING)


def _alone(run: Run | ServedRun) -> bool:
    """Whether it is a list alone: not fused, so not chosen on validation, and never served."""
    return isinstance(run, ServedRun) and run.alone


def _inputs(run: Run | ServedRun) -> list[str]:
    found = [run.round.data, run.place]
    if isinstance(run, ServedRun):
        found.append(run.round.at(f"augmentation/{run.strategy}"))
        found += [run.proposer.place] if run.proposer else []
    return found


def _first(run: Run | ServedRun) -> str:
    """The evaluation of the same run in the round that chooses."""
    return replace(run, round=first_round(run.round)).evaluation


def _publish_figures(recipe: Recipe, ws: Workspace) -> None:
    """Publish the validation figures, from which `longtail.aggregation.choice` chooses what is served.

    A variant that uses the answer key has none, because nothing may be chosen from it.
    """
    found = [run for run in evaluated(recipe) if not _alone(run) and not VARIANTS[run.variant].hits_removed]
    settings = {
        "evaluations": [run.evaluation for run in found],
        "constraint": recipe.constraint.model_dump(),
    }
    unit = ws.stage(FIGURES, settings, [ws / run.evaluation for run in found], MEANING)
    if not unit.up_to_date:
        ws.claim()
        with unit.publishing() as draft:
            lost = _lost(recipe, ws, [run for run in found if isinstance(run, Run)])
            write_figures([_figure(ws, run, lost) for run in found], draft)


def _lost(recipe: Recipe, ws: Workspace, fits: list[Run]) -> dict[str, dict[str, Lost]]:
    """By recommender and variant, the slices of the constraint that it loses on validation."""
    if not recipe.constraint.slices:
        return {}
    connect(recipe.resources)
    places: dict[str, dict[str, list[Place]]] = {}
    for run in fits:
        own = places.setdefault(run.recommender, {}).setdefault(run.variant, [])
        own.append(ws / _first(run) / VALIDATION)
    return lost_slices(places, ws / "data", recipe.constraint)


def _figure(ws: Workspace, run: Run | ServedRun, lost: dict[str, dict[str, Lost]]) -> Figure:
    manifest = read_manifest(ws / run.evaluation)
    counts, settings, served = manifest["counts"], manifest["settings"], isinstance(run, ServedRun)
    chosen, (data, fit, *listed) = counts.get("serving", {}), _inputs(run)
    trained_on = run.fit.variant if served else run.variant
    return Figure(
        recommender=run.recommender,
        variant=run.variant,
        trained_on=trained_on,
        seed_index=run.seed_index,
        control=run.variant in CONTROLS,
        list=run.strategy if served else None,
        **{name: chosen.get(name) for name in ("alpha_1", "alpha_2", "utility")},
        candidates=max(settings.get("candidates", 0), settings["depth"]),
        **counts["validation"],
        free=chosen.get("validation_ndcg_free", counts["validation"]["ndcg"]),
        lost=lost.get(run.recommender, {}).get(trained_on, {}),
        data=data,
        fit=fit,
        answers=listed[0] if listed else None,
        made_of=dict(zip(_inputs(run), manifest["inputs"], strict=False)),
    )


def ranking_settings(recipe: Recipe, run: Run | ServedRun) -> dict[str, Any]:
    """The settings of one evaluation that its manifest records."""
    protocol = _protocol(recipe)
    sampled = {"negatives": protocol.negatives, "seed": protocol.seed} if protocol.negatives else None
    settings = {"depth": protocol.depth, "sampled": sampled, "tests": run.round.tests}
    if isinstance(run, ServedRun):
        listed = {"best": recipe.itemcf.of_fit(), None: run.strategy}.get(run.stand_in, run.stand_in)
        if run.stand_in == "judged":
            listed = {"itemcf": recipe.itemcf.of_fit(), "judge": recipe.judge.model_dump(exclude={"weight"})}
        settings["list"] = listed
        settings["candidates"] = 0 if run.alone else recipe.serving.candidates
        if not run.alone:
            settings["constraint"] = recipe.constraint.model_dump()
        settings["choices"] = fingerprint([asdict(choice) for choice in ([LIST] if run.alone else GRID)])
    return settings


def _protocol(recipe: Recipe) -> Protocol:
    asked = recipe.evaluation
    return Protocol(max(EXPOSURE_K, *asked.ks), negatives=asked.sampled_negatives, seed=recipe.seed)


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

    @classmethod
    def of(cls, recipe: Recipe, ws: Workspace, round_: Round, due: list[Run | ServedRun]) -> "_Shared":
        data, protocol = ws / round_.data, _protocol(recipe)
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
            attempt = partial(_task(_try_fused), *fused, shared.slices)
        if _alone(run):
            counts = {}
        elif run.round.final:
            counts = read_manifest(ws / _first(run))["counts"]
        else:
            tried = sum(_over_parts(attempt, shared.parts, recommender, unit.name), Tried.none())
            counts = tried.counts(tried.best(shared.constraint) if isinstance(run, ServedRun) else None)
        if run.round.tests:
            if isinstance(run, ServedRun):
                rank = partial(_task(_rank_fused), *fused, LIST if run.alone else chosen_in(counts))
            rank = partial(rank, to=draft, protocol=shared.protocol)
            total = sum(_over_parts(rank, shared.parts, recommender, unit.name), Ranked.none(shared.n_items))
            total.write_exposure(draft)
            counts |= total.counts
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


def _try_fused(
    model: Recommender,
    lists: LLMLists,
    control: Recommender | None,
    candidates: int,
    slices: Membership,
    part: Part,
) -> Tried:
    return try_fused(Fused(model, lists, control, candidates), slices, part)


def _rank_fused(
    model: Recommender,
    lists: LLMLists,
    control: Recommender | None,
    candidates: int,
    choice: Choice,
    part: Part,
    to: Place,
    protocol: Protocol,
) -> Ranked:
    return rank_part(Fused(model, lists, control, candidates, choice), part, to, protocol)


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
