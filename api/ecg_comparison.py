"""The patient's earlier ECGs, to lay one over today's, and when a number has changed enough to be pointed at."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.access import Person, visible_studies
from core.tables import Instance, Study
from inference.ecg.waveform import ECG_SOP_CLASSES

_CHANGES = Path(__file__).parent / "web" / "ecg_changes.toml"
#: Earlier recordings that the page offers.
_MOST = 8


@dataclass(frozen=True, kw_only=True)
class EarlierEcg:
    """The first recording of an earlier study of the same patient."""

    study: Study
    instance: Instance
    at: datetime


def earlier_ecgs(session: Session, person: Person, study: Study) -> Sequence[EarlierEcg]:
    """Return earlier recordings of the patient that ``person`` may see, newest first, one a study."""
    taken = func.coalesce(Study.performed_at, Study.first_received_at)
    query = visible_studies(person).where(
        Study.patient_id == study.patient_id,
        Study.id != study.id,
        taken < (study.performed_at or study.first_received_at),
        select(Instance.id).where(Instance.study_id == Study.id, Instance.sop_class_uid.in_(ECG_SOP_CLASSES)).exists(),
    )
    found = []
    for one in session.scalars(query.order_by(taken.desc()).limit(_MOST)):
        recordings = select(Instance).where(Instance.study_id == one.id, Instance.sop_class_uid.in_(ECG_SOP_CLASSES))
        instance = session.scalars(recordings.order_by(Instance.instance_number, Instance.id).limit(1)).one()
        found.append(EarlierEcg(study=one, instance=instance, at=one.performed_at or one.first_received_at))
    return found


@cache
def changes() -> Mapping[str, float]:
    """Return by code of the measurement how far two recordings must differ before the page points at it."""
    limits = tomllib.loads(_CHANGES.read_text(encoding="utf-8"))["changed_from"]
    return {str(code): float(limit) for code, limit in limits.items()}
