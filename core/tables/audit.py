"""The trace of every use of a patient's data, chained by hash."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base, Key, Sha256


class AuditEvent(Base):
    """Who did what to which thing, when. Rows are added, never changed; see core.audit."""

    __tablename__ = "audit_events"

    id: Mapped[Key]
    at: Mapped[datetime]
    #: ``user:NAME``, ``device:AE``, ``film:ID``, ``process:NAME``.
    actor: Mapped[str] = mapped_column(String(96), index=True)
    action: Mapped[str] = mapped_column(String(48), index=True)
    #: ``study:UID``, ``device:AE`` and so on.
    subject: Mapped[str] = mapped_column(String(128), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    #: Hash of the event before; unique, so the chain cannot fork.
    previous: Mapped[Sha256] = mapped_column(unique=True)
    hash: Mapped[Sha256] = mapped_column(unique=True)
