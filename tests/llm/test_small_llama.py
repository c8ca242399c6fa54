"""The small base model: any text has tokens, one item is one token, and what is exported is what was trained."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.llm.prompts.item_text import item_texts
from longtail.llm.small_llama import SmallLlama, build_tokenizer, text_vectors


def test_an_item_is_one_token_with_the_token_rendering(catalogue):
    tokenizer = build_tokenizer(catalogue, "token")
    ids = tokenizer(item_texts(catalogue, "token"), add_special_tokens=False)["input_ids"]
    assert all(len(one) == 1 for one in ids)
    assert [one[0] for one in ids] == list(range(ids[0][0], ids[0][0] + catalogue.num_rows))


@settings(max_examples=50)
@given(text=st.text(max_size=60))
def test_any_text_survives_the_tokenizer(catalogue, text):
    tokenizer = build_tokenizer(catalogue, "title")
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_export_answers_as_the_trained_model(catalogue):
    torch.manual_seed(0)
    tokenizer = build_tokenizer(catalogue, "token")
    model = SmallLlama(tokenizer, 2, 0.3, text_vectors(catalogue, tokenizer, 0)).eval()
    ids = torch.randint(0, len(tokenizer), (3, 9))
    with torch.no_grad():
        places = torch.arange(9)
        trained = model(ids, places[None], places).logits
        exported = model.export().eval()(ids).logits
    assert torch.allclose(trained, exported, atol=1e-5)


def test_items_with_alike_titles_start_alike(catalogue):
    tokenizer = build_tokenizer(catalogue, "token")
    vectors = text_vectors(catalogue, tokenizer, 0)
    shoe, other_shoe, tent = (
        vectors[tokenizer.convert_tokens_to_ids(f"<item_{code}>")] for code in (0, 1, 20)
    )
    cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    assert cosine(shoe, other_shoe) > cosine(shoe, tent)
    assert not vectors[tokenizer.pad_token_id].any()
