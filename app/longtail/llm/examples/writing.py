"""Tuning examples from histories, built and shuffled by Ray Data: `write_examples`.

Every example has a random key that depends only on the seed, its user, its task and its number. The key decides the file
of an example and its place in it. So files do not depend on scheduling, and each is a random sample of all examples.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from longtail.arrays import lists_of, offsets_of
from longtail.data import Prepared
from longtail.errors import InputError
from longtail.llm.examples.tasks import History, Tasks
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.example import Example
from longtail.llm.prompts.hints import Hints, build_hints
from longtail.recipe import Discriminator, Generator, Task, Tuning
from longtail.runtime.cluster import fetch
from longtail.workspace.place import Place

PER_FILE = 16_384
"""Examples per file, about: a worker holds one file in memory."""
VALIDATED = 2_000
"""Most users with validation examples."""
PARTITIONS = 64
"""Most partitions of the shuffle; each holds some files."""
LOTS = 2**63
"""Lots are the whole numbers below this."""
TRAIN, VALIDATION = "train", "validation"

ROWS = pa.schema(
    [
        ("file", pa.string()),
        ("key", pa.int64()),
        ("user", pa.int32()),
        ("task", pa.string()),
        ("tokens", pa.list_(pa.int32())),
        ("weights", pa.list_(pa.float32())),
        ("cut", pa.bool_()),
    ]
)
"""An example before it is written to its file. An example without tokens is counted as left out and not written."""


def write_examples(
    prepared: Prepared,
    section: Tuning,
    rendering: str,
    seed: int,
    base: Place,
    target: Place,
    generator: Place | None = None,
) -> dict[str, int]:
    """Write `train/*.parquet` and `validation/*.parquet` into `target`; files from before are deleted.

    Columns: user int32, task string, tokens list<int32>, weights list<float32>. A file without examples is not written.
    base: the folder with the tokenizer. generator: the tuned one, needed if negatives are `hard`. Returns the counts of
    `train`: examples, tokens, cut (the history did not fit), left_out (the answer did not fit), examples per task; and
    `validation`, the count of validation examples. Raises InputError if a task has no example.
    """
    import ray

    prompts = Prompts.open(base, prepared.items, rendering, section.history, section.context)
    prompts.check(section.tasks)
    plan = ray.get(ray.remote(num_cpus=1)(_plan).remote(prepared.place, section, seed, VALIDATED, PER_FILE))
    for task in section.tasks:
        if not plan.expected[task]:
            raise InputError(
                f"{_role(section)}, task {task}: no user has {'three' if task == 'id_list' else 'two'} training"
                " interactions, so there is no example to tune on. Loosen dataset's filters."
            )
    for part in (TRAIN, VALIDATION):
        (target / part).delete()
        (target / part).make_folder()
    hints = None
    if "ranking" in section.tasks:
        hints = ray.remote(num_cpus=1)(build_hints).remote(prepared.place, seed=seed, tuning=section)
    histories = prepared.histories()
    if "hard" in section.negatives and section.tasks.keys() & {"yes_no", "preference"}:
        histories = _with_misses(histories, prompts, section, seed, generator)
    rows = histories.map_batches(
        _rows,
        batch_format="pyarrow",
        batch_size=256,
        fn_kwargs={
            "tasks": ray.put(Tasks(prompts, section, prepared.items, seed)),
            "hints": hints,
            "plan": plan,
        },
    )
    written = rows.groupby("file", num_partitions=min(plan.files, PARTITIONS)).map_groups(
        _write, batch_format="pyarrow", fn_kwargs={"target": target}
    )
    return _counts(section, written.iter_rows())


@dataclass(frozen=True)
class _Plan:
    """expected: about how many train examples each task has; files: how many files they go to. asked: users whose lot is
    at most this have validation examples. taught: train examples whose lot is below this are kept.
    """

    seed: int
    expected: dict[Task, int]
    files: int
    asked: int
    taught: float


def _plan(data: Place, section: Tuning, seed: int, validated: int, per_file: int) -> _Plan:
    """The plan, from one pass over the lengths of the histories in `data`."""
    expected: Counter[Task] = Counter()
    lowest = np.empty(0, np.int64)
    files = [file.path for file in (data / "histories").files(".parquet")]
    histories = pads.dataset(files, filesystem=data.fs)
    negatives = section.negatives_per_positive * len(section.negatives)
    for batch in histories.to_batches(columns=["user", "train_end", "valid_end"]):
        users, ends, valid = (batch[name].to_numpy() for name in ("user", "train_end", "valid_end"))
        targets = np.maximum(ends.astype(np.int64) - 1, 0)
        moved = np.maximum(targets - section.history, 0)
        expected["next_item"] += int(((targets > 0) + -(-moved // max(1, section.history // 2))).sum())
        expected["yes_no"] += int(targets.sum()) * (1 + negatives)
        expected["preference"] += int(targets.sum()) * negatives
        expected["id_list"] += int((ends >= 3).sum()) * section.splits
        expected["ranking"] += int((targets > 0).sum())
        lots = [_lot(seed, user) for user in users[(valid > ends) & (ends > 0)]]
        lowest = np.sort(np.concatenate([lowest, np.asarray(lots, np.int64)]))[:validated]
    asked = int(lowest[-1]) if len(lowest) else -1
    wanted = {task: expected[task] for task in section.tasks}
    files_of_train = math.ceil(section.share * sum(wanted.values()) / per_file)
    return _Plan(seed, wanted, files_of_train, asked, section.share * LOTS)


def _lot(*parts: int | str) -> int:
    """A number below LOTS, the same for equal parts on every machine."""
    text = " ".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1


def _with_misses(
    histories: Any, prompts: Prompts, section: Tuning, seed: int, generator: Place | None
) -> Any:
    """The histories with a column `hard`; at most one actor per GPU, or two on CPUs."""
    import ray

    from longtail.llm.examples.hard_negatives import Misses

    if generator is None:
        raise ValueError("hard negatives need the tuned generator")
    gpus = int(ray.cluster_resources().get("GPU", 0))
    return histories.map_batches(
        Misses,
        fn_constructor_args=(generator, ray.put(prompts), section.negatives_per_positive, seed),
        batch_format="pyarrow",
        batch_size=64,
        concurrency=(1, gpus or 2),
        **({"num_gpus": 1} if gpus else {"num_cpus": 1}),
    )


def _rows(batch: pa.Table, *, tasks: Any, hints: Any, plan: _Plan) -> pa.Table:
    """Rows of histories to rows of ROWS. tasks and hints are Ray references."""
    writer: Tasks = fetch(tasks)
    known: Hints | None = None if hints is None else fetch(hints)
    made: list[tuple[str, int, int, Task, Example]] = []
    for row in batch.drop_columns(["user_id", "timestamps", "slice"]).to_pylist():
        user, items, end = row["user"], np.asarray(row["items"], np.int32), row["train_end"]
        hard = row.get("hard")
        if hard is not None:
            hard = np.asarray(hard, np.int32).reshape(end, writer.section.negatives_per_positive)
        history = History(user, items[:end], hard)
        asked = 0 < end < row["valid_end"] and _lot(plan.seed, user) <= plan.asked
        for task in writer.section.tasks:
            for number, example in enumerate(writer.train(task, history, known)):
                key = _lot(plan.seed, user, task, number)
                if key < plan.taught:
                    made.append((f"{TRAIN}/{key % plan.files:05d}", key, user, task, example))
            if asked:
                for number, example in enumerate(writer.validation(task, history, int(items[end]), known)):
                    key = _lot(plan.seed, user, task, number, VALIDATION)
                    made.append((f"{VALIDATION}/00000", key, user, task, example))
    return _table(made)


def _table(made: list[tuple[str, int, int, Task, Example]]) -> pa.Table:
    files, keys, users, names, examples = zip(*made, strict=True) if made else ((),) * 5
    offsets = offsets_of([len(example.tokens) for example in examples])
    tokens, weights = (
        lists_of(offsets, np.concatenate([np.empty(0, dtype), *arrays], dtype=dtype))
        for dtype, arrays in (
            (np.int32, [example.tokens for example in examples]),
            (np.float32, [example.weights for example in examples]),
        )
    )
    cut = [example.cut for example in examples]
    return pa.table([files, keys, users, names, tokens, weights, cut], schema=ROWS)


def _write(rows: pa.Table, target: Place) -> pa.Table:
    """Write all ROWS of one file to that file; return a row of counts for each task."""
    rows = rows.combine_chunks().sort_by([("key", "ascending"), ("user", "ascending")])
    lengths = pa.compute.list_value_length(rows["tokens"])
    held = rows.filter(pa.compute.greater(lengths, 0))
    file = rows["file"][0].as_py()
    if held.num_rows:
        (target / f"{file}.parquet").write_table(held.select(["user", "task", "tokens", "weights"]))
    counted = rows.select(["task", "cut"]).append_column("length", lengths)
    return pa.Table.from_pylist(
        [
            {
                "part": file.split("/")[0],
                "task": task,
                "examples": int((of_task["length"].to_numpy() > 0).sum()),
                "tokens": int(of_task["length"].to_numpy().sum()),
                "cut": int((of_task["cut"].to_numpy() & (of_task["length"].to_numpy() > 0)).sum()),
                "left_out": int((of_task["length"].to_numpy() == 0).sum()),
            }
            for task in rows["task"].unique().to_pylist()
            for of_task in [counted.filter(pa.compute.equal(counted["task"], task))]
        ]
    )


def _counts(section: Tuning, rows: Iterator[dict[str, Any]]) -> dict[str, int]:
    """The sum of the counts of all files. Raises InputError if no example of a task fits in the context."""
    counts: Counter[str] = Counter(dict.fromkeys(("examples", "tokens", "validation", "cut", "left_out"), 0))
    for row in rows:
        if row["part"] == VALIDATION:
            counts["validation"] += row["examples"]
            continue
        counts.update({name: row[name] for name in ("examples", "tokens", "cut", "left_out")})
        counts[row["task"]] += row["examples"]
    for task in section.tasks:
        if not counts[task] and section.share < 1 and not counts["left_out"]:
            raise InputError(
                f"{_role(section)}.share = {section.share:g}: no example of {task} is in this share. Raise it."
            )
        if not counts[task]:
            raise InputError(
                f"{_role(section)}.context = {section.context}: no example of {task} fits in this many tokens (or in the"
                " context of llm.base). Raise it, or choose an llm.items that writes items with fewer tokens."
            )
    return dict(counts)


def _role(section: Tuning) -> str:
    return next(
        (kind.__name__.lower() for kind in (Generator, Discriminator) if isinstance(section, kind)), "tuning"
    )
