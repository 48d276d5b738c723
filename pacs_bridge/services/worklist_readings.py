"""The trace of worklists that are read every few seconds: what a device saw anew is an event, what it saw again is counted.

An event stands in the audit chain before anything goes out that the device has not seen in this quarter of an hour: an
order that is new to it, or one that reads differently. It names those orders. Readings that showed nothing new are counted;
the count goes into the device's next event or, where it reads no more, into one of its own once the quarter has ended and
another event is written, or the node stops. A node that is killed loses the counts of one quarter, and no event.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydicom import DataElement, Dataset
from sqlalchemy.exc import DBAPIError

from core.audit import record
from core.clock import now
from core.database import Database
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.data_sets import as_text
from pacs_bridge.services.matching import NO_KEYS, is_universal

log = structlog.get_logger("node")

#: What was shown once is not traced again for so long.
WINDOW = timedelta(minutes=15)
#: Kinds of question that are remembered; a person who types patient by patient asks many.
MOST_KINDS = 1_000
#: Accession numbers that one event names; ``new`` counts all of them.
MOST_NAMED = 200
_MOVING = frozenset(("DA", "TM", "DT"))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One order as it goes out."""

    order_id: int
    accession_number: str
    data_set: bytes


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Readings that belong together; days and times that move with the clock make no other kind."""

    device: str
    keys: tuple[tuple[str, str], ...]


@dataclass(kw_only=True)
class _Window:
    """What a device saw since an event."""

    begun_at: datetime
    #: Digest of each order's answer, by the order's number.
    seen: dict[int, bytes] = field(default_factory=dict)
    repeats: int = 0
    first_repeat_at: datetime | None = None

    def is_over(self, moment: datetime) -> bool:
        return not timedelta(0) <= moment - self.begun_at < WINDOW  # a clock that was set back ends it too

    def counted(self) -> dict[str, Any]:
        """Return what an event tells of the readings that showed nothing new."""
        since = self.first_repeat_at.isoformat() if self.first_repeat_at else None
        return {"repeats": self.repeats, "repeats_since": since} if self.repeats else {}


class WorklistReadings:
    """What the devices of one node have read. Threads may share it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._windows: dict[_Kind, _Window] = {}
        self._lock = threading.Lock()

    def note(self, device: AdmittedDevice, association_id: str, asked: Dataset, shown: Sequence[Shown]) -> None:
        """Leave a trace of an answer that is about to go out; nothing where it shows nothing.

        Raises
        ------
        sqlalchemy.exc.DBAPIError
            If the database is away: what would be new to the device must not go out.
        """
        if not shown:
            return
        moment, keys = now(), keys_of(asked)
        kind = _Kind(device=device.ae_title, keys=tuple(sorted(_still(asked).items())))
        digests = {one.order_id: hashlib.blake2b(one.data_set, digest_size=16).digest() for one in shown}
        with self._lock:
            window = self._windows.get(kind)
            fresh = window is None or window.is_over(moment)
            seen = {} if window is None or fresh else window.seen
            new = [one for one in shown if seen.get(one.order_id) != digests[one.order_id]]
            if window is not None and not new:
                window.repeats += 1
                window.first_repeat_at = window.first_repeat_at or moment
                return
            counted = window.counted() if window is not None else {}
            told = window.repeats if window is not None else 0
        self._record(
            kind.device,
            {
                "association": association_id,
                "keys": keys,
                "answers": len(shown),
                "new": len(new),
                "orders": [one.accession_number for one in new[:MOST_NAMED]],
                **counted,
            },
        )
        with self._lock:
            window = self._windows.pop(kind, None)  # the latest stand last
            if window is None or fresh:
                window = _Window(begun_at=moment, repeats=window.repeats if window else 0)
            window.seen.update(digests)
            window.repeats -= min(told, window.repeats)
            window.first_repeat_at = moment if window.repeats else None
            self._windows[kind] = window
        self._let_go(moment)

    def close(self) -> None:
        """Write down every count that no event tells yet."""
        with self._lock:
            windows, self._windows = self._windows, {}
        self._record_counts(windows)

    def _let_go(self, moment: datetime) -> None:
        """Write the counts of windows that are over, and of the oldest where there are too many, and forget them."""
        with self._lock:
            over = [kind for kind, window in self._windows.items() if window.is_over(moment)]
            over += list(self._windows)[: max(0, len(self._windows) - MOST_KINDS)]
            windows = {kind: self._windows.pop(kind) for kind in dict.fromkeys(over)}
        self._record_counts(windows)

    def _record_counts(self, windows: Mapping[_Kind, _Window]) -> None:
        for kind, window in windows.items():
            if not window.repeats:
                continue
            try:
                self._record(kind.device, {"keys": dict(kind.keys), "new": 0, "orders": [], **window.counted()})
            except DBAPIError as error:
                log.warning("worklist_count_lost", device=kind.device, error=str(error.orig), **window.counted())

    def _record(self, device: str, detail: Mapping[str, Any]) -> None:
        with self._database.writing() as session:
            record(session, f"device:{device}", "worklist_read", f"device:{device}", detail)


def keys_of(asked: Dataset) -> dict[str, str]:
    """Return what a question narrows by; keys of the scheduled step stand beside the others."""
    return {_name(key): as_text(key.value)[:256] for key in _narrowing(asked)}


def _still(asked: Dataset) -> dict[str, str]:
    return {_name(key): "" if key.VR in _MOVING else as_text(key.value)[:256] for key in _narrowing(asked)}


def _narrowing(asked: Dataset) -> list[DataElement]:
    keys: list[DataElement] = []
    for key in asked:
        if key.VR == "SQ":
            keys += [inner for item in key.value or [] for inner in _narrowing(item)]
        elif key.keyword not in NO_KEYS and not is_universal(key):
            keys.append(key)
    return keys


def _name(key: DataElement) -> str:
    return key.keyword or str(key.tag)
