"""Work on Ray Train's workers: bad input is told at once. That lost workers start again is seen in tests/stack/."""

from pathlib import Path

import pytest

from app.errors import InputError
from app.workers import on_workers


def _complain(folder: Path) -> None:
    import ray.train

    (folder / f"{ray.train.get_context().get_world_rank()}").open("a").write("started\n")
    raise InputError("lr = 1e9: the loss is not finite; lower it")


def test_bad_input_ends_the_work_of_all_and_is_not_tried_again(ray_here: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^lr = 1e9: the loss is not finite; lower it$"):
        on_workers(_complain, tmp_path, n_workers=2, use_gpu=False)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "0": "started\n",
        "1": "started\n",
    }
