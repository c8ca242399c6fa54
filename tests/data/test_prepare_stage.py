"""The prepare stage as a whole: it publishes what plain Python finds, and nothing is lost uncounted."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ray.data import DataContext

from longtail.data import Prepared, prepare, read_histories
from longtail.data.simulated_items import make_store
from longtail.data.simulation import liked
from longtail.errors import InputError
from longtail.recipe import Dataset, Recipe, Simulation, load_recipe
from longtail.recommenders.training.reading import read_observed
from longtail.schema import HISTORIES, ITEMS
from longtail.workspace import Workspace, read_manifest

pytestmark = pytest.mark.usefixtures("ray_here")


def prepared(at: Path, **dataset: object) -> Prepared:
    ws = Workspace(str(at / "ws"))
    prepare(Recipe(name="test", dataset=Dataset(**dataset)), ws)
    return Prepared(ws)


def write_shop(at: Path, n: int = 400) -> pd.DataFrame:
    """Skewed random ratings with repeats, ties in time, two missing ids; p1 to p4 unlisted, p99 never met."""
    rng = np.random.default_rng(3)
    log = pd.DataFrame(
        {
            "user_id": rng.integers(0, 40, n).astype(str),
            "item_id": [f"p{item}" for item in np.minimum(rng.geometric(0.08, n), 40)],
            "timestamp": rng.integers(0, 60, n),
            "stars": rng.integers(1, 6, n),
        }
    )
    log.loc[[5, 17], ["item_id", "user_id"]] = [[None, "1"], ["p1", None]]
    log.to_csv(at / "interactions.csv", index=False)
    listed = [f"p{item}" for item in [*range(5, 41), 99]]
    pd.DataFrame({"item_id": listed, "title": "A title"}).to_csv(at / "items.csv", index=False)
    return log


def expected_histories(log: pd.DataFrame, min_rating: float, k: int) -> dict[str, list[tuple[int, str]]]:
    kept = log.dropna()[lambda frame: frame.stars >= min_rating].sort_values("timestamp", kind="stable")
    kept = kept.drop_duplicates(["user_id", "item_id"])
    while True:
        enough = kept.groupby("user_id").item_id.transform("size").ge(k)
        enough &= kept.groupby("item_id").user_id.transform("size").ge(k)
        if enough.all():
            break
        kept = kept[enough]
    return {
        user: list(zip(rows.timestamp, rows.item_id, strict=True)) for user, rows in kept.groupby("user_id")
    }


def actual_histories(data: Prepared) -> dict[str, list[tuple[int, str]]]:
    ids = data.items["item_id"].to_pylist()
    return {
        row["user_id"]: list(zip(row["timestamps"], [ids[item] for item in row["items"]], strict=True))
        for row in read_histories(data.place).to_pylist()
    }


def check_whole(data: Prepared) -> None:
    """What holds for every prepared data set."""
    histories, items, counts = read_histories(data.place), data.items, data.counts
    assert histories.schema == HISTORIES and items.schema == ITEMS
    assert histories["user"].to_pylist() == list(range(data.n_users))
    assert items["item"].to_pylist() == list(range(data.n_items))
    train, held_out = Counter(), Counter()
    for row in histories.to_pylist():
        assert len(set(row["items"])) == len(row["items"]) and 0 <= row["train_end"] <= row["valid_end"]
        assert row["timestamps"] == sorted(row["timestamps"])
        train.update(row["items"][: row["train_end"]])
        held_out.update(row["items"][row["train_end"] :])
    assert items["train_count"].to_pylist() == [train[item] for item in range(data.n_items)]
    assert counts["train"] == train.total()
    assert counts["held_out_only"] == {
        "users": histories["train_end"].to_pylist().count(0),
        "items": len(set(held_out) - set(train)),
    }
    assert counts["interactions"] == counts["train"] + counts["valid"] + counts["test"]
    assert counts["rows"] == counts["interactions"] + sum(counts["dropped"].values())
    assert Counter(items["slice"].to_pylist()) == Counter(counts["slices"]["items"])
    assert Counter(histories["slice"].to_pylist()) == Counter(counts["slices"]["users"])
    assert data.histories().count() == data.n_users


@pytest.mark.parametrize(("min_rating", "k"), [(1, 0), (2, 3)])
def test_leave_one_out_equals_plain_python(tmp_path: Path, min_rating: float, k: int) -> None:
    log = write_shop(tmp_path)
    data = prepared(
        tmp_path,
        source="csv",
        path=str(tmp_path),
        columns={"rating": "stars"},
        min_rating=min_rating,
        k_core=k,
    )
    check_whole(data)
    assert actual_histories(data) == expected_histories(log, min_rating, k)
    dropped = data.counts["dropped"]
    assert dropped["null_item_id"] == dropped["null_user_id"] == 1 and dropped["duplicate"] > 0
    assert (dropped["rating_below_min"] > 0) == (min_rating > 1) and (dropped["k_core"] > 0) == (k > 0)
    slices = dict(zip(data.items["item_id"].to_pylist(), data.items["slice"].to_pylist(), strict=True))
    assert slices["p99"] == "cold", "an item that nobody has met stays in the catalogue"
    titles = dict(zip(data.items["item_id"].to_pylist(), data.items["title"].to_pylist(), strict=True))
    assert titles["p1"] is None and titles["p6"] == "A title"


def test_small_blocks_change_nothing(tmp_path: Path) -> None:
    """A user must not be cut in two where Ray Data cuts tables into many blocks."""
    whole = prepared(tmp_path / "whole", simulation=Simulation(users=400))
    context = DataContext.get_current()
    usual, context.target_max_block_size = context.target_max_block_size, 20_000
    try:
        cut = prepared(tmp_path / "cut", simulation=Simulation(users=400))
    finally:
        context.target_max_block_size = usual
    assert cut.counts == whole.counts and actual_histories(cut) == actual_histories(whole)
    check_whole(cut)


def test_the_temporal_split_holds_back_the_last_shares_by_time(tmp_path: Path) -> None:
    write_shop(tmp_path)
    data = prepared(
        tmp_path, source="csv", path=str(tmp_path), split="temporal", valid_share=0.15, test_share=0.25
    )
    check_whole(data)
    times = np.sort(np.concatenate(read_histories(data.place)["timestamps"].to_numpy()))
    edges = data.counts["slices"]["edges"]
    for edge, share in ((edges["test_from"], 0.25), (edges["valid_from"], 0.4)):
        assert (times >= edge).mean() <= share < (times >= edge - 1).mean()
    assert data.counts["test"] == (times >= edges["test_from"]).sum()
    assert data.counts["valid"] == (times >= edges["valid_from"]).sum() - data.counts["test"]


def test_the_simulated_store_carries_its_truth_by_code(tmp_path: Path) -> None:
    simulation = Simulation(users=300, items=200)
    data = prepared(tmp_path, simulation=simulation)
    check_whole(data)
    users = (data.truth / "users").read_table().sort_by("user")
    items = (data.truth / "items.parquet").read_table()
    assert users["user"].to_pylist() == list(range(300)) and items["item"].to_pylist() == list(range(200))
    taste = np.stack(items["taste"].to_numpy())
    np.testing.assert_array_equal(taste, make_store(simulation, 7).taste)
    right = [
        liked(np.array(user), taste[history]).mean()
        for user, history in zip(
            users["taste"].to_pylist(), read_histories(data.place)["items"].to_pylist(), strict=True
        )
    ]
    assert np.mean(right) > 0.6, "users do not like what they took: the truth is joined wrongly"


def test_what_titles_tell_is_told_of_the_simulated_store_alone(tmp_path: Path) -> None:
    """And a new setting of the simulator prepares no real data again, for whose LLMs would be tuned again."""
    store = prepared(
        tmp_path / "store", simulation=Simulation(users=60, items=40, tastes=4, title_signal=0.25)
    )
    assert store.counts["title_signal"] == 0.25
    write_shop(tmp_path)
    shop = prepared(tmp_path, source="csv", path=str(tmp_path))
    assert "title_signal" not in shop.counts
    settings = read_manifest(shop.place)["settings"]
    assert "simulator" not in settings and "title_signal" not in settings["dataset"]["simulation"]
    assert set(settings["dataset"]["simulation"]) == set(Simulation.model_fields) - {"title_signal"}


def test_equal_recipes_publish_equal_data_and_a_changed_file_is_read_again(tmp_path: Path) -> None:
    write_shop(tmp_path)
    first = prepared(tmp_path, source="csv", path=str(tmp_path))
    published = (first.place / "_manifest.json").fs.get_file_info(f"{first.place}/_manifest.json").mtime_ns
    again = prepared(tmp_path, source="csv", path=str(tmp_path))
    assert (again.place / "_manifest.json").fs.get_file_info(
        f"{again.place}/_manifest.json"
    ).mtime_ns == published
    before = read_histories(first.place)
    other = Workspace(str(tmp_path / "other"))
    prepare(Recipe(name="test", dataset=Dataset(source="csv", path=str(tmp_path))), other)
    assert read_histories(Prepared(other).place).equals(before)
    with (tmp_path / "interactions.csv").open("a") as log:
        log.write("new,p6,99,5\n")
    assert prepared(tmp_path, source="csv", path=str(tmp_path)).n_users == first.n_users + 1


@pytest.mark.parametrize(
    ("rows", "dataset", "message"),
    [
        (["u,a,1", "u,b,x", "u,c,y"], {}, r"interactions.csv, row 2: timestamp = 'x' is not a number"),
        (["u,a,1", ",b,2", ",c,3"], {}, r"interactions.csv, row 2: no user_id, and so in 2 of 3 rows"),
        (["u,a,1", "u,,2"], {}, r"interactions.csv, row 2: no item_id.*dataset.columns.item"),
        (["u,a,", "u,b,2"], {}, r"row 1: no timestamp.*dataset.columns.time"),
        ([], {}, r"interactions.csv: the table is empty"),
        (["u,a,1", "u,b,2"], {"k_core": 2}, r"k_core = 2 leaves no interactions"),
        (
            ["u,a,1", "u,b,2"],
            {"min_rating": 3, "columns": {"rating": "timestamp"}},
            r"min_rating = 3.0 leaves no",
        ),
        (["u,a,1", "u,b,2"], {"split": "temporal", "test_share": 1.0}, r"the split leaves nothing to train"),
        (["u,a,1", "v,b,2"], {}, r"none of 2 users can be evaluated: no user has three different items"),
        (["u,a,1", "u,a,2", "u,a,3"], {}, r"have one item, so there is nothing to rank"),
        (["u,a,1", "u,b,1", "v,a,1"], {"split": "temporal"}, r"none of 2 users can.*test_share"),
        (
            ["u,a,1", "u,b,2", "v,a,8", "v,b,9"],
            {"split": "temporal", "test_share": 0.5},
            r"none of 1 users with test interactions has training interactions.*test_share",
        ),
        (
            ["NULL,a,1", "\\N,b,2"],
            {},
            r"row 1: user_id is one of dataset.null_words.*2 of 2 rows.*null_words",
        ),
        (
            ["u,a,1", "u,b,2020-01-01"],
            {},
            r"row 1: the time 1 is a number, but .*row 2 has the date 2020-01-01",
        ),
        (
            ["u,a,0.1000000001", "u,b,0.1000000002"],
            {},
            r"row 1 \(0.1000000001\) and .*row 2 \(0.1000000002\): two times of user 'u' differ by less",
        ),
        (
            ["u,a,0.5", "u,b,1577836800000"],
            {},
            r"row 2: the time 1577836800000 is too large for.*row 1.*time_unit",
        ),
        (
            ["u,a,1", "u,b,2"],
            {"split": "published", "repeats": "all"},
            r"repeats = all, but a published split",
        ),
        (
            ["u,a,1", "u,b,2"],
            {"split": "cold", "repeats": "weight"},
            r"repeats = weight, but a cold split",
        ),
    ],
)
def test_bad_input_is_one_error_and_publishes_nothing(
    tmp_path: Path, rows: list[str], dataset: dict[str, object], message: str
) -> None:
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, source="csv", path=str(tmp_path), **dataset)
    assert not [file for file in (tmp_path / "ws").rglob("*") if file.is_file()]


def test_nobody_to_evaluate_in_a_published_split(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("user_id,item_id\nu,a\nu,b\nv,a\n")
    for test, message in (
        ("x,a\ny,b\n", "none of 2 users with test interactions has training interactions"),
        ("u,a\nv,a\n", "none of 2 users can be evaluated: the test file has no pair"),
    ):
        (tmp_path / "test.csv").write_text(f"user_id,item_id\n{test}")
        with pytest.raises(InputError, match=message):
            prepared(tmp_path, source="csv", path=str(tmp_path), split="published")


def test_words_for_nothing_are_dropped_by_reason_unless_a_user_is_called_so(tmp_path: Path) -> None:
    rows = ["u,a,1", "u,b,2", "u,c,3", "None,a,1", "None,b,2", "None,c,3", "Null,a,1", "u,NULL,4"]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    usual = prepared(tmp_path / "usual", source="csv", path=str(tmp_path))
    assert usual.n_users == 2
    assert {reason: rows for reason, rows in usual.counts["dropped"].items() if rows} == {
        "null_word_user_id": 3,
        "null_word_item_id": 1,
    }
    check_whole(usual)
    kept = prepared(tmp_path / "kept", source="csv", path=str(tmp_path), null_words=["NULL"])
    assert kept.n_users == 3 and kept.counts["dropped"]["null_word_user_id"] == 0


def test_repeats_are_kept_and_counted_as_the_recipe_says(tmp_path: Path) -> None:
    rows = ["u,a,1", "u,b,2", "u,a,3", "u,c,4", "u,b,5", "u,d,6", "u,a,7"]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    found = {}
    for repeats in ("first", "last", "all", "weight"):
        data = prepared(tmp_path / repeats, source="csv", path=str(tmp_path), repeats=repeats)
        [history] = actual_histories(data).values()
        row = read_histories(data.place).to_pylist()[0]
        counts = data.counts
        folded = counts["repeats"] if repeats == "weight" else 0
        assert counts["rows"] == counts["interactions"] + folded + counts["dropped"]["duplicate"]
        weights = read_observed(data.place).weights.tolist()
        assert weights == ([2, 1] if repeats == "weight" else [1] * row["train_end"])
        found[repeats] = (
            "".join(item for _, item in history),
            row["train_end"],
            counts["repeats"],
            counts["dropped"]["duplicate"],
        )
    assert found == {
        "first": ("abcd", 2, 0, 3),
        "last": ("cbda", 2, 0, 3),
        "all": ("abacd", 3, 1, 2),
        "weight": ("abcd", 2, 1, 2),
    }


def test_movielens_100k_has_the_counts_of_the_papers(tmp_path: Path, real_data) -> None:
    """Llama4Rec's protocol (arXiv 2401.13870): ratings of 4 and 5, leave-one-out.

    Equal times keep the order of the file; the reverse gives 929 test users.
    """
    folder = real_data("ml-100k")
    data = prepared(tmp_path, source="movielens", path=str(folder), min_rating=4)
    check_whole(data)
    rows = read_histories(data.place).to_pylist()
    train_count = data.items["train_count"].to_numpy()
    assert (data.n_users, data.n_items, data.counts["train"]) == (942, 1682, 53_491)
    assert (train_count > 0).sum() == 1_427
    assert sum(train_count[item] > 0 for row in rows for item in row["items"][row["valid_end"] :]) == 927
    assert sum(row["train_end"] >= 2 for row in rows) == 940


def test_a_real_table_is_read_with_a_column_map(tmp_path: Path, real_data) -> None:
    columns = {"attributes": ["genres"]}
    data = prepared(tmp_path, source="parquet", path=str(real_data("ml-100k")), columns=columns)
    assert (data.n_users, data.n_items, data.counts["interactions"]) == (943, 1_682, 100_000)
    assert not sum(data.counts["dropped"].values()) and not data.items["title"].null_count


@pytest.mark.parametrize(
    ("name", "folder", "counts", "held_out"),
    [
        ("beauty", "amazon-beauty", (22_363, 12_101, 198_502), (22_363, 22_363)),
        ("sports", "amazon-sports", (35_598, 18_357, 296_337), (35_598, 35_598)),
        ("ml-1m-sequence", "ml-1m-5core-sequence", (6_040, 3_416, 999_611), (6_040, 6_040)),
        ("video", "sasrec-video", (31_013, 23_715, 287_107), (30_901, 30_901)),
        ("gowalla", "lightgcn-gowalla", (29_858, 40_981, 1_027_370), (0, 217_242)),
    ],
)
def test_the_shipped_recipes_find_what_was_published(
    tmp_path: Path, real_data, name: str, folder: str, counts: tuple[int, int, int], held_out: tuple[int, int]
) -> None:
    """SASRec (1808.09781) trains on users of fewer than 3 and tests none of them: 112 of Video."""
    recipe = load_recipe(name, [f"dataset.path={real_data(folder)}"])
    ws = Workspace(str(tmp_path / "ws"))
    prepare(recipe, ws)
    found = Prepared(ws)
    assert (found.n_users, found.n_items, found.counts["interactions"]) == counts
    assert (found.counts["valid"], found.counts["test"]) == held_out
    assert not sum(found.counts["dropped"].values()) and not found.counts["held_out_only"]["users"]
    assert found.items["title"].null_count == (0 if name in ("beauty", "sports") else found.n_items)


def test_a_published_split_is_kept_and_what_it_lacks_is_counted(tmp_path: Path) -> None:
    """u's pair with a is in both files and counts as train; v never trains; c is met in test alone, d by nobody."""
    (tmp_path / "train.csv").write_text("user_id,item_id\nu,b\nu,a\nu,a\nw,b\nw,a\n")
    (tmp_path / "test.csv").write_text("user_id,item_id\nu,a\nu,c\nv,a\nu,c\n")
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nd,D\n")
    data = prepared(tmp_path, source="csv", path=str(tmp_path), split="published", valid_share=0)
    check_whole(data)
    ids = data.items["item_id"].to_pylist()
    parts = {
        row["user_id"]: [
            [ids[item] for item in part.astype(int)]
            for part in np.split(row["items"], [row["train_end"], row["valid_end"]])
        ]
        for row in read_histories(data.place).to_pylist()
    }
    assert parts == {"u": [["b", "a"], [], ["c"]], "v": [[], [], ["a"]], "w": [["b", "a"], [], []]}
    counts = data.counts
    assert counts["dropped"]["duplicate"] == 3 and counts["changed"]["item_unlisted"] == 2
    assert counts["held_out_only"] == {"users": 1, "items": 1}


