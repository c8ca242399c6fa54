"""The search of a sweep on tables that were made by hand: what it chooses, without a fit."""

from collections.abc import Callable, Sequence
from itertools import product

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from longtail.evaluation.constrained_choice import Change
from longtail.recipe import Constraint, Judge
from longtail.search.frontier import draw_frontier
from longtail.search.sweep import _fragment
from longtail.search.sweep_plots import draw
from longtail.search.sweep_points import MEASURES, OBSERVED, Point, Setting
from longtail.search.sweep_search import AXES, Search
from longtail.workspace import Workspace
from tests.search.test_sweep import recipe

ERROR = 0.01
START = Judge(likelihood=1, agreement=0, yes_no=0, keep=3, weight=0.3)
TRIED = {
    "blend": [(1.0, 0.0, 0.0)],
    "keep": [1, 6],
    "weight": [0.3, 1.0],
    "tail_share": [0.0],
    "threshold": [0.0],
}
OFF = Constraint(slices=[])

Figures = tuple[float, float, float]
"""NDCG@10 of all users, and the changes on the tail and on sparse users."""


class Table:
    """Stands for `Points`: the figures of every setting by a rule, nothing is fitted."""

    def __init__(self, rule: Callable[[Setting], Figures]) -> None:
        self.rule, self.known = rule, {}

    def evaluate(self, settings: Sequence[Setting]) -> list[Point]:
        for one in settings:
            name = f"{one.variant}-{one.judge and one.judge.model_dump_json()}"
            if name not in self.known:
                aim = self.rule(one)[0]
                values = dict.fromkeys(MEASURES, aim)
                self.known[name] = Point(one, values, 7, 1.0, Workspace("/nowhere") / name)
        return [self.known[f"{one.variant}-{one.judge and one.judge.model_dump_json()}"] for one in settings]

    def changes(self, points: list[Point], against: Point, slices: Sequence[str]) -> list[list[Change]]:
        assert against.setting == OBSERVED
        names = ("tail", "sparse")
        found = [dict(zip(names, self.rule(point.setting)[1:], strict=True)) for point in points]
        return [[Change(name, 200, own[name], ERROR) for name in slices] for own in found]

    def paired(self, points: list[Point], against: Point) -> list[dict[str, None]]:
        return [dict.fromkeys(MEASURES) for _ in points]


def by_amount(figures: dict[tuple[int, float], Figures]) -> Callable[[Setting], Figures]:
    """A rule that knows the number kept and the weight; a control has the same, the observed log .1."""

    def rule(setting: Setting) -> Figures:
        return figures[setting.judge.keep, setting.judge.weight] if setting.judge else (0.1, 0.0, 0.0)

    return rule


AMOUNTS = {
    (1, 0.3): (0.11, 0.0, 0.0),
    (3, 0.3): (0.12, -0.005, 0.01),
    (6, 0.3): (0.16, -0.05, 0.0),  # the best in its axis, but it loses the tail
    (1, 1.0): (0.12, 0.0, -0.009),
    (3, 1.0): (0.14, 0.0, 0.0),
    (6, 1.0): (0.18, -0.06, -0.02),
}


def searched(figures: dict, constraint: Constraint) -> tuple[Search, Point, list[Point]]:
    search = Search(
        Table(by_amount(figures)), START, TRIED, controls={"itemcf": START}, constraint=constraint
    )
    return search, *search.run(near=False)


def test_what_is_best_for_all_users_and_loses_the_tail_is_refused() -> None:
    search, best, controls = searched(AMOUNTS, Constraint())
    assert (best.setting.judge.keep, best.setting.judge.weight) == (3, 1.0)
    assert (controls[0].setting.judge.keep, controls[0].setting.judge.weight) == (3, 1.0), "no other search"
    rows = search.table(best, controls[0]).to_pylist()
    lost = {(row["keep"], row["weight"]): row["lost"] for row in rows}
    assert lost[6, 0.3] == ["tail"] and lost[None, None] == lost[3, 0.3] == lost[3, 1.0] == []
    counts = search.summary(best, controls[0])
    assert (counts["NDCG@10 best"], counts["NDCG@10 free"]) == (0.14, 0.16), "of what was tried"
    points = search.frontier(best)
    assert len(points) == len(search.points.known)
    assert [one.ndcg for one in points if one.chosen] == [0.14] and sum(one.base for one in points) == 1
    assert all(one.kept == (one.ndcg < 0.15) for one in points)
    assert draw_frontier(points, "swing", Constraint()).startswith(b"\x89PNG")
    assert draw(search.table(best, controls[0]), "swing").startswith(b"\x89PNG")


