"""From settled studies to pre-reads that wait in the queue: the row first, so that no crash forgets a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.lifecycles.preread import END_STATES, PRE_READ, PreReadEvent
from core.lifecycles.study import StudyState
from core.tables import Door, Instance, PreRead, Study
from inference.engine import Engine
from inference.roster import wanting

#: Name of the pre-read of a study that no engine wants.
NO_ENGINE = "none"


def open_pre_reads(session: Session, engines: Mapping[str, Engine]) -> list[PreRead]:
    """Give every settled study its pre-reads for its present revision, and return the new rows."""
    unseen = select(Study).where(
        Study.state == StudyState.SETTLED,
        ~exists().where(PreRead.study_id == Study.id, PreRead.revision == Study.revision),
    )
    opened = []
    for study in session.scalars(unseen).all():
        if study.revision > 1:
            _supersede_earlier(session, study)
        instances = list(session.scalars(select(Instance).where(Instance.study_id == study.id, Instance.door != Door.OURS)))
        for name in wanting(engines, instances) or [NO_ENGINE]:
            pre_read = PreRead(study_id=study.id, revision=study.revision, engine=name, state=PRE_READ.start, queued_at=now())
            if name == NO_ENGINE:
                pre_read.state = PRE_READ.next(pre_read.state, PreReadEvent.START)
                pre_read.state = PRE_READ.next(pre_read.state, PreReadEvent.FIND_NO_MODEL)
                pre_read.reason = "no_engine"
                pre_read.started_at = pre_read.finished_at = pre_read.queued_at
            session.add(pre_read)
            opened.append(pre_read)
    session.flush()
    return opened


def enqueue_waiting(database: Database, enqueue: Callable[[PreRead, int], None]) -> int:
    """Hand every pre-read that has no workflow yet to ``enqueue(pre_read, priority)``, and return how many.

    ``enqueue`` must take the same pre-read twice: a crash between the queue and the row repeats it.
    """
    waiting = (
        select(PreRead, Study.urgency_rank).join(Study).where(PreRead.state == PRE_READ.start, PreRead.enqueued_at.is_(None))
    )
    with database.reading() as session:
        rows = list(session.execute(waiting.order_by(Study.urgency_rank, PreRead.queued_at)).tuples())
    for pre_read, priority in rows:
        enqueue(pre_read, priority)
    if rows:
        with database.writing() as session:
            queued = update(PreRead).where(PreRead.id.in_([pre_read.id for pre_read, _ in rows]))
            session.execute(queued.values(enqueued_at=now()))
    return len(rows)


def _supersede_earlier(session: Session, study: Study) -> None:
    earlier = select(PreRead).where(
        PreRead.study_id == study.id, PreRead.revision < study.revision, PreRead.state.not_in(END_STATES)
    )
    for pre_read in session.scalars(earlier):
        pre_read.state = PRE_READ.next(pre_read.state, PreReadEvent.SUPERSEDE)
        pre_read.finished_at = now()
