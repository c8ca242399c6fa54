"""The quality of a tuned LLM, measured in Ray tasks on the users' validation items."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.data import Prepared
from longtail.data.catalogue import TAIL
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.item_text import item_texts
from longtail.llm.quality.answers import NO_ITEM, injected, one_token, preference, ranks, yes_no
from longtail.llm.quality.llm_metrics import figures
from longtail.recipe import Role, Tuning
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from longtail.llm.quality.likelihood import Likelihood

log = logging.getLogger("longtail")

RANKING = ("next_item", "id_list")
"""The first of these tasks that the section teaches gives the prompt for ranking the catalogue."""
MEASURED = (*RANKING, "yes_no", "preference")
MOST_USERS = 10_000
RANKING_TOKENS = 10_000_000
"""If items are written with several tokens, ranking costs all tokens of the catalogue per user; this is the limit for
all users together."""
RANKING_WORK = 100_000_000_000_000
"""On a CPU also the limit of tokens times parameters: a quarter of an hour of two cores, whatever the size of the LLM."""
ASKING_WORK = 25_000_000_000_000
"""The same limit for all that is asked about single users: some minutes."""
PROMPTS = {"next_item": 1, "id_list": 1, "yes_no": 3, "preference": 2}
"""How many prompts about a user measure a task."""
USERS_PER_TASK = 512
TASKS_AT_MOST = 8
"""Each task loads the model."""
DRAWS = 64
"""Tries to draw an item that a user did not take. A user who took nearly all items may get none."""
INJECTED = 200
"""Users for whom hostile titles are measured: one item taken and one item not taken each."""


@dataclass(frozen=True)
class Setting:
    """What every Ray task needs: the LLM to measure, the catalogue and the settings of the prompts."""

    llm: Place
    items: pa.Table
    rendering: str
    section: Tuning
    seed: int
    role: Role

    @property
    def tasks(self) -> list[str]:
        taught = [task for task in MEASURED if task in self.section.tasks]
        return [task for task in taught if task not in RANKING or task == self.ranking]

    @property
    def ranking(self) -> str | None:
        """The task that ranks the catalogue. None for a discriminator: list tasks only help its answers."""
        if self.role == "discriminator":
            return None
        return next((task for task in RANKING if task in self.section.tasks), None)


def measure_worth(
    role: Role, llm: Place, prepared: Prepared, section: Tuning, rendering: str, seed: int
) -> dict[str, Any]:
    """How well the model of a Hugging Face folder predicts what users took next, as a JSON object.

    It asks about users with a training and a validation item, at most MOST_USERS, drawn by seed. Only tasks that the
    section teaches are measured; `llm_metrics` defines the metrics. Ray must be connected; the driver holds only the result.
    """
    import ray

    setting = Setting(llm, prepared.items, rendering, section, seed, role)
    if not setting.tasks:
        return {}
    devices = int(ray.cluster_resources().get("GPU", 0))
    wanted = -(-min(prepared.n_users, MOST_USERS) // USERS_PER_TASK)
    parts = max(1, min(devices or TASKS_AT_MOST, wanted))
    log.info("%s: measuring %s on the validation items", role, ", ".join(setting.tasks))

    shared = ray.put(setting)
    share = 1.2 * MOST_USERS / max(1, prepared.n_users)
    files = (prepared.place / "histories").files(".parquet")
    drawn = [ray.remote(num_cpus=1)(_draw).remote(file, share, seed) for file in files]
    users = ray.remote(num_cpus=1)(_first).remote(*drawn)
    measure = ray.remote(num_cpus=1, num_gpus=1 if devices else 0, memory=_memory(llm))(_measure)
    found = [measure.remote(shared, users, part, parts) for part in range(parts)]
    figured = ray.remote(num_cpus=1)(_figures)
    return ray.get(figured.remote(prepared.n_items, seed, setting.ranking or RANKING[0], *found))


def _memory(llm: Place) -> int:
    """Bytes a task requests: bf16 weights are twice the files in fp32. A request above a node's memory would never start."""
    import ray

    sizes = [llm.fs.get_file_info(file.path).size for file in llm.files(".safetensors")]
    return int(
        min(2 * sum(sizes), *(node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]))
    )


def _draw(histories: Place, share: float, seed: int) -> pa.Table:
    """Rows (lot, user, items) for about `share` of a file's users with a training and a validation item.

    items: the training history, then the validation item.
    """
    table = histories.read_table(["user", "items", "train_end", "valid_end"])
    lots = _lots(table["user"].to_numpy(), seed)
    train_end, valid_end = table["train_end"].to_numpy(), table["valid_end"].to_numpy()
    asked = np.flatnonzero((train_end > 0) & (valid_end > train_end) & (lots < share * 2.0**64))
    chosen = table.take(pa.array(asked))
    ends = (train_end[asked] + 1).tolist()
    items = [taken[:end] for taken, end in zip(chosen["items"].to_pylist(), ends, strict=True)]
    return pa.table(
        {"lot": lots[asked], "user": chosen["user"], "items": pa.array(items, pa.list_(pa.int32()))}
    )


