"""The gate: preferences of an LLM enter training only if it knows more of users than the texts of the items tell.

A small LLM that is asked for A or B is often no better than chance, while the similarity of texts to a user's history is
right in three pairs of four. So the LLM answers first about pairs of which the log knows the answer: an item that the user
took in validation, and a random one. It gets the same prompts as in the strategy. `gate_rule` has the rule.

Only the first round of a seed has validation items that nothing knows, so its verdict holds for all rounds of this seed.
"""

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import views_of
from longtail.augment.asking import Asking
from longtail.augment.gate_rule import Verdict, verdict
from longtail.augment.ledger import find_ledger, identity
from longtail.augment.strategies.pairs import Pairs
from longtail.augment.strategies.strategy import prompt_column
from longtail.augment.takers import latest_items
from longtail.augment.validation_pairs import together, validation_pairs
from longtail.data import Prepared
from longtail.data.catalogue import COLD
from longtail.recipe import Recipe, StrategySection
from longtail.recommenders.interactions import Histories
from longtail.registry import strategy_spec
from longtail.rounds import Round, first_round
from longtail.runtime.cluster import connect, fetch
from longtail.schema import REQUESTS
from longtail.text.text_similarity import TextSimilarity
from longtail.text.text_source import TextSource
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

log = logging.getLogger("longtail")
MEANING = 1
"""Version of the pairs and of the rule."""
SPENT = ("requests", "questions", "prompt_tokens", "output_tokens", "seconds")
"""What the counts of a gate say of its own cost."""


@dataclass(frozen=True)
class Measured:
    """A published gate."""

    place: Place

    @property
    def counts(self) -> dict[str, Any]:
        return read_manifest(self.place)["counts"]

    @property
    def passed(self) -> bool:
        return self.counts["passed"]


def gate_place(round_: Round, strategy: str) -> str:
    """Where the gate of a strategy is published that holds for a round, relative to the workspace."""
    return first_round(round_).at(f"gates/{strategy}")


def gate(recipe: Recipe, ws: Workspace, round_: Round, section: StrategySection) -> Measured:
    """The gate of a strategy for a round, which is measured now if it is the first one. recipe: see `Round.seeded`.

    Raises InputError if the first round has not measured it.
    """
    place = gate_place(round_, section.strategy)
    if round_.final:
        return Measured(ws.require(place))
    role = strategy_spec(section.strategy).role_of(section)
    tuning = getattr(recipe, role)
    texts = TextSource.whole(recipe.text, ws, ws / round_.data)
    settings = {
        "strategy": section.model_dump(exclude={"useless"}) | {"meaning": section.meaning},
        "items": recipe.llm.items,
        "prompts": [tuning.history, tuning.context],
        "seed": recipe.seed,
    } | texts.told
    inputs = [ws / round_.data, ws / round_.llm(role), *texts.vectors]
    stage = ws.stage(place, settings, inputs, MEANING)
    if not stage.up_to_date:
        ws.claim()
        ws.require(round_.llm(role))
        find_ledger(recipe, ws)
        connect(recipe.resources)
        with stage.publishing() as draft:
            asking = AskingValidation(recipe, ws, section, Prepared(ws, round_.data), round_)
            found, stage.counts = asking.measure(texts)
            (draft / "pairs.parquet").write_table(found)
        log.info("%s: %s", section.strategy, told(stage.counts))
    return Measured(stage.place)


def told(counts: dict[str, Any]) -> str:
    """A gate in one line."""
    of_cold = f", {counts['cold_pairs']:,} of them of cold items" if counts["cold_pairs"] else ""
    return (
        f"{'passed' if counts['passed'] else 'did not pass'} the gate, so its preferences"
        f" {'are asked for' if counts['passed'] else 'are left out'}: over {counts['pairs']:,} validation pairs{of_cold}"
        f" the LLM is right in {counts['llm']:.1%}, the texts in {counts['text']:.1%}; it adds"
        f" {100 * counts['adds']:+.1f} points to them (standard error {100 * counts['adds_error']:.1f})"
    )


