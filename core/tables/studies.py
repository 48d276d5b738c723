"""Patients and their studies, as the devices named them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.lifecycles.study import STUDY, StudyState
from core.tables.base import Base, Key, Uid, words
from core.tables.organisations import Organisation
from core.tables.people import User


class Urgency(StrEnum):
    """How soon a person should read; the words are those of the pre-read's vocabulary."""

    CRITICAL = "critical"
    URGENT = "urgent"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """0 for the most urgent: the worklist's first order and the pre-read queue's priority."""
        return list(Urgency).index(self)


class Patient(Base):
    """A patient as one organisation knows them; the same person elsewhere is another row."""

    __tablename__ = "patients"
    __table_args__ = (UniqueConstraint("organisation_id", "identifier"),)

    id: Mapped[Key]
    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), index=True)
    #: Patient ID (0010,0020).
    identifier: Mapped[str] = mapped_column(String(64))
    #: Patient's Name (0010,0010) as a person writes it: the ideographic group where there is one.
    name: Mapped[str] = mapped_column(String(256), index=True)
    #: The alphabetic group, or pinyin made from the name: for search.
    name_latin: Mapped[str] = mapped_column(String(256), index=True)
    #: The name's characters, pinyin and initials as one text, for search.
    search_words: Mapped[str] = mapped_column(Text, default="")
    sex: Mapped[str] = mapped_column(String(1), default="")
    birth_date: Mapped[date | None]


class Study(Base):
    """A study on its way from a device to a signed report."""

    __tablename__ = "studies"
    __table_args__ = (Index("ix_studies_worklist", "state", "reported_at", "urgency_rank", "first_received_at"),)

    id: Mapped[Key]
    study_instance_uid: Mapped[Uid] = mapped_column(unique=True)
    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), index=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    accession_number: Mapped[str] = mapped_column(String(64), default="", index=True)
    description: Mapped[str] = mapped_column(String(256), default="")
    body_part: Mapped[str] = mapped_column(String(64), default="")
    #: Modality of the first instance; a study of several has the others in its instances.
    modality: Mapped[str] = mapped_column(String(16), default="", index=True)
    #: When the device made it, aware UTC, read in the county's time zone.
    performed_at: Mapped[datetime | None]
    #: Patient's Age (0010,1010) in years when the device gave it or it follows from the birth date.
    age_years: Mapped[float | None]

    state: Mapped[StudyState] = mapped_column(words(StudyState), default=STUDY.start, index=True)
    #: Times it has settled; a pre-read belongs to one revision.
    revision: Mapped[int] = mapped_column(default=0)
    #: What the device or an order asked for.
    requested_urgency: Mapped[Urgency] = mapped_column(words(Urgency), default=Urgency.ROUTINE)
    urgency: Mapped[Urgency] = mapped_column(words(Urgency), default=Urgency.ROUTINE)
    #: ``urgency.rank``, kept for the worklist's index.
    urgency_rank: Mapped[int] = mapped_column(default=Urgency.ROUTINE.rank)

    instance_count: Mapped[int] = mapped_column(default=0)
    #: Instances that the device itself said it made (MPPS, commitment); None where it did not say.
    expected_instances: Mapped[int | None]
    first_received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]

    #: When a report over all of its present images was signed; None while a doctor still has to read. A late image makes
    #: it None again. Kept here for the worklist's index.
    reported_at: Mapped[datetime | None]

    #: The doctor who is reading it, and when they last touched it.
    claimed_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    claimed_at: Mapped[datetime | None]

    organisation: Mapped[Organisation] = relationship()
    patient: Mapped[Patient] = relationship()
    claimed_by: Mapped[User | None] = relationship()

    def rank_as(self, urgency: Urgency) -> None:
        """Set the urgency that the worklist sorts by."""
        self.urgency = urgency
        self.urgency_rank = urgency.rank
