"""The cost of asking the LLMs, by strategy, and the lift per cost: sums over the files of answers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from longtail.recipe import Price
from longtail.schema import ACCEPTED, OUTCOMES
from longtail.workspace.place import Place

SUMS = (
    *("questions", "prompt_tokens", "output_tokens", "seconds"),
    *("judge_questions", "judge_tokens", "judge_seconds"),
)
LIFTED = ("ndcg", "recall")
"""The metrics whose lift is divided by the cost."""


@dataclass
class Tally:
    """Sums over answers; two tallies can be added.

    `seconds` and `judge_seconds` are seconds of the requests in the engines. Requests overlap, so the sum can be larger
    than the time that passed.
    """

    requests: int = 0
    errors: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    proposals: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Tally") -> "Tally":
        # `Counter + Counter` would drop every key whose count is 0.
        sums, proposals = Counter(self.sums), Counter(self.proposals)
        sums.update(other.sums)
        proposals.update(other.proposals)
        return Tally(self.requests + other.requests, self.errors + other.errors, sums, proposals)


def tally(file: Place) -> Tally:
    """The sums of one file of answers (`schema.ANSWERS`), read row group by row group.

    Raises ValueError if a proposal has an unknown outcome: the counts of outcomes would then not add up.
    """
    total = Tally(proposals=Counter(dict.fromkeys(OUTCOMES, 0)))
    with file.fs.open_input_file(file.path) as source:
        for batch in pq.ParquetFile(source).iter_batches(columns=[*SUMS, "error", "proposals"]):
            proposals = pc.list_flatten(batch["proposals"])
            outcomes = pc.value_counts(pc.struct_field(proposals, "outcome")).to_pylist()
            total += Tally(
                requests=len(batch),
                errors=len(batch) - batch["error"].null_count,
                sums=Counter({name: pc.sum(batch[name]).as_py() or 0 for name in SUMS}),
                proposals=Counter({outcome["values"]: outcome["counts"] for outcome in outcomes}),
            )
    strange = set(total.proposals) - set(OUTCOMES)
    if strange:
        raise ValueError(
            f"{file}: proposals with outcomes {sorted(map(str, strange))}, known are {list(OUTCOMES)}"
        )
    return total


def cost(total: Tally, wall_seconds: float, price: Price | None) -> dict[str, float | int | None]:
    """The cost of an augmentation, and its cost per accepted proposal (None if none was accepted).

    Money is in the price table's currency, None without a price. All answers count, also those that a shared ledger
    already had from an earlier run. `failed_requests`: requests without an answer from the engine. `judge_…`: the
    questions to the discriminator about the proposals.
    """
    accepted, sums = total.proposals[ACCEPTED], total.sums
    tokens = sums["prompt_tokens"] + sums["output_tokens"] + sums["judge_tokens"]
    engine_seconds = sums["seconds"] + sums["judge_seconds"]
    money = None
    if price:
        # The judge writes one token per question, so nearly all of its tokens are prompt tokens.
        prompts = sums["prompt_tokens"] + sums["judge_tokens"]
        money = price.spent(prompts, sums["output_tokens"], engine_seconds)

    def each(amount: float | None) -> float | None:
        return amount / accepted if accepted and amount is not None else None

    return {
        "requests": total.requests,
        "failed_requests": total.errors,
        "questions": sums["questions"],
        "judge_questions": sums["judge_questions"],
        "prompt_tokens": sums["prompt_tokens"],
        "output_tokens": sums["output_tokens"],
        "judge_tokens": sums["judge_tokens"],
        "engine_seconds": round(engine_seconds, 3),
        "wall_seconds": wall_seconds,
        "proposals": sum(total.proposals.values()),
        "accepted": accepted,
        "money": money,
        "requests_per_accepted": each(total.requests),
        "questions_per_accepted": each(sums["questions"] + sums["judge_questions"]),
        "tokens_per_accepted": each(tokens),
        "engine_seconds_per_accepted": each(engine_seconds),
        "wall_seconds_per_accepted": each(wall_seconds),
        "money_per_1000_accepted": each(None if money is None else 1000 * money),
    }


def lift_per_cost(
    rows: Iterable[Mapping[str, Any]],
    sources: Mapping[str, tuple[str, ...]],
    costs: Mapping[str, Mapping[str, Any]],
    k: int,
) -> list[dict[str, Any]]:
    """The relative lift over all users of each variant and recommender, per cost of the variant's strategies.

    rows: those of `metrics.json`. sources: the strategies that each variant needs. costs: the `cost` of each strategy.
    The lift is per unit of the price table's currency, or per million tokens if there is no price; None if nothing was
    spent. The interval is that of the difference from observed, divided by the observed value and by the same cost.
    """
    found = []
    for row in rows:
        of_all = row["slice"] == "all" and row["k"] == k and row["metric"] in LIFTED
        if not of_all or row["variant"] not in sources or row["lift"] is None:
            continue
        strategies = sources[row["variant"]]
        amount = sum(_amount(costs[strategy]) for strategy in strategies)
        observed = row["value"] / (1 + row["lift"]) if row["lift"] > -1 else None
        lifts = {
            "per_unit": row["lift"],
            "ci_low": row["ci_low"] / observed if observed else None,
            "ci_high": row["ci_high"] / observed if observed else None,
        }
        found.append(
            {name: row[name] for name in ("recommender", "variant", "metric", "k", "lift")}
            | {"strategies": list(strategies), "cost": amount}
            | {name: lift / amount if amount and lift is not None else None for name, lift in lifts.items()}
        )
    return found


def _amount(spent: Mapping[str, Any]) -> float:
    """Money, or million tokens if there is no price."""
    if spent["money"] is not None:
        return spent["money"]
    return (spent["prompt_tokens"] + spent["output_tokens"] + spent["judge_tokens"]) / 1e6