class AskingValidation(Asking):
    """A strategy that is asked about validation pairs. Its answers are in the same ledger."""

    strategy: Pairs

    def requests(self) -> Any:
        """Rows of `schema.REQUESTS`, one for each pair: `shown` is the item taken and the other one."""
        import ray

        files = (self.prepared.place / "histories").files(".parquet")
        draw = ray.remote(num_cpus=1)(validation_pairs)
        # Another seed than that of the strategy: its draws of a user must not be the same.
        seed, items = self.recipe.seed + 1, ray.put(self.prepared.items.select(["slice"]))
        parts = [draw.remote(file, items, self.strategy.pool, seed) for file in files]
        pairs = ray.remote(num_cpus=1)(together).remote(*parts)
        written = ray.remote(num_cpus=1)(_requests).remote(pairs, [self.shared], self.salt)
        return ray.data.from_arrow_refs([written])

    def measure(self, texts: TextSource) -> tuple[pa.Table, dict[str, Any]]:
        """The pairs with what the LLM and the texts say of them, and the counts for the manifest."""
        import ray

        requests = self.run()
        task = ray.remote(num_cpus=1)(_measured)
        slices = self.prepared.items["slice"]
        return ray.get(task.remote(self.words(requests), [self.shared], texts, slices))


def _requests(pairs: pa.Table, shared: list[Any], salt: str) -> pa.Table:
    """Runs as a Ray task."""
    strategy, _ = fetch(shared[0])
    columns: dict[str, list[Any]] = {name: [] for name in REQUESTS.names}
    lists = zip(*(views_of(pairs[name].combine_chunks()) for name in ("history", "shown")), strict=True)
    users = zip(pairs["user"].to_pylist(), pairs["user_id"].to_pylist(), strict=True)
    for (user, user_id), (history, shown) in zip(users, lists, strict=True):
        asked = strategy.about(history, shown.reshape(1, 2))
        options = np.asarray(asked.options, np.int32)
        name = identity(salt, user_id, asked.prompts, options).hex()
        values = (name, user, user_id, history, shown, asked.prompts, options)
        for column, value in zip(REQUESTS.names, values, strict=True):
            columns[column].append(value)
    plain = {name: pa.array(columns[name], REQUESTS.field(name).type) for name in REQUESTS.names[:3]}
    return pa.table(plain | {name: prompt_column(columns[name]) for name in REQUESTS.names[3:]}, REQUESTS)


def _measured(
    answered: Any, shared: list[Any], texts: TextSource, slices: pa.ChunkedArray
) -> tuple[pa.Table, dict[str, Any]]:
    """Runs as a Ray task, which itself runs the dataset of answered requests."""
    strategy, _ = fetch(shared[0])
    parts = [pa.table(batch) for batch in answered.iter_batches(batch_format="pyarrow", batch_size=None)]
    answers = pa.concat_tables(parts).combine_chunks() if parts else None
    if answers is None or not len(answers):
        empty = np.zeros(0)
        nothing = {name: empty for name in ("user", "taken", "other", "llm", "text")}
        return pa.table(nothing), _counts(verdict(empty, empty, empty), 0, dict.fromkeys(SPENT, 0))
    users, (taken, other) = answers["user"].to_numpy(), _shown(answers).T
    llm = logits(strategy, answers)
    text = text_lead(TextSimilarity(texts()), views_of(answers["history"].combine_chunks()), taken, other)
    found = {"user": users, "taken": taken, "other": other, "llm": llm, "text": text}
    of_cold = int(np.sum(np.asarray(slices.to_pylist())[taken] == COLD))
    spent = {name: pc.sum(answers[name]).as_py() for name in ("prompt_tokens", "output_tokens", "seconds")}
    spent |= {
        "requests": len(answers),
        "questions": int(pc.sum(pc.list_value_length(answers["answers"])).as_py()),
    }
    return pa.table(found), _counts(verdict(llm, text, users), of_cold, spent)


def logits(strategy: Pairs, answers: pa.Table) -> np.ndarray:
    """The LLM's logit of the first of the two items of each row, 0 if it has not answered: float64 [rows]."""
    rows, _, for_first, answered = strategy.judged(answers)
    # A probability that is 1 to rounding must not have more weight than all other pairs together.
    known = np.clip(for_first, 1e-9, 1 - 1e-9)
    found = np.zeros(len(answers))
    found[rows] = np.where(answered, np.log(known) - np.log1p(-known), 0)
    return found


def text_lead(
    similarity: TextSimilarity, histories: list[np.ndarray], taken: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """By how much the text of `taken` int [n] is more similar to the user's latest items than that of `other`, per item of
    the history: float64 [n].
    """
    latest = latest_items(Histories.of(histories))
    matrix = latest.matrix(np.ones(len(latest.items)), similarity.n_items)
    lead = similarity.sums(matrix, taken) - similarity.sums(matrix, other)
    return lead / np.maximum(latest.lengths, 1)


def _shown(answers: pa.Table) -> np.ndarray:
    return answers["shown"].combine_chunks().flatten().to_numpy().reshape(-1, 2)


def _counts(found: Verdict, of_cold: int, spent: dict[str, float]) -> dict[str, Any]:
    return asdict(found) | {"passed": bool(found.passed), "cold_pairs": of_cold} | spent
