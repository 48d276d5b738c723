"""Examinations that were asked for, and the steps in which devices performed them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.lifecycles.order import ORDER, OrderState
from core.tables.base import Base, Key, Uid, words
from core.tables.organisations import Device, Organisation
from core.tables.studies import Patient, Urgency


class OrderSource(StrEnum):
    """How an order came."""

    PAGE = "page"
    HL7 = "hl7"
    FHIR = "fhir"


class Order(Base):
    """One scheduled procedure step: what a device finds in its worklist (PS3.4 K.6)."""

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("organisation_id", "accession_number"),
        Index("ix_orders_worklist", "organisation_id", "state", "scheduled_at"),
    )

    id: Mapped[Key]
    #: Where it is to be examined.
    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), index=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"), index=True)
    accession_number: Mapped[str] = mapped_column(String(16))
    #: The number that the asking system gave it (ORC-2, ServiceRequest.identifier).
    placer_number: Mapped[str] = mapped_column(String(64), default="", index=True)
    study_instance_uid: Mapped[Uid] = mapped_column(unique=True)
    modality: Mapped[str] = mapped_column(String(16))
    body_part: Mapped[str] = mapped_column(String(64), default="")
    description: Mapped[str] = mapped_column(String(256))
    #: Why: the asking doctor's own words.
    reason: Mapped[str] = mapped_column(Text, default="")
    requested_by: Mapped[str] = mapped_column(String(64), default="")
    urgency: Mapped[Urgency] = mapped_column(words(Urgency), default=Urgency.ROUTINE)
    #: The machine that it is meant for; None: any of this modality in the organisation.
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id"), index=True)
    scheduled_at: Mapped[datetime]
    state: Mapped[OrderState] = mapped_column(words(OrderState), default=ORDER.start)
    source: Mapped[OrderSource] = mapped_column(words(OrderSource))
    created_at: Mapped[datetime]

    organisation: Mapped[Organisation] = relationship()
    patient: Mapped[Patient] = relationship()
    device: Mapped[Device | None] = relationship()


class PerformedStep(Base):
    """A modality performed procedure step as its device tells it (PS3.4 F.7)."""

    __tablename__ = "performed_steps"

    id: Mapped[Key]
    sop_instance_uid: Mapped[Uid] = mapped_column(unique=True)
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"), index=True)
    study_instance_uid: Mapped[Uid] = mapped_column(index=True)
    #: IN PROGRESS, COMPLETED or DISCONTINUED (0040,0252).
    status: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    #: Everything that the device said, as DICOM JSON (PS3.18 F).
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)
