"""What doctors measured on ECGs themselves. Rows are added, never changed: of each recording the newest one counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.tables.base import Base, Key, Uid
from core.tables.people import User
from core.tables.studies import Study


class EcgMeasurement(Base):
    """One doctor's lines on one recording and the intervals that follow from them.

    Whose data it is, its study says.
    """

    __tablename__ = "ecg_measurements"
    __table_args__ = (Index("ix_ecg_measurements_recording", "study_id", "sop_instance_uid"),)

    id: Mapped[Key]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    #: The recording.
    sop_instance_uid: Mapped[Uid]
    #: ms from R: ``p_on``, ``p_off``, ``qrs_on``, ``qrs_off``, ``t_on``, ``t_off``, null for a wave that the doctor does not see.
    #: None when the doctor took the measurement back.
    lines: Mapped[dict[str, Any] | None]
    #: Mean RR interval in ms that the corrected QT was computed with.
    rr_ms: Mapped[float | None]
    #: By code of the vocabulary's measurements; what is not among them the doctor could not measure.
    values: Mapped[dict[str, Any]] = mapped_column(default=dict)
    measured_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    measured_at: Mapped[datetime]

    study: Mapped[Study] = relationship()
    measured_by: Mapped[User] = relationship()
