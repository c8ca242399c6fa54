"""A published store whose users took some cold items afterwards."""

import numpy as np
import pyarrow as pa

from longtail.schema import HISTORIES
from longtail.workspace.place import Place


def write_cold_store(data: Place, train: list[list[int]], later: list[list[int]], cold: np.ndarray) -> None:
    """Of each user the training items, then the test items; there is no validation. cold bool [n_items]."""
    rows = [
        {
            "user": user,
            "user_id": str(user),
            "items": own + after,
            "timestamps": list(range(len(own + after))),
            "train_end": len(own),
            "valid_end": len(own),
            "slice": "sparse",
        }
        for user, (own, after) in enumerate(zip(train, later, strict=True))
    ]
    (data / "histories").make_folder()
    (data / "histories/part.parquet").write_table(pa.Table.from_pylist(rows, HISTORIES))
    slices = np.where(cold, "cold", "mid").tolist()
    (data / "items.parquet").write_table(pa.table({"item": list(range(len(cold))), "slice": slices}))
