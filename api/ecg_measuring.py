"""A doctor's own measurement of an ECG: lines moved on the averaged beat, the intervals that follow, who did it and when.

The pre-read stays as the engine said it. Each saving is a row and an event of the audit chain, and the newest row of a recording
is what holds; taking it back is a row without lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from api.ecg_evidence import LINES
from api.refusals import N_, Refusal
from core import audit
from core.access import Permission, Person
from core.clock import now
from core.tables import EcgMeasurement, Study

#: What six lines can say. Of a recording that a doctor has measured no machine's word counts for these, not even where the
#: doctor saw nothing to measure.
MEASURED = ("ecg_pr", "ecg_qrs", "ecg_qt", "ecg_qtc_bazett", "ecg_qtc_fridericia")
#: ms from R that a beat can reach, before and after.
_FARTHEST = 2_000.0


class LinesOutOfOrder(Refusal):
    """The lines do not stand in the order in which a heart beats."""

    status = 422
    message_id = N_("The lines are not in the order P, QRS, T.")
    remedy_id = N_("Move them so that P ends before QRS begins and T begins after QRS ends, and save again.")


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
    standing = None if lines is None else {name: lines.get(name) for name in LINES}
    row = EcgMeasurement(
        study_id=study.id,
        sop_instance_uid=sop_instance_uid,
        lines=standing,
        rr_ms=None if standing is None else rr_ms,
        values={} if standing is None else values_of(standing, rr_ms),
        measured_by_id=person.user_id,
        measured_at=now(),
    )
    session.add(row)
    action = "ecg_measurement_taken_back" if standing is None else "ecg_measured"
    said = {} if standing is None else {"lines_ms": standing, "rr_ms": rr_ms, "values": row.values}
    audit.record(
        session, person.actor, action, f"study:{study.study_instance_uid}", {"sop_instance_uid": sop_instance_uid, **said}
    )


def measurements_of(session: Session, study: Study) -> dict[str, EcgMeasurement]:
    """Return the doctors' measurements that hold, by recording, each with the person who measured."""
    newest = select(func.max(EcgMeasurement.id)).where(EcgMeasurement.study_id == study.id)
    query = select(EcgMeasurement).where(EcgMeasurement.id.in_(newest.group_by(EcgMeasurement.sop_instance_uid)))
    rows = session.scalars(query.options(joinedload(EcgMeasurement.measured_by)).order_by(EcgMeasurement.id))
    return {row.sop_instance_uid: row for row in rows if row.lines is not None}


def holding_values(machine: Mapping[str, float], measured: EcgMeasurement | None) -> dict[str, float]:
    """Return the numbers of one recording that hold: the doctor's where a doctor has measured, the machine's for the rest."""
    if measured is None:
        return dict(machine)
    return {**{code: value for code, value in machine.items() if code not in MEASURED}, **measured.values}
