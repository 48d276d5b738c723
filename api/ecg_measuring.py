"""A doctor's own measurement of an ECG: lines moved on the averaged beat, the intervals that follow, who did it and when.

The pre-read stays as the engine said it. Each saving is an event of the audit chain, ``ecg_measured``, and its newest is what
holds; taking it back is an event too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.ecg_evidence import LINES
from api.refusals import N_, Refusal
from core import audit
from core.access import Permission, Person
from core.tables import AuditEvent, Study, User

_MEASURED, _TAKEN_BACK = "ecg_measured", "ecg_measurement_taken_back"
#: ms from R that a beat can reach, before and after.
_FARTHEST = 2_000.0


class LinesOutOfOrder(Refusal):
    """The lines do not stand in the order in which a heart beats."""

    status = 422
    message_id = N_("The lines are not in the order P, QRS, T.")
    remedy_id = N_("Move them so that P ends before QRS begins and T begins after QRS ends, and save again.")


@dataclass(frozen=True, kw_only=True)
class EcgMeasurement:
    """What one doctor measured on one recording."""

    #: ms from R by name out of ``LINES``; None for a wave that the doctor does not see.
    lines: Mapping[str, float | None]
    #: By code of the vocabulary's measurements.
    values: Mapping[str, float]
    by: str
    at: datetime


def values_of(lines: Mapping[str, float | None], rr_ms: float | None) -> dict[str, float]:
    """Return PR, QRS, QT and both corrected QT (Bazett 1920, Fridericia 1920) of six lines; what cannot be measured is left out.

    Raises
    ------
    LinesOutOfOrder
        If a wave begins before the one before it has ended, or QRS has no two ends.
    """
    standing = [at for name in LINES if (at := lines.get(name)) is not None]
    if any(later < earlier for earlier, later in pairwise(standing)) or any(abs(at) > _FARTHEST for at in standing):
        raise LinesOutOfOrder
    p_on, qrs_on, qrs_off, t_off = (lines.get(name) for name in ("p_on", "qrs_on", "qrs_off", "t_off"))
    if qrs_on is None or qrs_off is None or qrs_off <= qrs_on:
        raise LinesOutOfOrder
    values = {"ecg_qrs": qrs_off - qrs_on}
    if p_on is not None:
        values["ecg_pr"] = qrs_on - p_on
    if t_off is not None:
        values["ecg_qt"] = qt = t_off - qrs_on
        if rr_ms:
            values["ecg_qtc_bazett"] = qt / (rr_ms / 1000) ** (1 / 2)
            values["ecg_qtc_fridericia"] = qt / (rr_ms / 1000) ** (1 / 3)
    return {code: round(value, 1) for code, value in values.items()}


def keep_measurement(
    session: Session,
    person: Person,
    study: Study,
    sop_instance_uid: str,
    lines: Mapping[str, float | None] | None,
    rr_ms: float | None,
) -> None:
    """Keep a doctor's lines with their intervals; None takes the measurement back.

    Raises
    ------
    LinesOutOfOrder
        If the lines cannot be those of a beat.
    """
    person.must(Permission.JUDGE_FINDINGS)
    detail: dict[str, object] = {"sop_instance_uid": sop_instance_uid}
    if lines is not None:
        standing = {name: lines.get(name) for name in LINES}
        detail |= {"lines_ms": standing, "rr_ms": rr_ms, "values": values_of(standing, rr_ms)}
    action = _TAKEN_BACK if lines is None else _MEASURED
    audit.record(session, person.actor, action, f"study:{study.study_instance_uid}", detail)


def measurement_of(session: Session, study: Study, sop_instance_uid: str) -> EcgMeasurement | None:
    """Return the doctor's measurement that holds for a recording, or None."""
    query = select(AuditEvent).where(
        AuditEvent.subject == f"study:{study.study_instance_uid}", AuditEvent.action.in_((_MEASURED, _TAKEN_BACK))
    )
    events = session.scalars(query.order_by(AuditEvent.id.desc())).all()
    event = next((one for one in events if one.detail.get("sop_instance_uid") == sop_instance_uid), None)
    if event is None or event.action == _TAKEN_BACK:
        return None
    username = event.actor.removeprefix("user:")
    name = session.scalar(select(User.display_name).where(User.username == username))
    return EcgMeasurement(lines=event.detail["lines_ms"], values=event.detail["values"], by=name or username, at=event.at)
