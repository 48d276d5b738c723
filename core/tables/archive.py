"""How far we have heard of what happens in the archive."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Base


class ArchiveCursor(Base):
    """The last of an Orthanc's changes that we have taken in."""

    __tablename__ = "archive_cursors"

    #: The name that our plugin gave the archive when it first ran there; a new archive starts again from its first change.
    archive: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_change: Mapped[int] = mapped_column(BigInteger, default=0)
