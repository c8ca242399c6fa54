"""Small outputs that are pinned, each with its version of meaning: a change of one must raise the other.

A fingerprint that did not change tells every old workspace that it is up to date. To pin an output anew, after its version
was raised: LONGTAIL_PIN=1 python -m pytest tests/test_meaning.py
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).with_name("pins")
TOLERANCE = 0.02
"""Of an array's spread: processors round differently, and a training adds that up."""


def require_pinned(name: str, meaning: Any, output: dict[str, Any], where: str) -> None:
    """Fail if `output`, arrays or texts by name, is not what is pinned for this `meaning`; `where` declares that."""
    file = FOLDER / f"{name}.json"
    output = {key: value if isinstance(value, str) else _rounded(value) for key, value in output.items()}
    pinned = json.loads(file.read_text()) if file.exists() else {"meaning": None, "output": {}}
    changed = [
        key for key in output | pinned["output"] if not _same(output.get(key), pinned["output"].get(key))
    ]
    raised = pinned["meaning"] != meaning
    if os.environ.get("LONGTAIL_PIN") and (raised or not changed):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"meaning": meaning, "output": output}) + "\n")
        return
    assert raised or not changed, (
        f"{name}: {', '.join(changed)} came out differently with equal settings. If that is meant, raise the version in "
        f"{where}, or old workspaces count as up to date; then pin it anew (see tests/pins.py)."
    )
    assert not raised, (
        f"{name}: meaning is {meaning}, pinned is {pinned['meaning']}. Pin it anew (see tests/pins.py)."
    )


def _rounded(value: Any) -> list[Any]:
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.floating):
        return array.tolist()
    return [float(f"{one:.4g}") if np.isfinite(one) else None for one in array.ravel().tolist()]


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return one == other
    first, second = (np.array(value, float) for value in (one, other))
    if first.shape != second.shape:
        return False
    known = second[np.isfinite(second)]
    spread = float(known.std()) if known.size else 0.0
    return bool(np.allclose(first, second, rtol=1e-6, atol=TOLERANCE * spread, equal_nan=True))