def _first(*drawn: pa.Table) -> pa.Table:
    """At most MOST_USERS rows of `_draw`, by lot. The first n of them are a random sample for any n."""
    return pa.concat_tables(drawn).sort_by([("lot", "ascending"), ("user", "ascending")]).slice(0, MOST_USERS)


def _lots(users: np.ndarray, seed: int) -> np.ndarray:
    """A random uint64 for each user that depends only on seed and user (splitmix64; Steele, Lea, Flood 2014)."""
    value = users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    value += np.uint64((seed + 1) * 0xD1342543DE82EF95 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    return value ^ (value >> np.uint64(31))


def _measure(setting: Setting, users: pa.Table, part: int, parts: int) -> pa.Table:
    """Every parts-th user of `users` from the part-th on: one row each, with the columns that `llm_metrics` reads."""
    # It brings transformers: seconds that the other tasks of this module do not need.
    from longtail.llm.quality.likelihood import Likelihood

    llm = Likelihood.open(setting.llm)
    section = setting.section
    prompts = Prompts.open(setting.llm, setting.items, setting.rendering, section.history, section.context)
    # Users are in random order, so the first of them are a sample.
    place = np.arange(part, min(users.num_rows, _askable(setting, prompts, llm)), parts)
    rows = users.take(pa.array(place))
    taken = [np.asarray(items, np.int32) for items in rows["items"].to_pylist()]
    columns: dict[str, Any] = {"place": place}
    if setting.ranking:
        ranked = place < _rankable(prompts, llm)
        columns |= ranks(llm, prompts, setting.ranking, taken, ranked)
        targets = np.array([items[-1] for items in taken], np.int64)
        columns["tail"] = pc.equal(setting.items["slice"], TAIL).to_numpy()[targets]
    if "yes_no" in setting.tasks or "preference" in setting.tasks:
        random, popular = _not_taken(taken, rows["user"].to_pylist(), setting)
        if "yes_no" in setting.tasks:
            columns |= yes_no(llm, prompts, taken, random, popular)
            if setting.rendering == "title":
                asked = np.flatnonzero((place < INJECTED) & (random != NO_ITEM))
                titles = item_texts(setting.items, setting.rendering)
                columns |= injected(llm, prompts, titles, taken, random, asked)
        if "preference" in setting.tasks:
            columns |= preference(llm, prompts, taken, random)
    return pa.table(columns)


def _askable(setting: Setting, prompts: Prompts, llm: "Likelihood") -> int:
    """How many users are asked about: fewer for a large LLM on a CPU, where all of them would take hours."""
    if llm.device.type != "cpu":
        return MOST_USERS
    tokens = (setting.section.history + 2) * len(prompts.items.tokens) / max(1, len(prompts.items))
    each = sum(PROMPTS[task] for task in setting.tasks) * tokens * llm.parameters
    return min(MOST_USERS, max(1, int(ASKING_WORK / each)))


def _rankable(prompts: Prompts, llm: "Likelihood") -> int:
    """For how many users the catalogue is ranked."""
    if one_token(prompts):
        return MOST_USERS
    tokens = RANKING_TOKENS
    if llm.device.type == "cpu":
        tokens = min(tokens, RANKING_WORK // llm.parameters)
    return tokens // len(prompts.items.tokens)


def _not_taken(taken: list[np.ndarray], users: list[int], setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """For each user, one item drawn uniformly and one drawn by popularity; NO_ITEM if none was found.

    Neither is in the training history or is the validation item: comparing an item with itself would measure nothing.
    """
    counts = setting.items["train_count"].to_numpy().astype(np.float64)
    kinds = [np.arange(1.0, len(counts) + 1), np.cumsum(counts)]
    drawn = np.full((len(taken), 2), NO_ITEM, np.int64)
    for row, (user, items) in enumerate(zip(users, taken, strict=True)):
        rng = np.random.default_rng((setting.seed, user))
        for column, sums in enumerate(kinds):
            found = np.searchsorted(sums, rng.random(DRAWS) * sums[-1], side="right")
            # If no item has an interaction, the search runs past the end.
            free = found[(found < len(sums)) & ~np.isin(found, items)]
            if len(free):
                drawn[row, column] = free[0]
    return drawn[:, 0], drawn[:, 1]


def _figures(n_items: int, seed: int, ranking: str, *found: pa.Table) -> dict[str, Any]:
    return figures(pa.concat_tables(found).sort_by("place"), n_items, seed, ranking)
