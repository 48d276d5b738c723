"""From an instance that lies safe to its custody row: patient, study and instance, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.lifecycles.custody import CustodyState
from core.lifecycles.study import STUDY, StudyEvent
from core.tables import Door, Instance, Patient, Study
from pacs_bridge.headers import InstanceFacts
from pacs_bridge.orders.fulfilment import RequestedStudies
from pacs_bridge.patient_names import search_words
from pacs_bridge.services.performed_steps import expected_instances


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
    #: What its text truly is, where the archive shall get a repaired copy.
    repair_character_set: str | None = None


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
    return register_many(session, [(facts, arrival)])[0]


def register_many(session: Session, arrivals: Sequence[tuple[InstanceFacts, Arrival]]) -> list[tuple[Registered, Instance]]:
    """Write the rows of many arrivals, in a handful of statements, and return what became of each."""
    books = _Books(session, arrivals)
    outcomes = [books.enter(facts, arrival) for facts, arrival in arrivals]
    session.flush()
    return outcomes


class _Books:
    """The rows that some arrivals touch, read once."""

    def __init__(self, session: Session, arrivals: Sequence[tuple[InstanceFacts, Arrival]]) -> None:
        self._session = session
        uids = {facts.sop_instance_uid for facts, _ in arrivals}
        studies = {facts.study_instance_uid for facts, _ in arrivals}
        self._instances = {
            row.sop_instance_uid: row for row in session.scalars(select(Instance).where(Instance.sop_instance_uid.in_(uids)))
        }
        self._studies = {
            row.study_instance_uid: row for row in session.scalars(select(Study).where(Study.study_instance_uid.in_(studies)))
        }
        self._patients: dict[tuple[int, str], Patient] = {}
        new = [(facts, arrival) for facts, arrival in arrivals if facts.study_instance_uid not in self._studies]
        self._requested = RequestedStudies(
            session,
            studies={facts.study_instance_uid for facts, _ in new},
            accession_numbers={facts.accession_number for facts, _ in new if facts.accession_number},
            organisations={arrival.organisation_id for _, arrival in new},
        )

    def enter(self, facts: InstanceFacts, arrival: Arrival) -> tuple[Registered, Instance]:
        """Write one arrival."""
        known = self._instances.get(facts.sop_instance_uid)
        if known is not None:
            if known.sha256 != arrival.sha256:
                return Registered.CONFLICT, known
            if known.spool_name != arrival.spool_name or arrival.spool_name is None:
                known.repeats += 1
            return Registered.REPEAT, known
        study = self._studies.get(facts.study_instance_uid) or self._new_study(facts, arrival)
        instance = Instance(
            study=study,
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
            repair_character_set=arrival.repair_character_set,
            received_at=arrival.received_at,
            next_try_at=arrival.received_at,
            repeats=0,
        )
        if arrival.archive_id is not None:  # its bytes were read from the archive itself: nothing to deliver or compare
            instance.state = CustodyState.COMPARED
            instance.delivered_at = instance.compared_at = arrival.received_at
        self._session.add(instance)
        self._instances[facts.sop_instance_uid] = instance
        if arrival.door is not Door.OURS:  # our own report about the study is no news of the study
            study.state = STUDY.next(study.state, StudyEvent.INSTANCE)
            study.reported_at = None  # whatever was signed did not know this image
            study.instance_count += 1
            study.last_received_at = max(study.last_received_at, arrival.received_at)
        return Registered.NEW, instance

    def _new_study(self, facts: InstanceFacts, arrival: Arrival) -> Study:
        study = Study(
            study_instance_uid=facts.study_instance_uid,
            organisation_id=arrival.organisation_id,
            patient=self._patient(facts, arrival.organisation_id),
            accession_number=facts.accession_number,
            description=facts.description,
            body_part=facts.body_part,
            modality=facts.modality,
            performed_at=facts.performed_at,
            age_years=facts.age_years,
            requested_urgency=facts.urgency,
            instance_count=0,
            expected_instances=expected_instances(self._session, facts.study_instance_uid),
            state=STUDY.start,
            revision=0,
            first_received_at=arrival.received_at,
            last_received_at=arrival.received_at,
        )
        study.rank_as(facts.urgency)
        self._session.add(study)
        self._requested.fulfil(study, device_id=arrival.device_id)
        self._studies[facts.study_instance_uid] = study
        return study

    def _patient(self, facts: InstanceFacts, organisation_id: int) -> Patient:
        """Return the organisation's patient of this identifier; without one, each study has a patient of its own."""
        identifier = facts.patient_identifier or f"study:{facts.study_instance_uid}"[:64]
        if (organisation_id, identifier) in self._patients:
            return self._patients[organisation_id, identifier]
        patient = self._session.scalar(
            select(Patient).where(Patient.organisation_id == organisation_id, Patient.identifier == identifier)
        )
        if patient is None:
            patient = Patient(
                organisation_id=organisation_id,
                identifier=identifier,
                name=facts.patient_name,
                name_latin=facts.patient_name_latin,
                sex=facts.sex,
                birth_date=facts.birth_date,
            )
            self._session.add(patient)
        if not patient.search_words:
            patient.search_words = search_words(patient.name, patient.name_latin)
        self._patients[organisation_id, identifier] = patient
        return patient
