"""The lines of the log, one JSON object each."""

import json
from typing import Any

import pyarrow as pa

INTERACTIONS, RECOMMENDATIONS, ARMS = "interactions", "recommendations", "arms"
"""The folders of a log."""

INTERACTION = pa.schema(
    [
        # given by the client, and the same if it sends the event again
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("received", pa.int64(), nullable=False),  # ns since 1970, by the clock of the replica
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        # ns since 1970, as the client says, but never after `received`
        pa.field("time", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("weight", pa.float32()),
        pa.field("recommendation_id", pa.string()),
    ]
)
"""What a user did. A line may be there twice; whoever reads the log keeps one of each event_id."""

RECOMMENDATION = pa.schema(
    [
        pa.field("recommendation_id", pa.string(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # ns since 1970
        pa.field("user_id", pa.string()),  # null for an ad-hoc history
        pa.field("arm", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("items", pa.list_(pa.string()), nullable=False),  # best first
    ]
)
"""What was answered."""


def line(record: dict[str, Any]) -> bytes:
    """One line, its end included."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
