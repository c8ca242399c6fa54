"""Arrays in a local folder, one file each, and memory-mapped: all processes of a node share one copy of them in memory.

NumPy arrays are .npy files, Arrow arrays .arrow files (IPC). A name may have slashes.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

Array = np.ndarray | pa.Array
NUMBERS, TEXTS = ".npy", ".arrow"


def write_array(folder: Path, name: str, array: Array) -> None:
    """Write one array. It has no Python objects, so nothing in the file is ever executed."""
    to = folder / (name + (NUMBERS if isinstance(array, np.ndarray) else TEXTS))
    to.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(array, np.ndarray):
        np.save(to, array, allow_pickle=False)
        return
    batch = pa.record_batch([array], names=["values"])
    with pa.OSFile(str(to), "wb") as stream, pa.ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)


def map_arrays(folder: Path) -> dict[str, Array]:
    """All arrays of a folder, by name, read-only. Only what is looked at comes into memory."""
    found: dict[str, Array] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).with_suffix("").as_posix()
        if file.suffix == NUMBERS:
            found[name] = _mapped(file)
        elif file.suffix == TEXTS:
            found[name] = pa.ipc.open_file(pa.memory_map(str(file))).get_batch(0).column(0)
    return found


def below(arrays: Mapping[str, Array], folder: str) -> dict[str, Array]:
    """The arrays whose name begins with `folder/`, by the rest of their name."""
    return {name[len(folder) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{folder}/")}


def _mapped(file: Path) -> np.ndarray:
    found = np.load(file, mmap_mode="r", allow_pickle=False)
    return found.view(np.ndarray)  # without the attributes of np.memmap, which make each operation slower
