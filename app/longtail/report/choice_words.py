"""Sentences about the best fit and the served one, and their validation figures. The test items never decide."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from longtail.report.summary import title
from longtail.variants import label

Choice = Mapping[str, Any]
"""The entry `choice` of metrics.json, see `report_stage.choice`."""


def headline(choice: Choice, rows: Sequence[Mapping[str, Any]], k: int) -> str:
    """The headline of a recipe that compares recommenders without an LLM: the best fit."""
    best = choice["best"]
    if not choice["figures"]:
        return "No recommender was evaluated."
    if not best:
        return "No user has a validation item, so no recommender is called best."
    return ": ".join([f"{title(best['recommender'])} is best on validation", *_on_test(best, rows, k)]) + "."


def sentences(choice: Choice, rows: Sequence[Mapping[str, Any]], k: int) -> list[str]:
    """What `longtail serve` serves and why, and whether a control is better on validation, and what the constraint cost.
    Controls are not served.
    """
    served, best, control = (choice[name] for name in ("served", "best", "control"))
    if not served:
        return [f"Nothing is served: {choice['fault']}"]
    by = "as validation chose" if served == best else "as the recipe names it"
    measured = served in choice["figures"]
    words = [f"NDCG@10 on validation {served['ndcg']:.4f}"] if measured and served["users"] else []
    words += _on_test(served, rows, k) if measured else ["a fusion that was not evaluated"]
    found = [f"Served, {by}: {_described(served)}; {', '.join(words)}."]
    if best and served != best:
        found.append(f"Best on validation is {_described(best)}, NDCG@10 {best['ndcg']:.4f}.")
    if choice.get("slices") and best:
        found.append(_cost(choice["free"], best, choice["slices"]))
    if control and best and mean_ndcg(choice, control) > mean_ndcg(choice, best):
        name = f"{title(control['recommender'])}, {label(control['variant'])}"
        ndcg = f"NDCG@10 {mean_ndcg(choice, control):.4f}"
        found.append(f"A control is better on validation: {name}, {ndcg}. Controls are not served.")
    return found


def settings_words(recipe: Mapping[str, Any]) -> str:
    """With how many trials the settings of each recommender of the recipe were chosen by `longtail tune`."""
    groups: dict[str, list[str]] = {}
    for name, section in recipe["recommenders"].items():
        if section is None:  # not in the recipe
            continue
        found = recipe["tune"]["found"].get(name)
        if not found:
            how = "as the recipe has them, without a search"
        elif any(section[key] != value for key, value in found["settings"].items()):
            how = f"changed by hand after a search of {found['trials']} trials"
        else:
            how = f"the best of {found['trials']} trials on validation"
        groups.setdefault(how, []).append(title(name))
    words = [f"{how} ({', '.join(of)})" for how, of in groups.items()]
    return f"Settings of the recommenders: {'; '.join(words)}."


def _cost(free: Mapping[str, Any], best: Mapping[str, Any], slices: Sequence[str]) -> str:
    """What it cost on validation to choose nothing that loses one of the slices. free: the best if it did not matter."""
    rule = f"Nothing was chosen that loses {' or '.join(slices)} on validation"
    cost = free["ndcg"] - best["ndcg"]
    if cost <= 0:
        return f"{rule}; that cost nothing."
    loses = f"; it loses {_losses(free['lost'])}" if free["lost"] else ""
    return (
        f"{rule}; that cost {cost:.4f} NDCG@10 of all users there: best without this rule is {_fitted(free)},"
        f" {free['ndcg']:.4f}{loses}."
    )


def _losses(lost: Mapping[str, float]) -> str:
    return ", ".join(f"{-difference:.4f} on {name}" for name, difference in lost.items())


def means(choice: Choice) -> dict[tuple[str, str], float]:
    """The mean NDCG@10 over the seeds of each recommender and variant. Empty if no user has a validation item."""
    watched = [one for one in choice["figures"] if one["users"]]
    fits = dict.fromkeys((one["recommender"], one["variant"]) for one in watched)
    return {fit: mean_ndcg(choice, dict(zip(("recommender", "variant"), fit, strict=True))) for fit in fits}


def mean_ndcg(choice: Choice, of: Mapping[str, Any]) -> float:
    """The mean NDCG@10 on validation over all seeds of the recommender and variant of the figure `of`."""
    return fmean(one["ndcg"] for one in choice["figures"] if _same(one, of))


def _on_test(one: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], k: int) -> list[str]:
    """Its Recall@k over all users on the test, the mean over seeds. Empty if no user has a test item."""
    wanted = {"metric": "recall", "k": k, "slice": "all"}
    found = [row["value"] for row in rows if _same(row, one) and wanted.items() <= row.items()]
    return [f"Recall@{k} {value:.4f} on the test" for value in found]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("recommender", "variant"))


def _described(one: Mapping[str, Any]) -> str:
    if not one["list"]:
        return _fitted(one)
    return f"{_fitted(one)} ({fusion_in_words(one['fusion'])})"


def fusion_in_words(fusion: Mapping[str, Any]) -> str:
    """The kind of a fusion and its numbers, as `Fusion.told` gives them."""
    match fusion["kind"]:
        case "paper":
            numbers = f"α₁ {fusion['alpha_1']:g}, α₂ {fusion['alpha_2']:g}"
        case "uniform":
            numbers = f"weight {fusion['weight']:g}"
        case "bucketed":
            numbers = f"weights {', '.join(f'{weight:g}' for weight in fusion['weights'])}, the sparsest users first"
        case _:
            return f"{fusion['kind']}, from place {fusion['first']}, every {fusion['every']}"
    return f"{fusion['kind']}, {numbers}, utility {fusion['utility']}"


def _fitted(one: Mapping[str, Any]) -> str:
    fit = f"{title(one['recommender'])} of {label(one['trained_on'])}"
    fit += f", seed {one['seed_index']}" if one["seed_index"] else ""
    return f"{fit}, fused with the LLM's list of {one['list']}" if one["list"] else fit
