"""What an edge's page shows: what waits for the county, study by study, and what was set aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.access import Permission, Person
from core.clock import now
from core.lifecycles.custody import CustodyState
from core.tables import Device, Instance, Patient, Quarantined, Study, Urgency

#: Studies and quarantined files that are listed; the totals count all.
MOST_LISTED = 50
#: The forwarder writes its state every two seconds.
FORWARDER_SILENT_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class WaitingStudy:
    """A study of which something waits."""

    urgency: Urgency
    modality: str
    device: str
    instances: int
    size: int
    oldest_at: datetime
    #: Why the county did not keep one of them.
    error: str | None
    #: The patient's name, for who may see it; else empty.
    patient: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Everything that waits."""

    instances: int
    size: int
    urgent: int
    oldest_at: datetime | None
    studies: list[WaitingStudy]


def waiting(session: Session, machine: str, person: Person | None) -> Waiting:
    """Return what this machine's spool holds for the county; names of patients for a person who may see them alone."""
    here = (Instance.state == CustodyState.RECEIVED, Instance.machine == machine, Instance.spool_name.is_not(None))
    count, size, oldest = session.execute(
        select(func.count(), func.coalesce(func.sum(Instance.size), 0), func.min(Instance.received_at)).where(*here)
    ).one()
    urgent = select(func.count()).select_from(Instance).join(Study).where(*here, Study.urgency_rank < Urgency.ROUTINE.rank)
    first = func.min(Instance.received_at)
    query = (
        select(
            Study,
            Patient.name,
            func.count(),
            func.sum(Instance.size),
            first,
            func.min(Device.name),
            func.max(Instance.last_error),
        )
        .join(Instance, Instance.study_id == Study.id)
        .join(Patient, Patient.id == Study.patient_id)
        .outerjoin(Device, Device.id == Instance.device_id)
        .where(*here)
        .group_by(Study.id, Patient.name)
        .order_by(Study.urgency_rank, first)
        .limit(MOST_LISTED)
    )
    studies = [
        WaitingStudy(
            urgency=study.urgency, modality=study.modality, device=device or "", instances=instances, size=bytes_,
            oldest_at=oldest_at, error=error, patient=name if _may_see(person, study) else "",
        )
        for study, name, instances, bytes_, oldest_at, device, error in session.execute(query)
    ]  # fmt: skip
    return Waiting(instances=count, size=int(size), urgent=session.scalar(urgent) or 0, oldest_at=oldest, studies=studies)


def quarantined(session: Session) -> tuple[int, list[tuple[Quarantined, str]]]:
    """Return how many files were set aside, and the latest with the names of their devices."""
    query = select(Quarantined, Device.name).outerjoin(Device, Device.id == Quarantined.device_id)
    latest = session.execute(query.order_by(Quarantined.at.desc()).limit(MOST_LISTED))
    return session.scalar(select(func.count()).select_from(Quarantined)) or 0, [(row, name or "") for row, name in latest]


def forwarder_is_silent(written_at: datetime | None) -> bool:
    """Return whether the forwarder has stopped telling of itself."""
    return written_at is None or abs((now() - written_at).total_seconds()) > FORWARDER_SILENT_SECONDS


def _may_see(person: Person | None, study: Study) -> bool:
    return person is not None and person.may(Permission.SEE_WORKLIST) and study.organisation_id in person.organisations
