"""Who examines, who reads, who advises: the tree of organisations, and the devices that stand in them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.tables.base import Base, Key, words


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
    """A machine that may push to the node, known by its AE title."""

    __tablename__ = "devices"

    id: Mapped[Key]
    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), index=True)
    ae_title: Mapped[str] = mapped_column(String(16), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    #: The one address that the device calls from; None: any.
    address: Mapped[str | None] = mapped_column(String(64))
    admitted_at: Mapped[datetime]
    #: Set when the device is shut out; it is refused from then on.
    dismissed_at: Mapped[datetime | None]

    organisation: Mapped[Organisation] = relationship()
