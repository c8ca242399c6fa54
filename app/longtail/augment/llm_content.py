"""A hash of the bytes of a published LLM: two tunings with the same settings can still give different weights."""

from hashlib import blake2b

from longtail.workspace.place import Place

PARTS = (".safetensors", ".bin", "config.json", "tokenizer.json", "tokenizer_config.json")


def content(model: Place) -> str:
    """A hash of the weights and the tokenizer in a published `llm/<role>`. Run it as a Ray task: it reads all of them."""
    found = blake2b(digest_size=16)
    for file in model.files():
        if file.path.endswith(PARTS):
            found.update(file.name.encode())
            for chunk in file.chunks():
                found.update(chunk)
    return found.hexdigest()
