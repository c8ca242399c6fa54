"""What the LLM's interactions cost and where every proposal went: sums over the files of the ledger."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.schema import ACCEPTED, OUTCOMES
from app.workspace import Place

SUMS = ("questions", "prompt_tokens", "output_tokens", "seconds")


@dataclass
class Tally:
    """Sums over answers; tallies add up. `seconds` are the engines', of requests that overlap."""

    requests: int = 0
    errors: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    proposals: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Tally") -> "Tally":
        # `Counter + Counter` would drop what is 0.
        sums, proposals = Counter(self.sums), Counter(self.proposals)
        sums.update(other.sums)
        proposals.update(other.proposals)
        return Tally(self.requests + other.requests, self.errors + other.errors, sums, proposals)


def tally(file: Place) -> Tally:
    """The sums of one ledger file (`schema.ANSWERS`), read row group by row group.

    Raises ValueError where a proposal has no known outcome: then the counts would not add up.
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


def cost(total: Tally, wall_seconds: float) -> dict[str, float | int | None]:
    """The cost of an augmentation, and of each accepted interaction (null where none was)."""
    accepted = total.proposals[ACCEPTED]
    tokens = total.sums["prompt_tokens"] + total.sums["output_tokens"]

    def each(amount: float) -> float | None:
        return amount / accepted if accepted else None

    return {
        "requests": total.requests,
        "failed_requests": total.errors,
        "questions": total.sums["questions"],
        "prompt_tokens": total.sums["prompt_tokens"],
        "output_tokens": total.sums["output_tokens"],
        "engine_seconds": round(total.sums["seconds"], 3),
        "wall_seconds": wall_seconds,
        "accepted": accepted,
        "tokens_per_accepted": each(tokens),
        "questions_per_accepted": each(total.sums["questions"]),
        "wall_seconds_per_accepted": each(wall_seconds),
    }
