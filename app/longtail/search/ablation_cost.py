"""What each point of an ablation cost, and how much of it for that point alone.

A published unit is shared if several points have it (a place with the same fingerprint), or if it was taken over from the
run or from a point of another ablation. So is a request whose id several points have: its answer is in the ledger once.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from longtail.recipe import Recipe
from longtail.rounds import rounds
from longtail.workspace import Workspace
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Asked:
    """The requests of a point: their ids, uint64 [requests], each once, and the tokens of each, int64 [requests].

    Tokens are those of prompt and answer, and of the discriminator's questions about the answer.
    """

    ids: np.ndarray
    tokens: np.ndarray


def cost_of(points: dict[str, tuple[Recipe, Workspace]]) -> dict[str, dict[str, Any]]:
    """For each point: requests, tokens, requests_alone, tokens_alone, seconds_alone, seconds_shared. Ray must be connected.

    Seconds are the sums of those of the units. A shared unit counts in full for each point that has it, so only the
    seconds alone may be added up.
    """
    import ray

    answers = {name: _answers(recipe, ws) for name, (recipe, ws) in points.items()}
    asked = ray.get(ray.remote(num_cpus=1)(requests_of).remote(answers))
    seconds = seconds_of({name: ws.manifests() for name, (_, ws) in points.items()})
    return {name: asked[name] | seconds[name] for name in points}


def seconds_of(units: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """seconds_alone and seconds_shared of each point, from the manifests of its units."""
    owners = Counter(
        (name, one["fingerprint"]) for manifests in units.values() for name, one in manifests.items()
    )
    found = {}
    for point, manifests in units.items():
        sums = {"seconds_alone": 0.0, "seconds_shared": 0.0}
        for name, one in manifests.items():
            shared = "taken_from" in one or owners[name, one["fingerprint"]] > 1
            sums["seconds_shared" if shared else "seconds_alone"] += one["seconds"]
        found[point] = {name: round(value, 3) for name, value in sums.items()}
    return found


def requests_of(answers: dict[str, list[Place]]) -> dict[str, dict[str, int]]:
    """requests, tokens, requests_alone and tokens_alone of each point, from the places of its answers. For a Ray task."""
    asked = {name: _read(places) for name, places in answers.items()}
    known, counts = np.unique(
        np.concatenate([np.zeros(0, np.uint64), *(one.ids for one in asked.values())]), return_counts=True
    )
    found = {}
    for name, one in asked.items():
        alone = counts[np.searchsorted(known, one.ids)] == 1
        found[name] = {
            "requests": len(one.ids),
            "tokens": int(one.tokens.sum()),
            "requests_alone": int(alone.sum()),
            "tokens_alone": int(one.tokens[alone].sum()),
        }
    return found


def _answers(recipe: Recipe, ws: Workspace) -> list[Place]:
    if not recipe.augmented:
        return []
    return [
        ws / round_.at(f"augmentation/{section.strategy}/answers")
        for round_ in rounds(recipe)
        for section in recipe.augment
    ]


def _read(places: list[Place]) -> Asked:
    columns = ["prompt_tokens", "output_tokens", "judge_tokens"]
    ids, tokens = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for place in places:
        table = place.read_table(["request_id", *columns])
        ids.append(
            np.fromiter((int(one, 16) for one in table["request_id"].to_pylist()), np.uint64, len(table))
        )
        tokens.append(sum(table[name].fill_null(0).to_numpy().astype(np.int64) for name in columns))
    known, first = np.unique(np.concatenate(ids), return_index=True)
    return Asked(known, np.concatenate(tokens)[first])
