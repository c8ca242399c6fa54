"""The check that the prepared data have users to evaluate. `prepare` fails if not, before anything is trained."""

import numpy as np

from longtail.errors import InputError
from longtail.recipe import Dataset

_NO_TEST = {
    "leave-one-out": "no user has three different items, and a shorter history is all training. "
    "Give a longer log, or lower dataset.k_core or dataset.min_rating, or set dataset.split to temporal",
    "temporal": "no interaction is in the test part: the log has too few, or too many of them have the latest time. "
    "Raise dataset.test_share, or set dataset.split to leave-one-out",
    "cold": "no user took an item that is cold in the test, or three different warm ones. Raise dataset.cold_share, or set "
    "dataset.split to leave-one-out",
    "published": "the test file has no pair of user and item that is not in the training file too. "
    "Set dataset.test to the test file",
}
_NO_HISTORY = {
    "temporal": "Lower dataset.test_share and dataset.valid_share, or set dataset.split to leave-one-out",
    "published": "Give files with the same user ids, or set dataset.split to leave-one-out",
    "cold": "Lower dataset.cold_share, or set dataset.split to leave-one-out",
}


def check_evaluable(totals: dict[str, np.ndarray], n_items: int, dataset: Dataset) -> None:
    """Raise InputError if nothing can be trained or no user evaluated. totals: those of `histories.split_counts`."""
    _, train, _, test = totals["interactions"].tolist()
    tested, tested_and_trained = totals["users_tested"].tolist()
    users = int(totals["users"].sum())
    if n_items == 1:
        raise InputError(
            "dataset: the log and the catalogue have one item, so there is nothing to rank. Set dataset.columns.item to "
            "the column of item ids, or give more items."
        )
    if not train:
        raise InputError("dataset: the split leaves nothing to train. Lower valid_share or test_share.")
    if not test:
        raise InputError(f"dataset: none of {users} users can be evaluated: {_NO_TEST[dataset.split]}.")
    if not tested_and_trained:
        raise InputError(
            f"dataset: none of {tested} users with test interactions has training interactions, so none can be evaluated. "
            f"{_NO_HISTORY[dataset.split]}."
        )
