"""What engines say of studies, and what doctors think of it. A pre-read is never a report."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.lifecycles.preread import PRE_READ, PreReadState
from core.tables.base import Base, Key, words
from core.tables.studies import Study


class Verdict(StrEnum):
    """What the reading doctor did with a finding."""

    ACCEPTED = "accepted"
    STRUCK = "struck"


class PreRead(Base):
    """Everything that one engine says of one revision of a study."""

    __tablename__ = "pre_reads"
    __table_args__ = (UniqueConstraint("study_id", "revision", "engine"),)

    id: Mapped[Key]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    revision: Mapped[int]
    #: Name of the engine; ``none`` when no engine wants this kind of study.
    engine: Mapped[str] = mapped_column(String(32))
    state: Mapped[PreReadState] = mapped_column(words(PreReadState), default=PRE_READ.start, index=True)
    #: Code of the vocabulary when it was declined or there is no model.
    reason: Mapped[str | None] = mapped_column(String(64))
    #: What went wrong, for the person who mends it.
    error: Mapped[str | None] = mapped_column(Text)
    queued_at: Mapped[datetime]
    #: When its workflow was put into the durable queue; None after a crash in between, and it is put there again.
    enqueued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: ``[{name, version, weights_sha256, preprocessing}]``
    models: Mapped[list[Any]] = mapped_column(type_=Base.type_annotation_map[dict[str, Any]], default=list)
    #: What the pages draw beside the images; each engine's module names its keys.
    evidence: Mapped[dict[str, Any]] = mapped_column(default=dict)
    #: SOP Instance UID of the structured report in the archive.
    sr_sop_instance_uid: Mapped[str | None] = mapped_column(String(64))

    study: Mapped[Study] = relationship()
    findings: Mapped[list[Finding]] = relationship(cascade="all, delete-orphan", order_by="Finding.id", back_populates="pre_read")
    measurements: Mapped[list[Measurement]] = relationship(cascade="all, delete-orphan", order_by="Measurement.id")


class Finding(Base):
    """One statement of a pre-read, and the doctor's verdict on it."""

    __tablename__ = "findings"

    id: Mapped[Key]
    pre_read_id: Mapped[int] = mapped_column(ForeignKey("pre_reads.id"), index=True)
    code: Mapped[str] = mapped_column(String(64), index=True)
    probability: Mapped[float | None]
    #: ``{sop_instance_uid, frame, box}`` or None.
    region: Mapped[dict[str, Any] | None]
    verdict: Mapped[Verdict | None] = mapped_column(words(Verdict))
    verdict_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    verdict_at: Mapped[datetime | None]

    pre_read: Mapped[PreRead] = relationship(back_populates="findings")


class Measurement(Base):
    """One number of a pre-read."""

    __tablename__ = "measurements"

    id: Mapped[Key]
    pre_read_id: Mapped[int] = mapped_column(ForeignKey("pre_reads.id"), index=True)
    code: Mapped[str] = mapped_column(String(64))
    value: Mapped[float]
    sop_instance_uid: Mapped[str | None] = mapped_column(String(64))
