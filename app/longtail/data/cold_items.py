"""Split cold: some items are taken out of the training set, to see whether they are found without a single interaction."""

import numpy as np

WARM, COLD_IN_VALIDATION, COLD_IN_TEST = 0, 1, 2
VALIDATION_OVER_TEST = 0.5
"""Items that are cold in validation, for each that is cold in the test."""


def part_of_items(items: np.ndarray, share: float, seed: int) -> np.ndarray:
    """WARM, COLD_IN_VALIDATION or COLD_IN_TEST for each item code, int of any shape: int64 of the same shape.

    share: of the items that are cold in the test. Whether an item is drawn depends on its code and `seed` alone.
    """
    # The finaliser of splitmix64 (Steele, Lea, Flood 2014).
    value = items.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    drawn = ((value ^ (value >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2**53
    return np.where(
        drawn < share,
        COLD_IN_TEST,
        np.where(drawn < share * (1 + VALIDATION_OVER_TEST), COLD_IN_VALIDATION, WARM),
    )


def held_out(users: np.ndarray, items: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The part of each interaction: 0 training, 1 validation, 2 test; int64 [n].

    users, items int [n]: user by user, oldest first, no pair twice. An interaction with a cold item belongs to the part in
    which the item is cold. Of the others, the last of a user with three or more is test, and the one before it validation.
    """
    part = part_of_items(items, share, seed)
    warm = np.flatnonzero(part == WARM)
    own = users[warm]
    lengths = np.bincount(own, minlength=int(users.max(initial=-1)) + 1)
    from_the_end = np.cumsum(lengths)[own] - np.arange(len(own))
    long = lengths[own] >= 3
    part[warm[long & (from_the_end == 1)]] = 2
    part[warm[long & (from_the_end == 2)]] = 1
    return part
