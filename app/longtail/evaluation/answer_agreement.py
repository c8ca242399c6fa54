"""Agreement of the LLMs' answers with the held-out items: the validation and test items, which no LLM was tuned on.

The log is all that is known of a user: an item that the user never saw counts as not taken.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from longtail.evaluation.held_out_lookup import HeldOutItems, Proposals, read_proposals
from longtail.evaluation.significance import share_interval
from longtail.evaluation.slices import SLICE_NAMES
from longtail.registry import strategy_spec
from longtail.schema import NOTHING, OUTCOMES, UNDECIDED
from longtail.workspace.place import Place

LIKELIHOODS = np.geomspace(1e-12, 1, 4001)
"""Edges of the bins that count likelihoods. A decile's edge is one of them, so it is known to 0.7 %."""
DECILES = 10
FIGURE = ("value", "ci_low", "ci_high", "n")
Shares = dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
"""By slice and figure, the numerators and the denominators of the users' shares: float or int [users] each."""


def agreement(strategy: str, answers: Place, data: Place, resamples: int, seed: int) -> dict[str, Any] | None:
    """How one strategy's answers agree with the held-out items. None if the answers cannot tell.

    `slices` maps each slice to its figures, each with a 95 % bootstrap interval over users and the number of users.
    The figures depend on the strategy's kind: `hit` for lists (see `listed`), `held_out`, `others` and `difference` for
    scores (see `scored`), `preferred` and `undecided` for pairs (see `paired`). Meant for a Ray task: it holds some
    numbers for every user.
    """
    kind = strategy_spec(strategy).answers
    if kind is None:
        return None
    shares, more = KINDS[kind](lambda: read_proposals(answers), HeldOutItems.read(data))
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


def listed(read: Callable[[], Iterator[Proposals]], later: HeldOutItems) -> tuple[Shares, dict[str, Any]]:
    """The figures of strategies whose answer is a list of items.

    hit: among the users about whom the LLM was asked and who have a held-out item (of the slice), the share whose list
    names such an item, at any place and with any outcome. by_chance: by slice, the hit that lists of the same length
    with random items would reach on average. deciles: all proposals in ten parts by likelihood; for each part the mean
    likelihood and the share of proposals that are held-out items of their user.
    """
    n_users, n_items = len(later.user_slices), len(later.item_slices)
    asked, named = np.zeros(n_users, bool), np.zeros(len(later.keys), bool)
    length, likelihoods = np.zeros(n_users), np.zeros(len(LIKELIHOODS) + 1, np.int64)
    for part in read():
        asked[part.asked] = True
        places = later.find(part.users, part.items)
        named[places[places != NOTHING]] = True
        length += later.per_user(part.users)
        known = part.likelihood[~np.isnan(part.likelihood)]
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
    read: Callable[[], Iterator[Proposals]], later: HeldOutItems, likelihoods: np.ndarray
) -> tuple[list[dict[str, Any]], Shares]:
    """The deciles of likelihood, and by decile how many proposals of each user are held-out items.

    likelihoods int [len(LIKELIHOODS) + 1]: the number of proposals in each bin.
    """
    ends = np.cumsum(likelihoods)
    if not ends[-1]:
        return [], {}
    cuts = np.searchsorted(ends, np.arange(1, DECILES) * ends[-1] / DECILES)
    edges = LIKELIHOODS[np.minimum(np.unique(cuts), len(LIKELIHOODS) - 1)]
    n = len(edges) + 1
    total, summed = np.zeros(n, np.int64), np.zeros(n)
    parts, wholes = (np.zeros((n, len(later.user_slices)), np.float32) for _ in range(2))
    for part in read():
        known = ~np.isnan(part.likelihood)
        users, likelihood = part.users[known], part.likelihood[known]
        decile = np.searchsorted(edges, likelihood)
        total += np.bincount(decile, minlength=n)
        summed += np.bincount(decile, likelihood, n)
        np.add.at(wholes, (decile, users), 1)
        np.add.at(parts, (decile, users), later.find(users, part.items[known]) != NOTHING)
    bounds = [0.0, *edges.tolist(), 1.0]
    deciles = [
        {"low": low, "high": high, "mean": float(mean), "proposals": int(count)}
        for low, high, mean, count in zip(
            bounds[:-1], bounds[1:], summed / np.maximum(total, 1), total, strict=True
        )
    ]
    return deciles, {("deciles", str(place)): (parts[place], wholes[place]) for place in range(n)}


def scored(read: Callable[[], Iterator[Proposals]], later: HeldOutItems) -> tuple[Shares, dict[str, Any]]:
    """The figures of strategies that give every item of a question a likelihood.

    held_out: the mean likelihood of the held-out items in the questions; others: that of all other items in the
    questions about the same users; difference: held_out - others. Each is the mean of the users' means, over the users
    who have items of both groups.
    """
    n_users = len(later.user_slices)
    sums = {name: np.zeros((4, n_users)) for name in SLICE_NAMES}
    for part in read():
        known = ~np.isnan(part.likelihood)
        users, items, likelihood = part.users[known], part.items[known], part.likelihood[known]
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


def paired(read: Callable[[], Iterator[Proposals]], later: HeldOutItems) -> tuple[Shares, dict[str, Any]]:
    """The figures of strategies that ask which item of a pair the user prefers, once in each order of the two items.

    preferred: among the pairs with exactly one held-out item (of the slice), the share in which this item has the
    higher mean probability over both orders, whether the two answers agree or not. undecided: among the pairs without
    a held-out item, the share whose two answers disagree. So no pair is counted in both figures.
    """
    n_users = len(later.user_slices)
    sums = {name: np.zeros((4, n_users)) for name in SLICE_NAMES}
    for part in read():
        first, second = (later.find(part.users, one) != NOTHING for one in (part.items, part.against))
        held_out, one = np.where(first, part.items, part.against), first != second
        free = ~(first | second)
        undecided = part.outcomes == OUTCOMES.index(UNDECIDED)
        for name in SLICE_NAMES:
            inside = one & later.members(name, part.users, held_out)
            for row, which in ((0, inside & first), (1, inside)):
                sums[name][row] += later.per_user(part.users[which])
            if not name.startswith("items:"):
                inside = free & later.members(name, part.users, part.items)
                for row, which in ((2, inside & undecided), (3, inside)):
                    sums[name][row] += later.per_user(part.users[which])
    shares: Shares = {}
    for name, (preferred, pairs, undecided, others) in sums.items():
        shares |= {(name, "preferred"): (preferred, pairs), (name, "undecided"): (undecided, others)}
    return shares, {}


KINDS = {"list": listed, "score": scored, "pair": paired}
"""For each kind of answers (`StrategySpec.answers`), the function that measures them."""
