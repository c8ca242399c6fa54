"""Progress: speed, cost and time left are those of the pipeline, and a run stops if its answers are useless."""

import logging

import pyarrow.fs as pafs
import pytest

from longtail.augment.monitor import ENOUGH, Progress, Written
from longtail.augment.strategies.next_item import NextItemSection
from longtail.errors import InputError
from longtail.progress import FIGURES
from longtail.recipe import Price, Prices
from longtail.workspace.place import Place

LEDGER = Place(pafs.LocalFileSystem(), "/kept/here")
PRICES = Prices(currency="EUR", models={"small": Price(prompt=1.0, output=2.0, hour=3.6)})


def progress(useless: float = 0.5, total: int = 10_000) -> Progress:
    return Progress(NextItemSection(useless=useless), PRICES, "small", total)


def test_too_many_useless_answers_stop_the_run_and_say_where_they_are():
    one = progress()
    one.add(Written(requests=ENOUGH - 1, useless=ENOUGH - 1), LEDGER)
    with pytest.raises(InputError) as error:
        one.add(Written(requests=1, useless=1), LEDGER)
    for part in ("augment.next_item", f"{ENOUGH} of {ENOUGH}", "0.5", "useless", "/kept/here", "kept"):
        assert part in str(error.value)


@pytest.mark.parametrize(("useless", "share"), [(ENOUGH // 2, 0.5), (ENOUGH, 1.0)])
def test_as_many_as_are_allowed_do_not_stop_it(useless, share):
    one = progress(share)
    one.add(Written(requests=ENOUGH, useless=useless), LEDGER)
    assert one.done.useless == useless


def test_one_bad_file_among_many_good_ones_does_not_stop_it():
    one = progress()
    for _ in range(3):
        one.add(Written(requests=ENOUGH), LEDGER)
    one.add(Written(requests=ENOUGH, useless=ENOUGH), LEDGER)
    assert one.done.requests == 4 * ENOUGH


def test_figures_are_measured_from_the_first_answers_on(monkeypatch, caplog):
    """Ten minutes of start-up must not count in the estimate of the time left."""
    now = [0.0]
    monkeypatch.setattr("longtail.augment.monitor.time.monotonic", lambda: now[0])
    one = progress(total=10_000)
    file = Written(
        requests=1000, prompt_tokens=20_000, output_tokens=1000, judge_tokens=9000, seconds=100, proposals=64_000,
        usable=16_000,
    )  # fmt: skip
    with caplog.at_level(logging.INFO, logger="longtail"):
        for passed in (600.0, 620.0):
            now[0] = passed
            one.add(file, LEDGER)
    first, second = caplog.records
    assert "after 600 s" in first.getMessage()
    figures = getattr(second, FIGURES)
    assert figures["done"] == 2000 and figures["total"] == 10_000 and figures["unit"] == "requests"
    assert figures["per_second"] == pytest.approx(50)
    assert figures["tokens_per_second"] == pytest.approx(1500)
    assert figures["usable_share"] == pytest.approx(0.25)
    assert figures["seconds_left"] == pytest.approx(160)
    assert figures["cost"] == pytest.approx(0.058 + 0.004 + 0.2)
    for part in ("(20%)", "50/s", "EUR", "2 min 40 s left"):
        assert part in second.getMessage()


def test_files_that_come_together_say_no_speed(monkeypatch, caplog):
    """The first answers of an engine may arrive as several files within a millisecond."""
    now = [0.0]
    monkeypatch.setattr("longtail.augment.monitor.time.monotonic", lambda: now[0])
    one = progress()
    with caplog.at_level(logging.INFO, logger="longtail"):
        for passed in (100.0, 100.001, 100.9):
            now[0] = passed
            one.add(Written(requests=100), LEDGER)
    assert len(caplog.records) == 1


def test_a_price_is_of_tokens_and_of_time():
    price = Price(prompt=2.0, output=8.0, hour=36.0)
    assert price.spent(1_000_000, 500_000, 100.0) == pytest.approx(2 + 4 + 1)
