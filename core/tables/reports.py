"""Reports: a person's words about a study, every signed version kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.lifecycles.report import REPORT, ReportState
from core.tables.base import Base, Key, words
from core.tables.people import User
from core.tables.studies import Study


class Report(Base):
    """The report of one study. Its text lives in its versions."""

    __tablename__ = "reports"

    id: Mapped[Key]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), unique=True)
    state: Mapped[ReportState] = mapped_column(words(ReportState), default=REPORT.start, index=True)
    created_at: Mapped[datetime]

    study: Mapped[Study] = relationship()
    versions: Mapped[list[ReportVersion]] = relationship(order_by="ReportVersion.number", back_populates="report")


class ReportVersion(Base):
    """One version: open while it is a draft, unchangeable once signed."""

    __tablename__ = "report_versions"
    __table_args__ = (UniqueConstraint("report_id", "number"),)

    id: Mapped[Key]
    report_id: Mapped[int] = mapped_column(ForeignKey("reports.id"), index=True)
    number: Mapped[int]
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    #: 检查所见
    findings: Mapped[str] = mapped_column(Text, default="")
    #: 印象
    impression: Mapped[str] = mapped_column(Text, default="")
    #: The doctor's own word that this is a critical value (危急值).
    critical: Mapped[bool] = mapped_column(default=False)
    saved_at: Mapped[datetime]
    signed_at: Mapped[datetime | None]
    signed_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    #: SHA-256 of the signed PDF, which lies under this name in the data folder's ``reports``.
    pdf_sha256: Mapped[str | None] = mapped_column(String(64))

    report: Mapped[Report] = relationship(back_populates="versions")
    author: Mapped[User] = relationship(foreign_keys=author_id)
    signed_by: Mapped[User | None] = relationship(foreign_keys=signed_by_id)
