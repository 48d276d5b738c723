"""From a township's spool to its county: sent, compared by hash, and only then let go. Tries never end.

The custody rows are the queue, as for the archive. What has gone through stays gone through: instance by instance, and
piece by piece for large ones; whatever a break or a crash left unknown is sent again, and the county recognises it.
"""

from __future__ import annotations

import fcntl
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
from sqlalchemy.exc import DBAPIError

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.edge.county import (
    County,
    CountyBusy,
    CountyRefuses,
    LineDown,
    OtherOffset,
    Receipt,
    RequestTooLarge,
    UnusableEdge,
)
from pacs_bridge.edge.line_state import LineFile, LineState, read_line_state
from pacs_bridge.edge.loads import Load
from pacs_bridge.edge.queue import Backlog
from pacs_bridge.edge.throttle import Throttle
from pacs_bridge.edge.timetable import Timetable, UnusableTimetable
from pacs_bridge.part10 import NotPart10, dataset_digest
from pacs_bridge.spool import Spool

log = structlog.get_logger("forwarder")

#: Instances of one request, however small they are.
MOST_TOGETHER = 64
#: A throttled request shall not take longer than about this, so that the order of urgency is looked at again.
THROTTLED_SECONDS = 20.0
#: How often the rate is looked up while a request goes.
_RATE_SECONDS = 1.0
_TELL_SECONDS = 0.5
_PAUSE_SECONDS = 0.05
#: Between two looks whether the settings lead to a county by now.
_UNUSABLE_SECONDS = 5.0


class NotTaken(SumuError):
    """The county took the request, and not this instance."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__(
            f"The county did not keep it ({receipt.failure:04X}): {receipt.note or 'no words'}",
            remedy="It is tried again; if it lasts, follow what the county says.",
        )


class NoReceipt(SumuError):
    """The county's answer does not name an instance."""

    def __init__(self, sop_instance_uid: str) -> None:
        super().__init__(f"The county's answer does not name {sop_instance_uid}.", remedy="It is sent again.")


class SpoolDamaged(SumuError):
    """The edge's own copy is not what the device sent."""

    def __init__(self, sop_instance_uid: str) -> None:
        super().__init__(
            f"The edge's disk no longer holds {sop_instance_uid} as it came.",
            remedy="Check the edge's disk, and have the device send the study again.",
        )


class Interrupted(SumuError):
    """The forwarder is told to stop while something is on the line."""

    def __init__(self) -> None:
        super().__init__("The forwarder stops.", remedy="It goes on where it was when it starts again.")


