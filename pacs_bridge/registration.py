"""From an instance that lies safe to its custody row: patient, study and instance, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.lifecycles.custody import CustodyState
from core.lifecycles.study import STUDY, StudyEvent
from core.tables import Door, Instance, Patient, Study
from pacs_bridge.headers import InstanceFacts


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """How an instance came, and what its bytes are."""

    door: Door
    organisation_id: int
    received_at: datetime
    #: Bytes of the data set, and their SHA-256.
    size: int
    sha256: str
    machine: str
    device_id: int | None = None
    association_id: str | None = None
    spool_name: str | None = None
    #: Set when the archive holds it already.
    archive_id: str | None = None


class Registered(StrEnum):
    """What became of an arrival."""

    #: A new custody row.
    NEW = "new"
    #: The same bytes as before, counted on the row that we have.
    REPEAT = "repeat"
    #: The UID of an instance that we have, with other bytes: a person has to look.
    CONFLICT = "conflict"


def register(session: Session, facts: InstanceFacts, arrival: Arrival) -> tuple[Registered, Instance]:
    """Write the rows of one arrival and return what became of it, with the custody row that holds its UID."""
    known = session.scalar(select(Instance).where(Instance.sop_instance_uid == facts.sop_instance_uid))
    if known is not None:
        if known.sha256 != arrival.sha256:
            return Registered.CONFLICT, known
        if known.spool_name != arrival.spool_name or arrival.spool_name is None:
            known.repeats += 1
        return Registered.REPEAT, known
    study = _study(session, facts, arrival)
    instance = Instance(
        study_id=study.id,
        sop_instance_uid=facts.sop_instance_uid,
        sop_class_uid=facts.sop_class_uid,
        series_instance_uid=facts.series_instance_uid,
        transfer_syntax_uid=facts.transfer_syntax_uid,
        modality=facts.modality,
        instance_number=facts.instance_number,
        frames=facts.frames,
        size=arrival.size,
        sha256=arrival.sha256,
        door=arrival.door,
        device_id=arrival.device_id,
        association_id=arrival.association_id,
        machine=arrival.machine,
        spool_name=arrival.spool_name,
        archive_id=arrival.archive_id,
        received_at=arrival.received_at,
        next_try_at=arrival.received_at,
    )
    if arrival.archive_id is not None:  # its bytes were read from the archive itself: nothing to deliver or compare
        instance.state = CustodyState.COMPARED
        instance.delivered_at = instance.compared_at = arrival.received_at
    session.add(instance)
    session.flush()
    return Registered.NEW, instance


def _study(session: Session, facts: InstanceFacts, arrival: Arrival) -> Study:
    study = session.scalar(select(Study).where(Study.study_instance_uid == facts.study_instance_uid))
    if study is None:
        study = Study(
            study_instance_uid=facts.study_instance_uid,
            organisation_id=arrival.organisation_id,
            patient_id=_patient(session, facts, arrival.organisation_id).id,
            accession_number=facts.accession_number,
            description=facts.description,
            body_part=facts.body_part,
            modality=facts.modality,
            performed_at=facts.performed_at,
            age_years=facts.age_years,
            requested_urgency=facts.urgency,
            instance_count=0,
            state=STUDY.start,
            first_received_at=arrival.received_at,
            last_received_at=arrival.received_at,
        )
        study.rank_as(facts.urgency)
        session.add(study)
        session.flush()
    if arrival.door is Door.OURS:  # our own report about the study is no news of the study
        return study
    study.state = STUDY.next(study.state, StudyEvent.INSTANCE)
    study.reported_at = None  # whatever was signed did not know this image
    study.instance_count += 1
    study.last_received_at = max(study.last_received_at, arrival.received_at)
    return study


def _patient(session: Session, facts: InstanceFacts, organisation_id: int) -> Patient:
    """Return the organisation's patient of this identifier; without one, each study has a patient of its own."""
    identifier = facts.patient_identifier or f"study:{facts.study_instance_uid}"[:64]
    patient = session.scalar(select(Patient).where(Patient.organisation_id == organisation_id, Patient.identifier == identifier))
    if patient is None:
        patient = Patient(
            organisation_id=organisation_id,
            identifier=identifier,
            name=facts.patient_name,
            name_latin=facts.patient_name_latin,
            sex=facts.sex,
            birth_date=facts.birth_date,
        )
        session.add(patient)
        session.flush()
    return patient
