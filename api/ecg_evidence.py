"""What the pre-read stored of one recording: beats, numbers, what they rest on, where its lines stand on the averaged beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from api.preread_words import latest
from api.web.ecg_paper import Beat
from core.tables import PreRead, Study

#: Lines that a doctor can move, in the order of time.
LINES = ("p_on", "p_off", "qrs_on", "qrs_off", "t_on", "t_off")


@dataclass(frozen=True, kw_only=True)
class EcgEvidence:
    """One recording as the pre-read left it (``inference.ecg.engine``)."""

    beats: Sequence[Beat] = ()
    #: By code of the vocabulary's measurements.
    values: Mapping[str, float]
    #: Everything that the engine noted, by its keys.
    noted: Mapping[str, Any] = field(default_factory=dict)
    #: Name and version of the model that measured.
    model: str = ""

    @property
    def rr_ms(self) -> float | None:
        """Mean RR interval: the stored one, or else that of the beats; None with fewer than three beats."""
        if "ecg_rr" in self.values:
            return self.values["ecg_rr"]
        peaks = [float(beat["r"]) for beat in self.beats]
        return float(np.diff(peaks).mean() * 1000) if len(peaks) >= 3 else None

    @property
    def lines(self) -> dict[str, float | None] | None:
        """Return the six lines in ms from R, medians over the beats, placed so that they say the stored intervals.

        None without beats; a line is None when fewer than half of the beats show its wave.
        """
        if not self.beats:
            return None
        lines = {name: self._offset(name) for name in LINES}
        onset = lines["qrs_on"]
        if onset is not None:
            for name, code, sign in (("p_on", "ecg_pr", -1), ("qrs_off", "ecg_qrs", 1), ("t_off", "ecg_qt", 1)):
                if code in self.values:
                    lines[name] = onset + sign * self.values[code]
        return {name: None if at is None else round(at, 1) for name, at in lines.items()}

    def _offset(self, name: str) -> float | None:
        seen = [(float(at) - float(beat["r"])) * 1000 for beat in self.beats if (at := beat.get(name)) is not None]
        return median(seen) if len(seen) * 2 >= len(self.beats) else None


def evidence_of(session: Session, study: Study, sop_instance_uid: str) -> EcgEvidence | None:
    """Return what the newest ECG pre-read says of one recording of ``study``, or None when it says nothing."""
    query = select(PreRead).where(PreRead.study_id == study.id, PreRead.engine == "ecg")
    for pre_read in latest(session.scalars(query.options(selectinload(PreRead.measurements))).all()):
        kept: list[dict[str, Any]] = [pre_read.evidence, *pre_read.evidence.get("others", [])]
        for one in kept:
            if one.get("sop_instance_uid") == sop_instance_uid:
                numbers = [number for number in pre_read.measurements if number.sop_instance_uid == sop_instance_uid]
                model = pre_read.models[0] if pre_read.models else {}
                return EcgEvidence(
                    beats=one.get("beats") or [],
                    values={number.code: number.value for number in numbers},
                    noted={"reason": pre_read.reason, **one},
                    model=f"{model.get('name', '')} {model.get('version', '')}".strip(),
                )
    return None
