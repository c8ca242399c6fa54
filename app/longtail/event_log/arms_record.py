"""Which arms are compared, written down in the log when a process begins to serve them."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from longtail.event_log.records import ARMS
from longtail.workspace import fingerprint
from longtail.workspace.place import Place


@dataclass(frozen=True)
class ArmsRecord:
    """A test: it begins with the first process that serves these arms, and ends with the first one that serves others.

    since: ns since 1970. shares: of the users, by arm; the first arm is the baseline. settings: what each arm serves.
    """

    since: int
    shares: dict[str, float]
    salt: str
    settings: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        return fingerprint(list(self.shares.items()), self.salt, self.settings)


def write_arms(log: Place, shares: dict[str, float], salt: str, settings: dict[str, Any]) -> None:
    """Write down the arms, if they are others than the latest ones in the log."""
    record = ArmsRecord(time.time_ns(), shares, salt, settings)
    latest = latest_arms(log)
    if latest is None or latest.fingerprint != record.fingerprint:
        name = f"{record.since:020d}-{record.fingerprint}.json"
        (log / ARMS / name).replace_bytes(_bytes(record))


def latest_arms(log: Place) -> ArmsRecord | None:
    """The arms that were served last, since they are served without a break; None if there never were any.

    Replicas that start together may write the same arms twice: the first of them counts.
    """
    latest = None
    for file in sorted((log / ARMS).files(".json"), key=lambda file: file.name, reverse=True):
        record = ArmsRecord(**file.read_json())
        if latest is not None and latest.fingerprint != record.fingerprint:
            break
        latest = record
    return latest


def _bytes(record: ArmsRecord) -> bytes:
    import json

    return json.dumps(asdict(record), indent=1).encode()
