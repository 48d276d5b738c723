"""From an engine's reading to rows, and from findings to the study's place in the worklist."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import now
from core.lifecycles.preread import PRE_READ, PreReadEvent, PreReadState
from core.tables import Finding, Measurement, PreRead, Study, Urgency
from inference.engine import Outcome, Reading
from inference.vocabulary.terms import vocabulary

_EVENTS = {
    Outcome.READ: PreReadEvent.FINISH,
    Outcome.NO_MODEL: PreReadEvent.FIND_NO_MODEL,
    Outcome.DECLINED: PreReadEvent.DECLINE,
}


def keep_reading(session: Session, pre_read: PreRead, reading: Reading) -> None:
    """Write what an engine said. A pre-read that has its end already stays as it is: a step taken twice changes nothing."""
    if pre_read.state is not PreReadState.READING:
        return
    pre_read.state = PRE_READ.next(pre_read.state, _EVENTS[reading.outcome])
    pre_read.finished_at = now()
    pre_read.reason = reading.reason
    pre_read.models = [asdict(model) for model in reading.models]
    pre_read.evidence = dict(reading.evidence)
    # What is being read has said nothing yet: its rows are added without asking for those that it has.
    for finding in reading.findings:
        region = asdict(finding.region) if finding.region else None
        session.add(Finding(pre_read_id=pre_read.id, code=finding.code, probability=finding.probability, region=region))
    for number in reading.measurements:
        session.add(
            Measurement(pre_read_id=pre_read.id, code=number.code, value=number.value, sop_instance_uid=number.sop_instance_uid)
        )
    session.flush()
    study = session.get_one(Study, pre_read.study_id)
    study.rank_as(urgency_of(session, study))
    record(
        session,
        "process:worker",
        "study_pre_read",
        f"study:{study.study_instance_uid}",
        {"engine": pre_read.engine, "outcome": reading.outcome.value, "revision": pre_read.revision, "models": pre_read.models},
    )


def keep_failure(session: Session, pre_read: PreRead, error: str) -> None:
    """Mark a pre-read failed, with the words of what went wrong."""
    if pre_read.state is PreReadState.READING:
        pre_read.state = PRE_READ.next(pre_read.state, PreReadEvent.FAIL)
        pre_read.finished_at = now()
        pre_read.error = error


def urgency_of(session: Session, study: Study) -> Urgency:
    """Return the most urgent of what was asked for and of what the present revision's pre-reads found."""
    codes = session.scalars(
        select(Finding.code)
        .join(PreRead)
        .where(PreRead.study_id == study.id, PreRead.revision == study.revision, PreRead.state == PreReadState.READ)
    )
    terms = vocabulary().findings
    found = [Urgency(terms[code].urgency.value) for code in codes]
    return min([study.requested_urgency, *found], key=lambda urgency: urgency.rank)
