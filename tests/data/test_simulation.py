"""The simulated store: equal for equal seeds, of any size, with a truth and a long tail worth augmenting."""

import numpy as np
import pandas as pd
import pytest

from longtail.data.simulated_items import catalogue, make_store
from longtail.data.simulation import BLOCK_USERS, liked, simulate_histories, user_tastes
from longtail.errors import InputError
from longtail.recipe import Simulation

SEED = 7


def interactions(simulation: Simulation, seed: int = SEED) -> pd.DataFrame:
    frame = simulate_histories(simulation, seed, 0).to_pandas()
    return frame.assign(user=frame.user_id.str[1:].astype(int), item=frame.item_id.str[1:].astype(int))


@pytest.fixture(scope="module")
def demo() -> pd.DataFrame:
    return interactions(Simulation())


def leave_one_out(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = frame.drop_duplicates(["user", "item"])
    place, length = frame.groupby("user").cumcount(), frame.groupby("user").user.transform("size")
    return frame[place < length - 2], frame[place == length - 1]


def test_equal_seeds_give_equal_stores_and_others_differ(demo: pd.DataFrame) -> None:
    make_store.cache_clear()
    pd.testing.assert_frame_equal(interactions(Simulation()), demo)
    assert not interactions(Simulation(), seed=8).item_id.equals(demo.item_id)
    assert catalogue(Simulation(), SEED).equals(catalogue(Simulation(), SEED))


def test_a_block_does_not_depend_on_how_many_blocks_follow() -> None:
    one = Simulation(users=BLOCK_USERS)
    assert simulate_histories(one, SEED, 0).equals(
        simulate_histories(Simulation(users=3 * BLOCK_USERS), SEED, 0)
    )


def test_the_tail_is_thin_and_is_asked_for(demo: pd.DataFrame) -> None:
    """What helps the tail must be able to show: many items of 1..5 training interactions, often a target."""
    train, test = leave_one_out(demo)
    counts = train.item.value_counts()
    assert 0.25 <= (counts <= 5).mean() <= 0.40
    asked = test.item.map(counts).fillna(0)
    assert ((asked > 0) & (asked <= 5)).mean() >= 0.08
    lengths = train.groupby("user").size()
    assert (lengths <= 5).mean() > 0.3 > (lengths >= 20).mean() > 0.03


def test_lengths_have_the_mean_of_the_recipe(demo: pd.DataFrame) -> None:
    assert demo.groupby("user").size().mean() == pytest.approx(12, rel=0.1)
    longer = interactions(Simulation(mean_history=20))
    assert longer.groupby("user").size().mean() == pytest.approx(20, rel=0.1)


def test_nobody_meets_an_item_before_it_arrives_or_a_new_one(demo: pd.DataFrame) -> None:
    arrival = make_store(Simulation(), SEED).arrival
    assert (demo.timestamp + 1 >= arrival[demo.item]).all()
    assert np.isinf(arrival).sum() == 40 and not np.isinf(arrival[demo.item]).any()


def test_histories_are_in_order_of_time_within_a_year(demo: pd.DataFrame) -> None:
    assert (demo.groupby("user").timestamp.diff().dropna() >= 0).all()
    assert demo.timestamp.max() - demo.timestamp.min() <= 366 * 86_400


def test_users_take_what_they_truly_like_and_noise_spoils_it() -> None:
    def share_liked(noise: float) -> float:
        simulation = Simulation(noise=noise)
        frame = interactions(simulation)
        taste = make_store(simulation, SEED).taste
        return liked(user_tastes(simulation, SEED, frame.user.to_numpy()), taste[frame.item]).mean()

    assert share_liked(0.0) > share_liked(0.3) + 0.1 > 0.6


def test_a_user_likes_a_twelfth_of_the_catalogue_at_most_about() -> None:
    users = user_tastes(Simulation(), SEED, np.arange(500))
    per_user = liked(users[:, None], make_store(Simulation(), SEED).taste[None]).mean(axis=1)
    assert 0.05 <= per_user.mean() <= 0.12
    np.testing.assert_allclose(users.sum(axis=1), 1, rtol=1e-6)


def test_the_taste_of_a_user_is_known_without_the_others() -> None:
    whole = user_tastes(Simulation(), SEED, np.arange(100))
    np.testing.assert_array_equal(user_tastes(Simulation(), SEED, np.array([17, 3])), whole[[17, 3]])


def test_a_steeper_popularity_gathers_interactions_on_fewer_items() -> None:
    def head(zipf: float) -> float:
        counts = interactions(Simulation(zipf=zipf, noise=0.0)).item.value_counts()
        return counts.iloc[:80].sum() / counts.sum()

    assert head(0.0) < head(1.0) < head(2.0)


def test_titles_are_distinct_and_at_full_signal_each_word_is_of_one_taste() -> None:
    simulation = Simulation(items=3000, tastes=20, title_signal=1)
    table = catalogue(simulation, SEED).to_pandas()
    assert table.title.is_unique and table.item_id.is_unique
    assert table.title.str.split().str.len().eq(5).all()
    words = table.title.str.split().str[1:3].explode().to_frame("word")
    words["taste"] = make_store(simulation, SEED).main[words.index]
    assert words.groupby("word").taste.nunique().max() == 1


@pytest.mark.parametrize("signal", [0.0, 0.5, 1.0])
def test_no_column_of_the_catalogue_is_the_taste(signal: float) -> None:
    """The category once was the main taste, one to one: what a model read from it was the answer, not a hint."""
    simulation = Simulation(title_signal=signal)
    table, main = catalogue(simulation, SEED).to_pandas(), make_store(simulation, SEED).main
    columns = pd.DataFrame([dict(pairs) for pairs in table.attributes])
    assert list(columns) == ["category"]
    for name in columns:
        assert pd.Series(main).groupby(columns[name]).nunique().min() >= 4, name


def test_the_number_of_an_item_tells_nothing() -> None:
    """Neither its taste nor its popularity: ids and the order of the catalogue are published too."""
    simulation = Simulation(items=4000)
    store, number = make_store(simulation, SEED), np.arange(4000)
    counts = np.bincount(interactions(simulation).item, minlength=4000)
    for hidden in (store.main, counts, store.arrival < np.inf):
        assert abs(np.corrcoef(number, hidden)[0, 1]) < 0.06  # four standard errors
    neighbours_alike = (store.main[1:] == store.main[:-1]).mean()
    assert neighbours_alike == pytest.approx(1 / 16, abs=0.016)


def test_interactions_do_not_depend_on_what_titles_tell(demo: pd.DataFrame) -> None:
    """So runs with different signals differ by what an LLM can read, and by nothing else."""
    pd.testing.assert_frame_equal(interactions(Simulation(title_signal=0)), demo)
    pd.testing.assert_frame_equal(interactions(Simulation(title_signal=1)), demo)


def test_more_tastes_than_items_is_refused() -> None:
    with pytest.raises(InputError, match="items"):
        make_store(Simulation(items=10, tastes=16), SEED)
