"""Heights and areas of the waves: frontal axes, voltage criteria, the ST segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, degrees, hypot, sqrt
from statistics import median

import numpy as np
import numpy.typing as npt

from inference.ecg.beats import Beat
from inference.ecg.delineation import RATE

_LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
_CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
#: Leads that look at neighbouring walls (Fourth Universal Definition of MI, 2018); -aVR, between I and II, is left out.
_FRONTAL_NEIGHBOURS = tuple(pairwise(("aVL", "I", "II", "aVF", "III")))
_CHEST_NEIGHBOURS = tuple(pairwise(_CHEST))
#: Where the zero line is taken: the 20 ms before the QRS, after P has ended.
_BEFORE_QRS = round(0.020 * RATE)
#: Where ST is read beside the J point.
_AFTER_J = round(0.060 * RATE)
#: Where each limb lead looks in the frontal plane, degrees, and what it sees of a vector that lies there, of lead I's share.
_LIMB_ANGLES = {"I": 0.0, "II": 60.0, "III": 120.0, "aVR": -150.0, "aVL": -30.0, "aVF": 90.0}
_AUGMENTED = sqrt(3) / 2
#: Net areas below this many mV*ms in both limb leads, and net heights below this many mV, have no direction worth a number.
_SMALLEST_VECTOR, _SMALLEST_HEIGHT = 1.0, 0.1


@dataclass(frozen=True, kw_only=True)
class Amplitudes:
    """Medians over the beats; millivolts above the line before the QRS."""

    #: By lead: highest and (as a positive number) deepest value inside the QRS.
    r: Mapping[str, float]
    s: Mapping[str, float]
    #: By lead: level at the end of the QRS, the J point.
    j: Mapping[str, float]
    #: By lead: level 60 ms later.
    st60: Mapping[str, float]
    axis_qrs: float | None
    axis_p: float | None
    axis_t: float | None

    def by_lead(self) -> dict[str, dict[str, float]]:
        """Return what a page shows of each lead, mV."""
        return {
            name: {kind: round(row[name], 3) for kind, row in (("r", self.r), ("s", self.s), ("j", self.j), ("st60", self.st60))}
            for name in self.r
        }

    @property
    def sokolow_lyon(self) -> float | None:
        """S in V1 and the taller R of V5 and V6 (Sokolow and Lyon 1949)."""
        return self.s["V1"] + max(self.r["V5"], self.r["V6"]) if {"V1", "V5", "V6"} <= self.r.keys() else None

    @property
    def cornell(self) -> float | None:
        """R in aVL and S in V3 (Casale 1985)."""
        return self.r["aVL"] + self.s["V3"] if {"aVL", "V3"} <= self.r.keys() else None

    def facts(self) -> dict[str, float]:
        """What the rules ask of voltages."""
        swing = {name: self.r[name] + self.s[name] for name in self.r}
        facts = {}
        if set(_LIMB) <= swing.keys():
            facts["limb_voltage_mv"] = max(swing[name] for name in _LIMB)
        if set(_CHEST) <= swing.keys():
            facts["chest_voltage_mv"] = max(swing[name] for name in _CHEST)
        if pairs := [min(self.j[a], self.j[b]) for a, b in _FRONTAL_NEIGHBOURS if {a, b} <= self.j.keys()]:
            facts["st_limb_mv"] = max(pairs)
        for name, group in (("st_v1_v3_mv", ("V1", "V2", "V3")), ("st_v4_v6_mv", ("V4", "V5", "V6"))):
            inside = [(a, b) for a, b in _CHEST_NEIGHBOURS if a in group and b in group and {a, b} <= self.j.keys()]
            if inside:
                facts[name] = max(min(self.j[a], self.j[b]) for a, b in inside)
        return facts


def amplitudes_of(beats: Sequence[Beat], signals: Mapping[str, npt.NDArray[np.float64]]) -> Amplitudes:
    """Measure the heights of all leads; ``signals`` are microvolts at ``RATE``."""

    def over_beats(row: npt.NDArray[np.float64], of: Callable[[npt.NDArray[np.float64]], float]) -> float:
        return median(of((_qrs(row, beat) - _zero(row, beat)) / 1000) for beat in beats)

    r = {name: max(0.0, over_beats(row, lambda qrs: float(qrs.max()))) for name, row in signals.items()}
    s = {name: max(0.0, -over_beats(row, lambda qrs: float(qrs.min()))) for name, row in signals.items()}
    return Amplitudes(
        r=r,
        s=s,
        j={name: over_beats(row, lambda qrs: float(qrs[-1])) for name, row in signals.items()},
        st60={name: median(_level_after_j(row, beat) for beat in beats) for name, row in signals.items()},
        axis_qrs=_axis_of_heights({name: r[name] - s[name] for name in _LIMB_ANGLES if name in r}),
        axis_p=_axis(signals, [(b, b.p_on, b.p_off) for b in beats if b.p_on is not None and b.p_off is not None], before="p"),
        axis_t=_axis(signals, [(b, b.t_on, b.t_off) for b in beats if b.t_on is not None and b.t_off is not None]),
    )


def _qrs(row: npt.NDArray[np.float64], beat: Beat) -> npt.NDArray[np.float64]:
    return row[round(beat.qrs_on * RATE) : round(beat.qrs_off * RATE) + 1]


def _level_after_j(row: npt.NDArray[np.float64], beat: Beat) -> float:
    at = min(len(row) - 1, round(beat.qrs_off * RATE) + _AFTER_J)
    return float(row[at] - _zero(row, beat)) / 1000


def _zero(row: npt.NDArray[np.float64], beat: Beat, at: float | None = None) -> float:
    onset = round((beat.qrs_on if at is None else at) * RATE)
    return float(np.mean(row[max(0, onset - _BEFORE_QRS) : onset + 1]))


def _axis_of_heights(net: Mapping[str, float]) -> float | None:
    """Direction of the vector that R less S of the limb leads fit best, -180 to 180 degrees; None below two leads."""
    if len(net) < 2:
        return None
    angles = np.radians([_LIMB_ANGLES[name] for name in net])
    shares = np.array([_AUGMENTED if name.startswith("a") else 1.0 for name in net])
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1) * shares[:, None]
    (one, foot), *_ = np.linalg.lstsq(directions, np.array(list(net.values())), rcond=None)
    return degrees(atan2(foot, one)) if hypot(one, foot) >= _SMALLEST_HEIGHT else None


def _axis(
    signals: Mapping[str, npt.NDArray[np.float64]], stretches: Sequence[tuple[Beat, float, float]], *, before: str = "qrs"
) -> float | None:
    """Angle of the net areas in I and aVF, -180 to 180 degrees; 2/sqrt(3) is aVF's gain against I in Einthoven's triangle."""
    if not stretches or not {"I", "aVF"} <= signals.keys():
        return None
    one, foot = (
        median(
            float(np.sum(row[round(begin * RATE) : round(end * RATE) + 1] - _zero(row, beat, begin if before == "p" else None)))
            / RATE
            for beat, begin, end in stretches
        )
        for row in (signals["I"], signals["aVF"])
    )
    foot *= 2 / sqrt(3)
    # Microvolts times seconds are mV*ms.
    return degrees(atan2(foot, one)) if hypot(one, foot) >= _SMALLEST_VECTOR else None
