"""Whether a GGUF file can be read as plain weights. Its header, and one row of each kind of tensor, tell."""

from pathlib import Path

from longtail.errors import InputError, first_line

GGUF = ".gguf"
INSTEAD = "Give a Hugging Face id, or a folder with the model's own weights"


def check_gguf(file: Path, named: str) -> None:
    """Raise InputError if transformers cannot dequantise the file. named: what the message begins with."""
    try:
        import gguf
    except ImportError:
        raise InputError(
            f"{named}: a GGUF file is read with the package gguf, which is missing: pip install gguf."
        ) from None
    from transformers import AutoConfig

    try:
        reader = gguf.GGUFReader(file)
    except Exception as error:  # a file that is cut off or of another format fails in many ways
        raise InputError(f"{named}: this is not a whole GGUF file ({first_line(error)}).") from None
    try:
        AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as error:  # transformers says what it misses in many ways
        raise InputError(
            f"{named}: transformers cannot dequantise this model ({first_line(error)}). {INSTEAD}."
        ) from None
    kinds = {tensor.tensor_type: tensor for tensor in reader.tensors}
    for kind, tensor in kinds.items():
        try:
            gguf.dequantize(tensor.data[:1], kind)
        except NotImplementedError:
            raise InputError(
                f"{named}: its weights are of the kind {kind.name}, which the package gguf cannot dequantise. {INSTEAD}."
            ) from None
