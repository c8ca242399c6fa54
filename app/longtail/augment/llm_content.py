"""What a published LLM is, byte for byte: two tunings with the same settings still differ."""

from hashlib import blake2b

from longtail.workspace.place import Place

PARTS = (".safetensors", ".bin", "config.json", "tokenizer.json", "tokenizer_config.json")


def content(model: Place) -> str:
    """A hash of the weights and the tokenizer in a published `llm/<role>`; meant for a Ray task, as it reads all of them."""
    found = blake2b(digest_size=16)
    for file in model.files():
        if file.path.endswith(PARTS):
            found.update(file.name.encode())
            for chunk in file.chunks():
                found.update(chunk)
    return found.hexdigest()
