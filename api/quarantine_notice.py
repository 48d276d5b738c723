"""What of a study was set aside, so that its reader knows: another image under a known UID, an image that was refused."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.tables import Quarantined, Study

#: More than these are only counted.
MOST = 200


def set_aside_of(session: Session, study: Study) -> Sequence[Quarantined]:
    """Return what was set aside of a study that the caller took from ``core.access.visible_studies``, the latest first."""
    query = select(Quarantined).where(Quarantined.study_id == study.id).order_by(Quarantined.id.desc()).limit(MOST)
    return session.scalars(query).all()
