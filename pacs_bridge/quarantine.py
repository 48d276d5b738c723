"""Sets an instance down in the quarantine's list, with its reason and what to do, wherever on its way it was found unfit."""

from __future__ import annotations

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import now
from core.errors import SumuError
from core.tables import Quarantined

log = structlog.get_logger("quarantine")


def set_down(
    session: Session,
    file_name: str,
    error: SumuError,
    *,
    actor: str,
    device_id: int | None = None,
    sop_instance_uid: str | None = None,
    study_id: int | None = None,
) -> None:
    """Write why ``file_name`` lies in the quarantine folder, once; repeating it is harmless.

    ``actor`` is who brought it, in the words of the audit chain. With ``study_id`` the study's reader is told.
    """
    if session.scalar(select(Quarantined.id).where(Quarantined.file_name == file_name)) is not None:
        return
    reason = str(error.args[0])
    session.add(
        Quarantined(
            at=now(),
            device_id=device_id,
            sop_instance_uid=sop_instance_uid[:64] if sop_instance_uid else None,
            study_id=study_id,
            file_name=file_name,
            reason=reason,
            remedy=error.remedy,
        )
    )
    subject = f"instance:{sop_instance_uid}" if sop_instance_uid else f"file:{file_name}"
    record(session, actor, "instance_quarantined", subject, {"reason": reason})
    log.warning("instance_quarantined", actor=actor, file=file_name, reason=reason, remedy=error.remedy)