def test_the_validation_of_a_published_split_is_drawn_anew_with_another_seed(tmp_path: Path) -> None:
    pairs = [f"u{user},i{item}" for user in range(30) for item in range(10)]
    (tmp_path / "train.csv").write_text("\n".join(["user_id,item_id", *pairs]) + "\n")
    (tmp_path / "test.csv").write_text("user_id,item_id\nu1,i99\n")
    dataset = Dataset(source="csv", path=str(tmp_path), split="published", valid_share=0.2)
    held_out = []
    for number, seed in enumerate((1, 1, 2)):
        ws = Workspace(str(tmp_path / f"ws{number}"))
        prepare(Recipe(name="test", seed=seed, dataset=dataset), ws)
        check_whole(Prepared(ws))
        assert Prepared(ws).counts["valid"] == 60
        held_out.append(
            [
                row["items"][row["train_end"] : row["valid_end"]]
                for row in read_histories(ws / "data").to_pylist()
            ]
        )
    assert held_out[0] == held_out[1] != held_out[2]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_without_rows_is_refused(tmp_path: Path, kind: str) -> None:
    empty = pd.DataFrame({"user_id": [], "item_id": [], "timestamp": []}, dtype="string")
    write = empty.to_csv if kind == "csv" else empty.to_parquet
    write(tmp_path / f"interactions.{kind}", index=False)
    with pytest.raises(InputError, match=rf"interactions.{kind}: the table is empty"):
        prepared(tmp_path, source=kind, path=str(tmp_path))


def test_bad_input_in_a_task_of_ray_is_one_message(tmp_path: Path) -> None:
    """Past the first rows, which are read before Ray starts: an open quote, and a page of a Parquet file that is broken."""
    rows = "".join(f"u{n},i{n % 7},{n}\n" for n in range(20_000))
    (tmp_path / "interactions.csv").write_text(f'user_id,item_id,timestamp\n{rows}u1,"i1,5\n{rows}')
    with pytest.raises(
        InputError, match=r"interactions.csv, line 20002: a quote opens the value \"i1,5, which"
    ):
        prepared(tmp_path, source="csv", path=str(tmp_path))
    table = pd.DataFrame({"user_id": range(20_000), "item_id": range(20_000), "timestamp": range(20_000)})
    table.to_parquet(tmp_path / "interactions.parquet")
    content = bytearray((tmp_path / "interactions.parquet").read_bytes())
    content[200:9000] = bytes(8800)
    (tmp_path / "interactions.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"interactions.parquet cannot be read as parquet"):
        prepared(tmp_path, source="parquet", path=str(tmp_path))
