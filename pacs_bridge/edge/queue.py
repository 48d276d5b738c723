"""The custody rows that wait for the county: what is due, in which order, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.lifecycles.custody import CUSTODY, CustodyEvent, CustodyState
from core.settings import Settings
from core.tables import Association, Device, Instance, Study, Urgency
from pacs_bridge.custody_queue import CustodyQueue
from pacs_bridge.edge.loads import Load
from pacs_bridge.quarantine import set_down
from pacs_bridge.spool import Spool

log = structlog.get_logger("forwarder")


class Backlog:
    """This machine's rows. One thread uses it."""

    def __init__(self, settings: Settings, database: Database, spool: Spool) -> None:
        self._settings, self._database, self._spool = settings, database, spool
        self._queue = CustodyQueue(settings)

    def due(self, *, count: int, urgent_only: bool = False) -> list[Load]:
        """Return what may be tried now, the most urgent and then the oldest first."""
        query = (
            select(Instance, Study.urgency_rank, Device.ae_title)
            .join(Study, Study.id == Instance.study_id)
            .outerjoin(Device, Device.id == Instance.device_id)
            .where(*self._waiting(), self._queue.due())
            .order_by(Study.urgency_rank, Instance.received_at)
            .limit(count)
        )
        if urgent_only:
            query = query.where(Study.urgency_rank < Urgency.ROUTINE.rank)
        with self._database.reading() as session:
            return [
                Load(
                    instance_id=row.id, sop_instance_uid=row.sop_instance_uid, path=self._spool.path(row.spool_name or ""),
                    sha256=row.sha256, size=row.size, received_at=row.received_at, ae_title=ae_title or "",
                    association_id=row.association_id or "", urgent=rank < Urgency.ROUTINE.rank, tries=row.tries,
                    transfer_syntax_uid=row.transfer_syntax_uid,
                    frames=row.frames,
                )
                for row, rank, ae_title in session.execute(query)
            ]  # fmt: skip

    def urgent_waits(self) -> bool:
        """Return whether an urgent instance is due."""
        return bool(self.due(count=1, urgent_only=True))

    def forwarded(self, loads: Sequence[Load]) -> None:
        """Write down that the county holds these with our hashes, then let the spool's copies go."""
        names = []
        with self._database.writing() as session:
            for row in self._rows(session, loads).values():
                row.state = CUSTODY.next(CUSTODY.next(row.state, CustodyEvent.DELIVER), CustodyEvent.AGREE)
                row.delivered_at = row.compared_at = now()
                row.last_error = None
                names.append(row.spool_name or "")
                row.spool_name = None
        for name in names:
            self._spool.release(name)

    def try_later(self, load: Load, error: SumuError) -> None:
        """Write down why one was not taken; it is tried again after a wait that doubles up to a limit."""
        with self._database.writing() as session:
            for row in self._rows(session, [load]).values():
                row.tries += 1
                row.last_error = str(error)
                row.next_try_at = now() + self._queue.wait(row.tries)
        log.warning(
            "forwarding_will_be_tried_again", instance=load.sop_instance_uid, error=str(error.args[0]), remedy=error.remedy
        )

    def set_aside(self, load: Load, error: SumuError) -> None:
        """Move an instance that is not what its device sent into the quarantine."""
        names = []
        with self._database.writing() as session:
            for row in self._rows(session, [load]).values():
                row.state = CUSTODY.next(row.state, CustodyEvent.REFUSE)
                row.last_error = str(error)
                names.append(row.spool_name or row.sop_instance_uid)
                set_down(
                    session, names[-1], error, actor=f"device:{load.ae_title}" if load.ae_title else "process:forwarder",
                    device_id=row.device_id, sop_instance_uid=row.sop_instance_uid, study_id=row.study_id,
                )  # fmt: skip
        for name in names:
            self._spool.set_aside(name, self._settings.quarantine)

    def ended(self, associations: Sequence[str]) -> Mapping[str, str]:
        """Return those that have ended and of which nothing waits any more, with their outcomes."""
        waits = exists().where(Instance.association_id == Association.id, *self._waiting())
        query = select(Association.id, Association.outcome).where(
            Association.id.in_(associations), Association.ended_at.is_not(None), ~waits
        )
        with self._database.reading() as session:
            return {id_: outcome or "lost" for id_, outcome in session.execute(query)}

    def wait_seconds(self, tries: int) -> float:
        """Return the wait after so many failed tries."""
        return self._queue.wait_seconds(tries)

    def _waiting(self) -> tuple[ColumnElement[bool], ...]:
        return self._queue.waiting(CustodyState.RECEIVED)

    @staticmethod
    def _rows(session: Session, loads: Sequence[Load]) -> dict[int, Instance]:
        """Return the rows that still wait: another step may have been taken before a crash."""
        query = select(Instance).where(
            Instance.id.in_([load.instance_id for load in loads]), Instance.state == CustodyState.RECEIVED
        )
        return {row.id: row for row in session.scalars(query)}
