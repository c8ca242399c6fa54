"""The hash of an LLM's content: it depends on each byte of the weights and the tokenizer, and on no other file."""

from pathlib import Path

import pyarrow.fs as pafs
import pytest

from longtail.augment.llm_content import content
from longtail.workspace.place import CHUNK, Place

FILES = {
    "model.safetensors": b"weights",
    "config.json": b"{}",
    "tokenizer.json": b"[]",
    "README.md": b"card",
    "_manifest.json": b"{}",
}


@pytest.fixture
def model(tmp_path: Path) -> Place:
    for name, data in FILES.items():
        (tmp_path / "model" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes(data)
    return Place(pafs.LocalFileSystem(), str(tmp_path / "model"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_every_byte_counts(model, name):
    before = content(model)
    (model / name).write_bytes(FILES[name] + b" ")
    assert content(model) != before
    (model / name).write_bytes(FILES[name])
    assert content(model) == before


def test_cards_and_manifests_do_not_count(model):
    before = content(model)
    (model / "README.md").write_bytes(b"another day")
    (model / "_manifest.json").write_bytes(b'{"seconds": 3}')
    assert content(model) == before


def test_a_byte_that_moves_between_files_counts(model):
    before = content(model)
    (model / "model.safetensors").delete()
    (model / "model-1.safetensors").write_bytes(b"weights")
    assert content(model) != before, "the same bytes under another name"


def test_large_files_are_read_to_their_end(model):
    (model / "model.safetensors").write_bytes(bytes(CHUNK) + b"a")
    first = content(model)
    (model / "model.safetensors").write_bytes(bytes(CHUNK) + b"b")
    assert content(model) != first
