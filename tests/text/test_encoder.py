"""Real pretrained models: what is alike lies near, and a batch changes nothing."""

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.text.encoder import Encoder
from longtail.text.pretrained import PACKAGED, Source, find

TEXTS = [
    "red lipstick",
    "",
    "a garden hose of 20 metres",
    "crimson lip gloss",
    "  ",
    "hose for watering the garden",
]


@pytest.fixture(scope="module", params=list(PACKAGED))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return Encoder(find(request.param, "text.encoders"), "text.encoders")


def test_what_is_alike_lies_near(encoder: Encoder) -> None:
    vectors, lengths = encoder.encode(TEXTS)
    assert [len(one) > 0 for one in vectors] == [len(text.strip()) > 0 for text in TEXTS]
    assert [bool(one) for one in lengths] == [len(text.strip()) > 0 for text in TEXTS]
    # What all texts share is taken away, as half-whitening does.
    apart = np.stack([one for one in vectors if len(one)])
    apart -= apart.mean(axis=0)
    lipstick, hose, gloss, watering = apart / np.linalg.norm(apart, axis=1, keepdims=True)
    assert lipstick @ gloss > max(lipstick @ hose, lipstick @ watering)
    assert hose @ watering > max(hose @ lipstick, hose @ gloss)


def test_no_text_is_hidden_by_how_long_it_is(encoder: Encoder) -> None:
    """A causal LM's first token has a state a hundred times as long as the others; in a mean it says the length alone."""
    texts = ["hose", "a garden hose", "a hose for watering the garden with twenty metres of green rubber"]
    norms = [float(np.linalg.norm(vector)) for vector in encoder.encode(texts)[0]]
    assert max(norms) < 3 * min(norms)


def test_a_batch_changes_nothing(encoder: Encoder) -> None:
    together, _ = encoder.encode(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        (alone,), _ = encoder.encode([text])
        np.testing.assert_allclose(alone, vector, rtol=0.05, atol=0.05 * float(np.abs(vector).max(initial=0)))


def test_the_sentence_encoder_is_as_its_authors_use_it() -> None:
    """Mean pooling over all tokens, as its modules.json says."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    source = find("minilm", "text.encoders")
    tokenizer, model = (kind.from_pretrained(source.model) for kind in (AutoTokenizer, AutoModel))
    told = tokenizer(["red lipstick", "crimson lip gloss"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**told).last_hidden_state
    mask = told["attention_mask"][..., None]
    theirs = (states * mask).sum(1) / mask.sum(1)
    ours, _ = Encoder(source, "text.encoders").encode(["red lipstick", "crimson lip gloss"])
    np.testing.assert_allclose(np.stack(ours), theirs.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("files", [{}, {"config.json": "{}"}], ids=["empty", "no tokenizer"])
def test_a_folder_without_a_model(tmp_path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="text.encoders: the tokenizer of .* does not load"):
        Encoder(Source(str(tmp_path)), "text.encoders")
