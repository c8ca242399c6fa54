"""Progress of a running augmentation: speed, usable share, cost and time left. Stops a run whose answers are useless."""

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import entry_rows
from longtail.augment.discriminate import FIRST
from longtail.errors import InputError
from longtail.progress import progress, tell
from longtail.recipe import Prices, StrategySection
from longtail.schema import ACCEPTED
from longtail.workspace.place import Place

log = logging.getLogger("longtail")
EVERY_SECONDS = 1.0
ENOUGH = 256
"""Number of answers after which the share of useless ones is meaningful."""


@dataclass(frozen=True)
class Written:
    """Sums over a part of the requests of a running pipeline; the driver adds them up."""

    requests: int = 0
    errors: int = 0
    useless: int = 0
    """Answers that name no item of the catalogue."""
    questions: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    judge_tokens: int = 0
    seconds: float = 0.0
    proposals: int = 0
    usable: int = 0
    """Proposals that are accepted, or have no outcome yet."""

    def __add__(self, other: "Written") -> "Written":
        return Written(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def written(batch: pa.Table, asked: bool) -> pa.Table:
    """One row of sums, a column for each field of `Written`, of a batch that is in the ledger and has `proposals`.

    asked: whether this run asked the LLM of the strategy. If the batch has a column `asked`, the discriminator was asked.
    """
    judged = "asked" in batch.column_names
    sums: dict[str, Any] = {"requests": len(batch)}
    if asked:
        first = FIRST if judged else ""
        costs = ("questions", "prompt_tokens", "output_tokens", "seconds")
        flat = pc.list_flatten(batch["proposals"])
        named = entry_rows(batch["proposals"])[
            pc.is_valid(pc.struct_field(flat, "item")).to_numpy(zero_copy_only=False)
        ]
        outcomes = pc.struct_field(flat, "outcome")
        sums |= {name: _sum(batch[first + name]) for name in costs} | {
            "errors": len(batch) - batch[first + "error"].null_count,
            "useless": len(batch) - len(np.unique(named)),
            "proposals": len(flat),
            "usable": _sum(pc.or_kleene(pc.is_null(outcomes), pc.equal(outcomes, ACCEPTED))),
        }
    if judged:
        sums["judge_tokens"] = _sum(batch["prompt_tokens"]) + _sum(batch["output_tokens"])
        sums["seconds"] = sums.get("seconds", 0.0) + _sum(batch["seconds"])
    return pa.Table.from_pylist([vars(Written(**sums))])


def _sum(column: Any) -> Any:
    return pc.sum(column).as_py() or 0


class Progress:
    """Adds up the sums of a running pipeline and logs them every second."""

    def __init__(self, section: StrategySection, prices: Prices, base: str, total: int) -> None:
        self.section, self.total, self.currency = section, total, prices.currency
        self.price = prices.models.get(base)
        self.done = Written()
        self.started = self.said = time.monotonic()
        self.first: tuple[float, Written] | None = None
        """When the first answers came, and their sums: speed is measured from then on."""

    def add(self, written: Written, ledger: Place) -> None:
        """Raises InputError if too many answers are useless. All answers stay in the ledger."""
        self.done += written
        now = time.monotonic()
        if self.first is None:
            log.info("%s: first answers after %.0f s", self.section.strategy, now - self.started)
            self.first, self.said = (now, written), now
        elif now - self.said >= EVERY_SECONDS:
            self.said = now
            self._say(now - self.first[0], self.first[1])
        useless = self.done.useless / max(1, self.done.requests)
        if self.done.requests >= ENOUGH and useless > self.section.useless:
            raise InputError(
                f"augment.{self.section.strategy}: {self.done.useless:,} of {self.done.requests:,} answers name nothing of"
                f" the catalogue or failed, more than the share of {self.section.useless} that `useless` allows. Look at"
                f" the answers in {ledger} (they are kept), and at what the LLM was tuned on."
            )

    def _say(self, seconds: float, first: Written) -> None:
        done = self.done
        tokens = (_tokens(done) - _tokens(first)) / seconds
        usable = done.usable / max(1, done.proposals)
        note, cost = f"{tokens:,.0f} tokens/s, {usable:.0%} of proposals usable", {}
        if self.price:
            cost["cost"] = self.price.spent(
                done.prompt_tokens + done.judge_tokens, done.output_tokens, done.seconds
            )
            note += f", {cost['cost']:.2f} {self.currency}"
        told = progress(
            self.section.strategy,
            done.requests,
            self.total,
            "requests",
            seconds,
            since=first.requests,
            note=note,
            tokens_per_second=tokens,
            usable_share=usable,
            **cost,
        )
        tell(told)


def _tokens(done: Written) -> int:
    return done.prompt_tokens + done.output_tokens + done.judge_tokens
