"""Callers that were not let in, noted for an administrator behind the refusal and never in its way."""

from __future__ import annotations

import contextlib
import queue
import threading
from dataclasses import dataclass

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.tables import RefusedCaller

log = structlog.get_logger("node")

#: A flood of strange names must not fill the table.
MOST_ROWS, MOST_WAITING = 500, 200


@dataclass(frozen=True, kw_only=True)
class _Call:
    ae_title: str
    address: str
    certificate_sha256: str | None
    reason: str
    remedy: str


class RefusedCallers:
    """Writes the list of refused callers from a thread of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._calls: queue.Queue[_Call | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="refused-callers", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits and end."""
        self._calls.put(None)
        self._thread.join(10)

    def note(self, ae_title: str, address: str, certificate_sha256: str | None, error: SumuError) -> None:
        """Note one refused call; when too many wait, it is only in the log."""
        call = _Call(
            ae_title=ae_title[:16], address=address[:64], certificate_sha256=certificate_sha256 or None,
            reason=str(error.args[0])[:512], remedy=error.remedy[:512],
        )  # fmt: skip
        with contextlib.suppress(queue.Full):
            self._calls.put_nowait(call)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                self._write(call)
            except DBAPIError as error:
                log.warning("refused_caller_not_noted", device=call.ae_title, error=str(error.orig))

    def _write(self, call: _Call) -> None:
        with self._database.writing() as session:
            row = session.scalar(
                select(RefusedCaller).where(RefusedCaller.ae_title == call.ae_title, RefusedCaller.address == call.address)
            )
            if row is None:
                if (session.scalar(select(func.count()).select_from(RefusedCaller)) or 0) >= MOST_ROWS:
                    session.delete(session.scalars(select(RefusedCaller).order_by(RefusedCaller.last_at).limit(1)).one())
                row = RefusedCaller(ae_title=call.ae_title, address=call.address, calls=0, first_at=now())
                session.add(row)
            row.calls += 1
            row.last_at, row.reason, row.remedy = now(), call.reason, call.remedy
            row.certificate_sha256 = call.certificate_sha256
