"""Who examines, who reads, who advises: the tree of organisations, and the devices that stand in them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.tables.base import Base, Key, Sha256, Uid, words


class Level(StrEnum):
    """Where an organisation stands in the tree."""

    CITY = "city"
    COUNTY = "county"
    TOWNSHIP = "township"


class Organisation(Base):
    """A hospital or a township health centre. A parent sees what its children examine."""

    __tablename__ = "organisations"

    id: Mapped[Key]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("organisations.id"), index=True)
    level: Mapped[Level] = mapped_column(words(Level))
    #: 统一社会信用代码, 18 characters, or a short code of the county's own.
    code: Mapped[str] = mapped_column(String(18), unique=True)
    name_zh: Mapped[str] = mapped_column(String(128))
    name_en: Mapped[str] = mapped_column(String(128))

    parent: Mapped[Organisation | None] = relationship(remote_side="Organisation.id")


class Device(Base):
    """A machine that may call the node, known by its AE title."""

    __tablename__ = "devices"

    id: Mapped[Key]
    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), index=True)
    ae_title: Mapped[str] = mapped_column(String(16), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    #: The one address that the device calls from; None: any.
    address: Mapped[str | None] = mapped_column(String(64))
    #: Port on which the device itself listens at that address: for what it fetches, and for reports about commitment.
    port: Mapped[int | None]
    #: It may call without TLS. Otherwise only its own certificate opens an association.
    plain: Mapped[bool] = mapped_column(default=False)
    #: The certificate that it shows, PEM.
    certificate: Mapped[str | None] = mapped_column(Text)
    #: SHA-256 of the same (DER).
    certificate_sha256: Mapped[Sha256 | None] = mapped_column(index=True)
    #: SHA-256 of the token that it shows at the HTTPS doors, or as passcode of its user identity (PS3.7 D.3.3.7).
    token_hash: Mapped[Sha256 | None] = mapped_column(unique=True)

    may_store: Mapped[bool] = mapped_column(default=True)
    #: It may ask for its modality worklist and tell how steps go on.
    may_ask_worklist: Mapped[bool] = mapped_column(default=True)
    #: It may search and fetch what its organisation and those below it examined.
    may_query: Mapped[bool] = mapped_column(default=False)
    #: It is a township's edge node: it brings what other devices of its organisation sent.
    may_forward: Mapped[bool] = mapped_column(default=False)
    #: It is told when a study that it may see has settled and the archive holds all of it (PS3.4 R).
    told_of_availability: Mapped[bool] = mapped_column(default=False)

    #: Specific Character Set (0008,0005) in which worklist answers reach it; what it cannot show is written in pinyin.
    worklist_character_set: Mapped[str] = mapped_column(String(64), default="GB18030")
    #: What its text truly is, whatever it declares; set by a person who looked.
    character_set_rule: Mapped[str | None] = mapped_column(String(64))
    #: Larger instances are refused; None: any size.
    max_instance_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: More in one minute are refused until the next; None: any number.
    max_instances_per_minute: Mapped[int | None]

    admitted_at: Mapped[datetime]
    #: Set when the device is shut out; it is refused from then on.
    dismissed_at: Mapped[datetime | None]

    organisation: Mapped[Organisation] = relationship()


class AvailabilityNotice(Base):
    """A study of which a device is to be told that it can be fetched (PS3.4 R): one row for each device and study."""

    __tablename__ = "availability_notices"
    __table_args__ = (UniqueConstraint("device_id", "study_id"),)

    id: Mapped[Key]
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    #: The study's own; a late image makes another, of which the device is told again.
    revision: Mapped[int]
    #: Of the notification; the same at every try.
    sop_instance_uid: Mapped[Uid] = mapped_column(unique=True)
    #: When the device took it; None while it has not.
    answered_at: Mapped[datetime | None] = mapped_column(index=True)
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)


class RefusedCaller(Base):
    """A machine that called and was not let in: an administrator admits it from this list, or leaves it."""

    __tablename__ = "refused_callers"
    __table_args__ = (UniqueConstraint("ae_title", "address"),)

    id: Mapped[Key]
    ae_title: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    certificate_sha256: Mapped[Sha256 | None]
    #: Why the last call was refused, and what to do about it.
    reason: Mapped[str] = mapped_column(String(512))
    remedy: Mapped[str] = mapped_column(String(512))
    calls: Mapped[int] = mapped_column(default=1)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime] = mapped_column(index=True)