def test_if_every_point_loses_a_slice_nothing_is_added() -> None:
    losing = {amount: (aim, -0.05, 0.0) for amount, (aim, *_) in AMOUNTS.items()}
    search, best, controls = searched(losing, Constraint())
    assert best.setting == OBSERVED and controls[0].setting == OBSERVED
    rows = search.table(best, controls[0]).to_pylist()
    assert [row["variant"] for row in rows if row["best"]] == ["observed"]
    pasted = yaml.safe_load(_fragment(recipe(), "itemcf", best, controls))
    assert pasted == {"recommenders": {"itemcf": {"variants": ["observed"]}}}
    assert draw(pa.Table.from_pylist(rows, search.table(best, controls[0]).schema), "swing")


def test_from_where_every_point_loses_the_search_goes_to_the_one_that_loses_least() -> None:
    """keep 1 loses least, and from there weight 1 loses nothing; from keep 6, the best, it would lose too."""
    figures = {
        (1, 0.3): (0.11, -0.02, 0.0),
        (3, 0.3): (0.12, -0.04, 0.0),
        (6, 0.3): (0.16, -0.06, 0.0),
        (1, 1.0): (0.13, 0.0, 0.0),
        (3, 1.0): (0.14, -0.04, 0.0),
        (6, 1.0): (0.18, -0.06, 0.0),
    }
    _, best, _ = searched(figures, Constraint())
    assert (best.setting.judge.keep, best.setting.judge.weight) == (1, 1.0)


@pytest.mark.parametrize("constraint", [Constraint(), OFF])
def test_of_equals_the_first_that_was_tried_is_chosen(constraint: Constraint) -> None:
    _, best, _ = searched(dict.fromkeys(AMOUNTS, (0.2, 0.0, 0.0)), constraint)
    assert best.setting.judge == START, "the recipe's own"


numbers = st.sampled_from([-0.05, -0.01, 0.0, 0.02])
tables = st.fixed_dictionaries(
    {amount: st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), numbers, numbers) for amount in AMOUNTS}
)


@given(tables, st.sampled_from([Constraint(), Constraint(slices=["tail"]), Constraint(within_se=0)]))
def test_the_chosen_point_is_feasible_if_any_is_and_none_that_was_tried_is_better(
    figures, constraint
) -> None:
    search, best, _ = searched(figures, constraint)
    tried = [row for row in search.table(best, best).to_pylist() if row["search"] in ("recipe", "in turn")]
    feasible = [row["ndcg"] for row in tried if not row["lost"]]
    assert best.values["ndcg"] == max(feasible) if feasible else best.setting == OBSERVED


@given(tables)
def test_switched_off_the_search_is_the_one_without_a_constraint(figures) -> None:
    """Axis by axis the highest, the own value if it is as high; then the highest of all, the first of equals."""
    _, best, controls = searched(figures, OFF)
    keep, weight, met = 3, 0.3, [(3, 0.3), (3, 0.3)]
    for axis in AXES:
        values = {"keep": product([1, 3, 6], [weight]), "weight": product([keep], [0.3, 1.0])}.get(axis)
        asked = list(values) if values else [(keep, weight)]
        keep, weight = max(asked, key=lambda one: (figures[one][0], one == (keep, weight)))
        met += asked
    expected = max(met, key=lambda one: figures[one][0])
    for point in (best, *controls):
        assert (point.setting.judge.keep, point.setting.judge.weight) == expected
