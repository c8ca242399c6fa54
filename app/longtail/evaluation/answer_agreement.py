"""What LLMs said, against what users really did later: their validation and test items, which no LLM was taught.

Later is only what the log has of it: an item that a user never met is counted as not taken.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from longtail.evaluation.held_out_lookup import Later, Said, read_said
from longtail.evaluation.significance import share_interval
from longtail.evaluation.slices import SLICE_NAMES
from longtail.registry import strategy_spec
from longtail.schema import HELD_OUT, NOTHING, OUTCOMES, UNDECIDED
from longtail.workspace.place import Place

LIKELIHOODS = np.geomspace(1e-12, 1, 4001)
"""Edges between which likelihoods are counted to find their deciles, which are so known to 0.7 %."""
DECILES = 10
FIGURE = ("value", "ci_low", "ci_high", "n")
Shares = dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
"""By slice and figure: parts and wholes of every user, float or int [users]."""


def agreement(strategy: str, answers: Place, data: Place, resamples: int, seed: int) -> dict[str, Any] | None:
    """How one strategy's answers agree with later interactions, None where they cannot say.

    `slices` has by slice what the strategy's kind can tell, each with its 95 % bootstrap interval over users and their
    number: of lists `hit` (see `listed`), of rankings `held_out`, `others` and `difference` (`scored`), of pairs
    `preferred` and `undecided` (`paired`). Meant for a Ray task: it holds some numbers for every user.
    """
    kind = strategy_spec(strategy).answers
    if kind is None:
        return None
    shares, more = KINDS[kind](lambda: read_said(answers), Later.read(data))
    rng, slices = np.random.default_rng(seed), {}
    for (name, figure), (parts, wholes) in shares.items():
        if wholes.any():
            found = share_interval(parts, wholes, resamples, rng)
            n = int(np.count_nonzero(wholes))
            slices.setdefault(name, {})[figure] = dict(zip(FIGURE, (*found, n), strict=True))
    deciles = slices.pop("deciles", {})
    for place, one in enumerate(more.get("deciles", [])):
        one["taken"] = deciles.get(str(place))
    return {"kind": kind, "slices": slices} | more if slices else None


def listed(read: Callable[[], Iterator[Said]], later: Later) -> tuple[Shares, dict[str, Any]]:
    """hit: of the users with a held-out item (of the slice) that were asked, the share whose list names one, in any place
    and with any outcome. by_chance: by slice what so long lists of random items would reach on average.

    deciles: of likelihood, over all proposals: the share that the user took later, beside the mean likelihood.
    """
    n_users, n_items = len(later.user_slices), len(later.item_slices)
    asked, named = np.zeros(n_users, bool), np.zeros(len(later.keys), bool)
    length, likelihoods = np.zeros(n_users), np.zeros(len(LIKELIHOODS) + 1, np.int64)
    for said in read():
        asked[said.asked] = True
        places = later.find(said.users, said.items)
        named[places[places != NOTHING]] = True
        length += later.per_user(said.users)
        known = said.likelihood[~np.isnan(said.likelihood)]
        likelihoods += np.bincount(np.searchsorted(LIKELIHOODS, known), minlength=len(likelihoods))
    shares: Shares = {}
    by_chance: dict[str, float] = {}
    for name in SLICE_NAMES:
        inside = later.members(name, later.users, later.items) & asked[later.users]
        targets = later.per_user(later.users[inside])
        shares[name, "hit"] = later.per_user(later.users[inside & named]) > 0, targets > 0
        if targets.any():
            misses = (1 - np.minimum(length / n_items, 1)) ** targets
            by_chance[name] = float(1 - misses[targets > 0].mean())
    deciles, taken = _calibrated(read, later, likelihoods)
    mean_length = float(length[asked].mean()) if asked.any() else 0.0
    more = {"length": mean_length, "items": n_items, "by_chance": by_chance, "deciles": deciles}
    return shares | taken, more


def _calibrated(
    read: Callable[[], Iterator[Said]], later: Later, likelihoods: np.ndarray
) -> tuple[list[dict[str, Any]], Shares]:
    """Deciles from counts between LIKELIHOODS; what each holds, and by user how much of it was taken."""
    ends = np.cumsum(likelihoods)
    if not ends[-1]:
        return [], {}
    cuts = np.searchsorted(ends, np.arange(1, DECILES) * ends[-1] / DECILES)
    edges = LIKELIHOODS[np.minimum(np.unique(cuts), len(LIKELIHOODS) - 1)]
    n = len(edges) + 1
    total, summed = np.zeros(n, np.int64), np.zeros(n)
    parts, wholes = (np.zeros((n, len(later.user_slices)), np.float32) for _ in range(2))
    for said in read():
        known = ~np.isnan(said.likelihood)
        users, likelihood = said.users[known], said.likelihood[known]
        decile = np.searchsorted(edges, likelihood)
        total += np.bincount(decile, minlength=n)
        summed += np.bincount(decile, likelihood, n)
        np.add.at(wholes, (decile, users), 1)
        np.add.at(parts, (decile, users), later.find(users, said.items[known]) != NOTHING)
    bounds = [0.0, *edges.tolist(), 1.0]
    deciles = [
        {"low": low, "high": high, "mean": float(mean), "proposals": int(count)}
        for low, high, mean, count in zip(
            bounds[:-1], bounds[1:], summed / np.maximum(total, 1), total, strict=True
        )
    ]
    return deciles, {("deciles", str(place)): (parts[place], wholes[place]) for place in range(n)}


def scored(read: Callable[[], Iterator[Said]], later: Later) -> tuple[Shares, dict[str, Any]]:
    """held_out: mean of what the LLM gave the held-out items among what it was asked about; others: all else that it was
    asked about the same users; difference: the former less the latter. Means of users' means, of those who have both.
    """
    n_users = len(later.user_slices)
    sums = {name: np.zeros((4, n_users)) for name in SLICE_NAMES}
    for said in read():
        known = ~np.isnan(said.likelihood)
        users, items, likelihood = said.users[known], said.items[known], said.likelihood[known]
        taken = later.find(users, items) != NOTHING
        for name in SLICE_NAMES:
            inside = taken & later.members(name, users, items)
            for row, which in ((0, inside), (2, ~taken)):
                sums[name][row] += later.per_user(users[which], likelihood[which])
                sums[name][row + 1] += later.per_user(users[which])
    shares: Shares = {}
    for name, (held_out, targets, others, rest) in sums.items():
        both = (targets > 0) & (rest > 0)
        own, other = (
            np.where(both, total / np.maximum(count, 1), 0)
            for total, count in ((held_out, targets), (others, rest))
        )
        shares |= {(name, "held_out"): (own, both), (name, "others"): (other, both)}
        shares[name, "difference"] = own - other, both
    return shares, {}


def paired(read: Callable[[], Iterator[Said]], later: Later) -> tuple[Shares, dict[str, Any]]:
    """preferred: of the pairs with one held-out item (of the slice), the share in which it has more of the mean
    probability of both orders, whether they agree or not. undecided: of the pairs without any, the share on which they
    disagree; the outcome of the others says that something is held out, not this.
    """
    n_users = len(later.user_slices)
    sums = {name: np.zeros((4, n_users)) for name in SLICE_NAMES}
    for said in read():
        first, second = (later.find(said.users, one) != NOTHING for one in (said.items, said.against))
        held_out, one = np.where(first, said.items, said.against), first != second
        free = said.outcomes != OUTCOMES.index(HELD_OUT)
        undecided = said.outcomes == OUTCOMES.index(UNDECIDED)
        for name in SLICE_NAMES:
            inside = one & later.members(name, said.users, held_out)
            for row, which in ((0, inside & first), (1, inside)):
                sums[name][row] += later.per_user(said.users[which])
            if not name.startswith("items:"):
                inside = free & later.members(name, said.users, said.items)
                for row, which in ((2, inside & undecided), (3, inside)):
                    sums[name][row] += later.per_user(said.users[which])
    shares: Shares = {}
    for name, (preferred, pairs, undecided, others) in sums.items():
        shares |= {(name, "preferred"): (preferred, pairs), (name, "undecided"): (undecided, others)}
    return shares, {}


KINDS = {"list": listed, "score": scored, "pair": paired}
"""By what a strategy's answers are (`StrategySpec.answers`), how they are measured."""
