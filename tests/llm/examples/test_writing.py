"""Example files: the same from the same data whatever the scheduling, every count adds up, nothing held out in train."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from longtail.data import Prepared
from longtail.errors import InputError
from longtail.llm.examples import writing as module
from longtail.llm.examples.writing import VALIDATED, write_examples
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Discriminator, Generator, Tuning
from longtail.schema import HISTORIES, ITEMS
from longtail.workspace import Workspace
from longtail.workspace.place import Place

pytestmark = pytest.mark.usefixtures("ray_here")

N_ITEMS = 90
FULL = {"next_item": 1.0, "yes_no": 0.5, "id_list": 1.0, "preference": 2.0, "ranking": 1.0}


def histories(users: int = 60) -> list[list[int]]:
    """Leave-one-out; user 0 has nothing, users 1 and 2 too little to hold out. Items 80 and more are held out only."""
    rng = np.random.default_rng(4)
    rows = [[], [3], [5, 6]]
    for _ in range(users - len(rows)):
        train = rng.permutation(80)[: rng.integers(1, 14)].tolist()
        rows.append([*train, *rng.choice(np.arange(80, N_ITEMS), 2, replace=False).tolist()])
    return rows


def prepared(ws: Workspace, rows: list[list[int]], files: int) -> Prepared:
    """The same histories in so many files, which are as many blocks."""
    train_end = [len(items) - 2 if len(items) >= 3 else len(items) for items in rows]
    counts = np.bincount(
        [item for items, end in zip(rows, train_end, strict=True) for item in items[:end]], minlength=N_ITEMS
    )
    table = pa.table(
        {
            "user": range(len(rows)),
            "user_id": [f"u{user}" for user in range(len(rows))],
            "items": rows,
            "timestamps": [list(range(len(items))) for items in rows],
            "train_end": train_end,
            "valid_end": [end + (len(items) >= 3) for end, items in zip(train_end, rows, strict=True)],
            "slice": ["sparse"] * len(rows),
        },
        schema=HISTORIES,
    )
    items = pa.table(
        {
            "item": range(N_ITEMS),
            "item_id": [f"i{item}" for item in range(N_ITEMS)],
            "title": [f"Tent {item}" for item in range(N_ITEMS)],
            "attributes": [[] for _ in range(N_ITEMS)],
            "train_count": counts,
            "slice": ["tail" if count < 4 else "mid" for count in counts],
        },
        schema=ITEMS,
    )
    stage = ws.stage("data", {"files": files})
    stage.counts = {"users": len(rows), "items": N_ITEMS}
    with stage.publishing() as draft:
        (draft / "items.parquet").write_table(items)
        for number in range(files):
            # Neither blocks nor rows lie in the order of the users.
            part = table.take(np.arange(len(rows))[number::files][::-1])
            (draft / "histories" / f"{number}.parquet").write_table(part)
    return Prepared(ws)


def generator(ws: Workspace, items: pa.Table, rendering: str = "token") -> Place:
    """An untrained one, with its tokenizer."""
    tokenizer = build_tokenizer(items, rendering)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    folder = ws / "llm/generator"
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder.path)
    tokenizer.save_pretrained(folder.path)
    return folder


def write(
    at, section: Tuning, files: int, rows: list[list[int]] | None = None, rendering: str = "token"
) -> tuple[Place, dict[str, int]]:
    ws = Workspace(str(at))
    data = prepared(ws, histories() if rows is None else rows, files)
    base = generator(ws, data.items, rendering)
    hard = base if "hard" in section.negatives else None
    return ws / "examples", write_examples(data, section, rendering, 7, base, ws / "examples", hard)


def tables(target: Place) -> dict[str, bytes]:
    return {file.path.removeprefix(target.path): file.read_bytes() for file in target.files()}


def test_files_are_byte_equal_however_the_histories_are_cut_into_blocks(tmp_path, monkeypatch):
    """All tasks at once, with hard negatives and hints; and what lay there before is gone."""
    monkeypatch.setattr(module, "PER_FILE", 400)
    section = Discriminator(
        tasks=FULL, negatives=["random", "popular", "hard"], splits=3, candidates=6, context=200
    )
    (tmp_path / "b/examples/train").mkdir(parents=True)
    (tmp_path / "b/examples/train/99999.parquet").write_text("left by a run that was cut off")
    (one, counts), (other, same) = write(tmp_path / "a", section, 1), write(tmp_path / "b", section, 7)
    assert counts == same and tables(one) == tables(other)
    files = [name for name in tables(one) if "/train/" in name]
    assert len(files) > 3 and "/validation/00000.parquet" in tables(one)

    train = (one / "train").read_table()
    assert train.schema.names == ["user", "task", "tokens", "weights"]
    assert train.num_rows == counts["examples"] == sum(counts[task] for task in FULL)
    assert Counter(train["task"].to_pylist()) == {task: counts[task] for task in FULL}
    assert counts["tokens"] == sum(map(len, train["tokens"].to_pylist()))
    assert [len(row) for row in train["tokens"].to_pylist()] == [
        len(row) for row in train["weights"].to_pylist()
    ]
    # Every file is a sample of all: users and tasks are mixed in each.
    for file in (one / "train").files():
        assert set(file.read_table()["task"].to_pylist()) == set(FULL)


def test_train_has_no_held_out_item_and_validation_has_each_users_own(tmp_path):
    """Items of 80 and more are held out of every history, so train may not know them."""
    target, counts = write(tmp_path, Generator(tasks={"next_item": 1.0, "id_list": 1.0}, splits=2), 2)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained((Workspace(str(tmp_path)) / "llm/generator").path)
    held_out = set(tokenizer.convert_tokens_to_ids([f"<item_{item}>" for item in range(80, N_ITEMS)]))
    train, validation = ((target / part).read_table() for part in ("train", "validation"))
    assert not any(held_out & set(tokens) for tokens in train["tokens"].to_pylist())
    rows = histories()
    asked = [user for user, items in enumerate(rows) if len(items) >= 3]
    assert counts["validation"] == validation.num_rows == 2 * len(asked)
    assert sorted(validation["user"].to_pylist()) == sorted(asked * 2)
    for user, tokens, weights in zip(
        *(validation[name].to_pylist() for name in ("user", "tokens", "weights")), strict=True
    ):
        (answer,) = [token for token, weight in zip(tokens, weights, strict=True) if weight]
        assert answer == tokenizer.convert_tokens_to_ids(f"<item_{rows[user][-2]}>") == tokens[-1]
        assert len(held_out & set(tokens)) == 1


def test_at_most_so_many_users_are_validated(tmp_path, monkeypatch):
    assert VALIDATED == 2_000
    monkeypatch.setattr(module, "VALIDATED", 9)
    (one, counts), (other, _) = (
        write(tmp_path / name, Generator(), files) for name, files in (("a", 1), ("b", 5))
    )
    users = (one / "validation").read_table()["user"].to_pylist()
    assert counts["validation"] == len(set(users)) == 9 and users != sorted(users)
    assert (other / "validation").read_table()["user"].to_pylist() == users


def test_a_share_of_the_examples_is_part_of_a_larger_share(tmp_path):
    """Drawn with no regard to the task and to the number of files; validation stays whole."""

    def taught(share: float, files: int = 1) -> tuple[Counter, Place, dict[str, int]]:
        section = Discriminator(tasks={"yes_no": 1.0, "next_item": 1.0}, share=share)
        target, counts = write(tmp_path / f"{share}-{files}", section, files)
        train = (target / "train").read_table()
        assert counts["examples"] == train.num_rows
        rows = zip(train["task"].to_pylist(), map(str, train["tokens"].to_pylist()), strict=True)
        return Counter(rows), target, counts

    whole, all_of_it, full = taught(1.0)
    some, few = taught(0.4)[0], taught(0.1)[0]
    assert few <= some <= whole
    for task in ("yes_no", "next_item"):
        kept = [sum(n for (own, _), n in found.items() if own == task) for found in (few, some, whole)]
        # Of so many examples: 99.99 % of all draws lie within four standard deviations.
        for part, share in zip(kept, (0.1, 0.4), strict=False):
            assert abs(part - share * kept[2]) < 4 * (share * (1 - share) * kept[2]) ** 0.5
    apart, target, counts = taught(0.4, files=5)
    assert apart == some and counts["validation"] == full["validation"]
    assert (target / "validation").read_table().equals((all_of_it / "validation").read_table())


def test_a_share_without_any_example_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"generator.share = 1e-09: no example of next_item"):
        write(tmp_path, Generator(share=1e-9), 1)


def test_what_the_context_cut_or_left_out_is_counted(tmp_path):
    rows = [[item % 80 for item in range(start, start + 30)] for start in range(5)]
    section = Generator(context=60, history=20, tasks={"next_item": 1.0})
    target, counts = write(tmp_path, section, 1, rows, rendering="title")
    assert 0 < counts["cut"] <= counts["examples"] and counts["left_out"] == 0
    lengths = [len(tokens) for tokens in (target / "train").read_table()["tokens"].to_pylist()]
    assert max(lengths) <= 60


def test_histories_too_short_for_a_task_are_an_input_error(tmp_path):
    with pytest.raises(
        InputError, match="generator, task next_item: no user has two training .* Loosen dataset"
    ):
        write(tmp_path / "a", Generator(), 1, [[1], [2], []])
    with pytest.raises(InputError, match="discriminator, task id_list: no user has three training"):
        write(tmp_path / "b", Discriminator(tasks={"id_list": 1.0}), 1, [[1, 2], [2, 1], []])


def test_a_context_in_which_no_answer_fits_is_an_input_error(tmp_path):
    section = Discriminator(tasks={"ranking": 1.0}, context=62, candidates=80)
    with pytest.raises(InputError, match="discriminator.context = 62: no example of ranking fits"):
        write(tmp_path, section, 1)
