"""Custody: one row for each instance that we have acknowledged, and for each that we set aside."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.lifecycles.custody import CUSTODY, CustodyState
from core.tables.base import Base, Key, Sha256, Uid, words
from core.tables.organisations import Device
from core.tables.studies import Study


class Door(StrEnum):
    """How an instance came into the house."""

    C_STORE = "c_store"
    #: An edge node, or another system with a device's token, brought it over HTTPS (PS3.18 10.5).
    STOW = "stow"
    #: It stood in Orthanc before we knew of it: DICOMweb, Orthanc's own pages, a restored backup.
    ARCHIVE = "archive"
    #: A person brought it as a file: a CD, a USB stick, an ECG machine's own format.
    IMPORT = "import"
    #: We made it: a pre-read's structured report.
    OURS = "ours"


class Association(Base):
    """One DICOM association: evidence of when a device had no more to send (PS3.8 7)."""

    __tablename__ = "associations"

    #: Made by the node when it accepts.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id"), index=True)
    #: The node process, ``machine/node-name``; after a crash, a node ends what its predecessor of that name left open.
    node: Mapped[str] = mapped_column(String(128), index=True)
    address: Mapped[str] = mapped_column(String(64))
    opened_at: Mapped[datetime]
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    #: ``released``, ``aborted`` or ``lost``.
    outcome: Mapped[str | None] = mapped_column(String(16))


class Instance(Base):
    """One SOP instance in our keeping."""

    __tablename__ = "instances"
    __table_args__ = (Index("ix_instances_due", "state", "next_try_at"),)

    id: Mapped[Key]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    sop_instance_uid: Mapped[Uid] = mapped_column(unique=True)
    sop_class_uid: Mapped[Uid]
    series_instance_uid: Mapped[Uid] = mapped_column(index=True)
    transfer_syntax_uid: Mapped[Uid]
    modality: Mapped[str] = mapped_column(String(16), default="")
    instance_number: Mapped[int | None]
    frames: Mapped[int] = mapped_column(default=1)

    #: Bytes of the data set as received, without preamble and file meta information.
    size: Mapped[int] = mapped_column(BigInteger)
    #: Of the same bytes.
    sha256: Mapped[Sha256]
    door: Mapped[Door] = mapped_column(words(Door))
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id"), index=True)
    association_id: Mapped[str | None] = mapped_column(ForeignKey("associations.id"), index=True)
    #: Times that the device sent the same bytes again.
    repeats: Mapped[int] = mapped_column(default=0)

    state: Mapped[CustodyState] = mapped_column(words(CustodyState), default=CUSTODY.start)
    #: The machine whose spool holds the file (``settings.machine``).
    machine: Mapped[str] = mapped_column(String(64))
    #: Name of the file in that spool; None when the archive alone holds it.
    spool_name: Mapped[str | None] = mapped_column(String(255))
    #: Identifier in Orthanc.
    archive_id: Mapped[str | None] = mapped_column(String(64))
    received_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    compared_at: Mapped[datetime | None]
    #: When a device was told that we keep it (PS3.4 J).
    committed_at: Mapped[datetime | None]

    #: What the text truly is, where that is not what the device declared: the archive gets a repaired copy.
    repair_character_set: Mapped[str | None] = mapped_column(String(64))
    #: SHA-256 of the data set that the archive must hold, where it is not the one that was received.
    delivered_sha256: Mapped[Sha256 | None]
    #: Name of the received file among the originals, where the archive holds another form of it.
    original_name: Mapped[str | None] = mapped_column(String(255))

    #: Times that the archive died while it was being delivered.
    deaths: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)

    study: Mapped[Study] = relationship()
    device: Mapped[Device | None] = relationship()


class Quarantined(Base):
    """Something that was set aside with its reason; nothing else stopped for it."""

    __tablename__ = "quarantined"

    id: Mapped[Key]
    at: Mapped[datetime]
    device_id: Mapped[int | None] = mapped_column(ForeignKey("devices.id"), index=True)
    sop_instance_uid: Mapped[str | None] = mapped_column(String(64), index=True)
    #: The study whose reader has to know.
    study_id: Mapped[int | None] = mapped_column(ForeignKey("studies.id"), index=True)
    #: Name of the file in the quarantine folder; unique, so that a step taken twice leaves one row.
    file_name: Mapped[str] = mapped_column(String(255), unique=True)
    reason: Mapped[str] = mapped_column(Text)
    remedy: Mapped[str] = mapped_column(Text)


class CharacterSetSighting(Base):
    """How often a device declared one character set and wrote another."""

    __tablename__ = "character_set_sightings"
    __table_args__ = (UniqueConstraint("device_id", "declared", "found"),)

    id: Mapped[Key]
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    #: Specific Character Set (0008,0005) as sent, values joined by backslashes; empty where none was.
    declared: Mapped[str] = mapped_column(String(128))
    #: What the bytes are; ``undecided`` where nobody can tell.
    found: Mapped[str] = mapped_column(String(64))
    count: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[datetime]
    #: An instance to look at.
    example_uid: Mapped[Uid]


class Commitment(Base):
    """A device's question whether we keep its instances (PS3.4 J.3), and how it was answered."""

    __tablename__ = "commitments"
    __table_args__ = (UniqueConstraint("device_id", "transaction_uid"),)

    id: Mapped[Key]
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    transaction_uid: Mapped[Uid]
    #: SOP Class and SOP Instance UID of everything that was asked about.
    asked: Mapped[list[list[str]]] = mapped_column(JSON)
    requested_at: Mapped[datetime]
    #: When the device took the answer; None while it has not.
    answered_at: Mapped[datetime | None] = mapped_column(index=True)
    #: SOP Instance UIDs that we do not keep.
    failed: Mapped[list[str]] = mapped_column(JSON, default=list)
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)