class Forwarder:
    """Forwards what lies in this machine's spool. One thread calls :meth:`round`; one forwarder at a time has the turn."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        county: County,
        *,
        clock: Callable[[], float] = time.monotonic,
        stopping: threading.Event | None = None,
    ) -> None:
        self._edge, self._county, self._clock = settings.edge, county, clock
        self._stopping = stopping or threading.Event()
        self._spool = Spool(settings.spool, receiver="forwarder")
        self._backlog = Backlog(settings, database, self._spool)
        self._timetable = Timetable(settings.edge.timetable, settings.county.timezone)
        self._request_bytes = settings.edge.request_bytes
        self._state, self._file = replace(read_line_state(settings.data), instance_bytes=0, line_bytes=0), LineFile(settings.data)
        self._lock = (settings.spool / "forwarder.lock").open("w")
        self._has_turn = False
        #: Failures of the line in a row, and when it may be tried again.
        self._failures, self._try_at = 0, clock()
        self._asked_at: float | None = None
        #: Associations of which something has gone, and whose end the county has not been told.
        self._open: set[str] = set()
        self._told_at = clock()
        #: SHA-256 of the large instance that is on its way, and how much of it the county holds.
        self._large: tuple[str, int] | None = None
        self._urgent_on_line = False
        self._rate: tuple[float, float | None] = (float("-inf"), None)
        self._throttle = Throttle(self._allowed, clock=clock, sleep=self._sleep)

    def round(self) -> int:
        """Take one step over the line, and return how many instances or pieces went through."""
        if not self._has_turn and not self._take_turn():
            return 0
        if self._clock() < self._try_at:
            self._file.write(self._state)
            return 0
        try:
            moved = self._step()
        except (LineDown, CountyBusy, CountyRefuses) as error:
            self._failed(error)
            moved = 0
        self._file.write(self._state)
        return moved

    def close(self) -> None:
        """End the connection and let another have the turn."""
        self._county.close()
        self._lock.close()

    @property
    def state(self) -> LineState:
        """What is known of the line."""
        return self._state

    # --- one step -------------------------------------------------------------------------------------------------------

    def _step(self) -> int:
        self._tell_ended()
        loads = self._next()
        if not loads:
            self._ask_now_and_then()
            return 0
        self._urgent_on_line, self._rate = loads[0].urgent, (float("-inf"), None)
        gone = [load for load in loads if not load.path.exists()]
        for load in gone:
            self._backlog.set_aside(load, SpoolDamaged(load.sop_instance_uid))
        loads = [load for load in loads if load not in gone]
        if not loads:
            return 1
        return self._send_piece(loads[0]) if loads[0].size > self._edge.piece_bytes else self._send(loads)

    def _next(self) -> list[Load]:
        """Return what goes next: a large instance alone, or small ones together, urgent ones never with others."""
        limit = self._timetable.at(now())
        due = self._backlog.due(count=MOST_TOGETHER, urgent_only=limit == 0)
        if not due:
            return []
        first, room = due[0], self._request_bytes
        if limit is not None and not first.urgent:
            room = min(room, int(limit * THROTTLED_SECONDS))
        chosen = [first]
        if first.size > self._edge.piece_bytes:
            return chosen
        room -= first.size
        for load in due[1:]:
            if load.urgent is not first.urgent or load.size > min(room, self._edge.piece_bytes):
                break
            chosen.append(load)
            room -= load.size
        return chosen

    def _send(self, loads: Sequence[Load]) -> int:
        try:
            receipts = self._county.store(loads, self)
        except RequestTooLarge as error:
            if len(loads) > 1:
                self._request_bytes = max(1, sum(load.size for load in loads) // 2)
                log.warning("requests_made_smaller", bytes=self._request_bytes, reason=str(error.args[0]), remedy=error.remedy)
                return 1
            self._backlog.try_later(loads[0], error)
            return 0
        self._answered()
        return self._settle(loads, receipts)

    def _send_piece(self, load: Load) -> int:
        held = self._large[1] if self._large and self._large[0] == load.sha256 else self._county.held(load)
        whole = load.path.stat().st_size
        length = self._edge.piece_bytes
        if (limit := self._timetable.at(now())) and not load.urgent:
            length = max(1 << 16, min(length, int(limit * THROTTLED_SECONDS)))
        self._large = None
        try:
            held, receipts = self._county.add_piece(load, held, max(0, min(length, whole - held)), whole, self)
        except OtherOffset:
            self._answered()
            return 1
        except RequestTooLarge as error:
            self._backlog.try_later(load, error)
            return 0
        self._answered()
        if receipts:
            return self._settle([load], receipts)
        self._large = (load.sha256, held)
        return 1

    def _settle(self, loads: Sequence[Load], receipts: Sequence[Receipt]) -> int:
        """Compare the county's hashes with ours, and write down what became of each."""
        held = {receipt.sha256 for receipt in receipts if not receipt.failure}
        failed = {receipt.part: receipt for receipt in receipts if receipt.failure}
        forwarded = [load for load in loads if load.sha256 in held]
        self._backlog.forwarded(forwarded)
        self._open.update(load.association_id for load in forwarded if load.association_id)
        self._state = replace(self._state, instance_bytes=self._state.instance_bytes + sum(load.size for load in forwarded))
        for part, load in enumerate(loads):
            if load.sha256 in held:
                continue
            if not self._as_it_came(load):
                self._backlog.set_aside(load, SpoolDamaged(load.sop_instance_uid))
                continue
            receipt = failed.get(part)
            self._backlog.try_later(load, NotTaken(receipt) if receipt else NoReceipt(load.sop_instance_uid))
        return len(forwarded)

    @staticmethod
    def _as_it_came(load: Load) -> bool:
        try:
            return dataset_digest(load.path).sha256 == load.sha256
        except (OSError, NotPart10):
            return False

    def _tell_ended(self) -> None:
        if not self._open or self._clock() < self._told_at + _TELL_SECONDS:
            return
        self._told_at = self._clock()
        ended = self._backlog.ended(sorted(self._open))
        if ended:
            self._county.tell_ended(ended)
            self._answered()
            self._open -= ended.keys()

    def _ask_now_and_then(self) -> None:
        if self._asked_at is None or self._clock() >= self._asked_at + self._edge.line_seconds:
            self._county.line()
            self._answered()

    # --- the line -------------------------------------------------------------------------------------------------------

    def _answered(self) -> None:
        if not self._state.up:
            log.info("line_is_up", county=self._county.address)
        self._failures, self._asked_at = 0, self._clock()
        self._state = self._state.answered()

    def _failed(self, error: LineDown | CountyBusy | CountyRefuses) -> None:
        self._failures += 1
        self._large = None
        wait = self._backlog.wait_seconds(self._failures)
        if isinstance(error, CountyBusy):
            wait = max(wait, min(error.wait_seconds, self._backlog.wait_seconds(31)))
        self._try_at = self._clock() + wait
        self._state = self._state.failed(error, up=not isinstance(error, LineDown))
        log.warning("county_does_not_take_it", reason=str(error.args[0]), remedy=error.remedy, waits_seconds=round(wait, 1))

    def grain(self) -> int:
        """Return how many bytes go onto the line at once."""
        return self._throttle.grain()

    def take(self, size: int) -> None:
        """Wait until so many bytes may go onto the line.

        Raises
        ------
        Interrupted
            If the forwarder is told to stop.
        """
        if self._stopping.is_set():
            raise Interrupted
        self._throttle.take(size)
        self._state = replace(self._state, line_bytes=self._state.line_bytes + size)

    def _allowed(self) -> float | None:
        """Return the bytes a second that may go now; an urgent study is held back neither itself nor by what is before it."""
        if self._urgent_on_line:
            return None
        looked_at, rate = self._rate
        if self._clock() >= looked_at + _RATE_SECONDS:
            allowed = self._timetable.at(now())
            # What has begun when an hour of silence strikes is brought to its end at the rate before.
            rate = rate if allowed == 0 else allowed
            if rate is not None and self._backlog.urgent_waits():
                rate = None
            self._rate = (self._clock(), rate)
        return rate

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Interrupted

    def _take_turn(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._has_turn = True
        return True


def run_forwarder(settings: Settings) -> None:
    """Forward until told to stop (SIGTERM or SIGINT). A second one waits for the first to end."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    database = Database(settings.database_address)
    forwarder = _begin(settings, database, stopping)
    while forwarder is not None and not stopping.is_set():
        try:
            if not forwarder.round():
                stopping.wait(_PAUSE_SECONDS)
        except Interrupted:
            break
        except DBAPIError as error:
            log.warning("database_unreachable", error=str(error.orig))
            stopping.wait(2)
        except Exception:  # a file that vanishes, a disk that fails: the next round tells
            log.exception("round_failed")
            stopping.wait(1)
    if forwarder is not None:
        forwarder.close()
    database.close()


def _begin(settings: Settings, database: Database, stopping: threading.Event) -> Forwarder | None:
    """Return the forwarder once its settings lead to a county: a token may be written while it waits."""
    told = ""
    while not stopping.is_set():
        try:
            return Forwarder(settings, database, County(settings), stopping=stopping)
        except (UnusableEdge, UnusableTimetable) as error:
            if told != str(error):
                log.error("edge_cannot_forward", reason=str(error.args[0]), remedy=error.remedy)
            told = str(error)
            LineFile(settings.data).write(read_line_state(settings.data).failed(error, up=False))
            stopping.wait(_UNUSABLE_SECONDS)
    return None
