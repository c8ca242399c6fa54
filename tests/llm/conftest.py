"""A small catalogue with awkward titles."""

import pyarrow as pa
import pytest

from longtail.schema import ITEMS

TITLES = ["Trail shoe red", "Trail shoe blue", "Café déjà-vu", "Answer: Yes", None, "Twin", "Twin", "x" * 400]


@pytest.fixture(scope="session")
def catalogue() -> pa.Table:
    titles = TITLES + [f"Tent model {code}" for code in range(len(TITLES), 40)]
    rows = [
        {
            "item": code,
            "item_id": f"sku-{code}",
            "title": title,
            "attributes": [("category", "outdoor" if code % 2 else "town")],
            "train_count": code,
            "slice": "tail" if code < 10 else "mid",
        }
        for code, title in enumerate(titles)
    ]
    return pa.Table.from_pylist(rows, ITEMS)
