"""Numbers of a recording: rate, intervals, axes, amplitudes, out of the beats.

A number that cannot be measured is absent, and ``absent`` says why; nothing here raises on noise or a single lead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import numpy as np
import numpy.typing as npt
from openecg import detect_qrs

from inference.ecg.amplitudes import Amplitudes, amplitudes_of
from inference.ecg.beat_kinds import with_kinds
from inference.ecg.beats import Beat, atrial_rate_of, beats_of
from inference.ecg.boundaries import with_global_boundaries
from inference.ecg.delineation import RATE, Delineator, at_rate
from inference.ecg.waveform import Ecg

#: Leads that show rhythm, best first.
_RHYTHM_LEADS = ("II", "V1", "I", "V5", "aVF", "III", "V2", "V6", "V4", "V3", "aVR", "aVL")
#: Leads in which the waves are sought, in order of preference, and how many: more cost time and mend nothing
#: (docs/decisions/ecg-delineation.md).
_DELINEATED_LEADS = ("II", "V1", "V5", "aVF", "I", "V3", "V2", "V4", "V6", "III", "aVL", "aVR")
_DELINEATED = 6
#: A PR interval is one number only while it stays put; a wandering one belongs to dissociated atria or flicker.
_PR_SPREAD_MS = 40.0
_P_IN_BEATS = 0.5


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What was measured."""

    beats: tuple[Beat, ...]
    rhythm_lead: str | None
    #: By code of the vocabulary's measurements.
    values: Mapping[str, float]
    #: Facts that only the rules use.
    facts: Mapping[str, float]
    #: By code of the measurement: the code of the vocabulary's reason.
    absent: Mapping[str, str]
    #: By lead: heights in mV, ``r``, ``s``, ``j`` and ``st60``, the level 60 ms after the J point.
    heights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def measure(ecg: Ecg, leads: Sequence[str], delineator: Delineator) -> Measures:
    """Measure a recording in the ``leads`` that are usable."""
    named = {name: row for name in leads if (row := ecg.lead(name)) is not None}
    rhythm_lead = next((name for name in _RHYTHM_LEADS if name in named), None)
    if rhythm_lead is None:
        return Measures(beats=(), rhythm_lead=None, values={}, facts={}, absent={"ecg_heart_rate": "ecg_too_noisy"})
    signals = dict(zip(named, at_rate(np.stack(list(named.values())), ecg.sampling_rate), strict=True))
    seen = [name for name in _DELINEATED_LEADS if name in signals][:_DELINEATED]
    waves = {name: delineator.waves(signals[name]) for name in seen}
    beats = with_kinds(with_global_boundaries(beats_of(waves, np.stack([signals[name] for name in seen])), signals), signals)
    values: dict[str, float] = {}
    facts: dict[str, float] = {"lead_count": float(len(named))}
    absent: dict[str, str] = {}
    _rhythm(beats, values, facts, absent)
    _intervals(usual_beats(beats), values, facts, absent)
    if not beats:
        return Measures(beats=beats, rhythm_lead=rhythm_lead, values=values, facts=facts, absent=absent)
    pause = longest_pause(beats, signals[rhythm_lead])
    if pause is not None:
        facts["pause_ms"] = pause
    atrial = atrial_rate_of(waves)
    if atrial is not None:
        facts["atrial_rate"] = atrial
    amplitudes = amplitudes_of(usual_beats(beats), signals)
    _voltages(amplitudes, values, facts, absent)
    return Measures(beats=beats, rhythm_lead=rhythm_lead, values=values, facts=facts, absent=absent, heights=amplitudes.by_lead())


def usual_beats(beats: Sequence[Beat]) -> Sequence[Beat]:
    """Return the beats that intervals and heights are measured of: without those that come early or from the ventricles."""
    return [beat for beat in beats if beat.kind not in ("V", "S")] or beats


def longest_pause(beats: Sequence[Beat], rhythm: npt.NDArray[np.float64]) -> float | None:
    """Return the longest time without a QRS in ms, in which a second detector finds none either.

    ``rhythm`` is one lead at ``RATE``.
    The stretch before the first and after the last beat counts: the RR interval that it belongs to is at least as long.
    """
    second = np.asarray(detect_qrs(rhythm, RATE), dtype=np.float64) / RATE
    marks = [0.0, *(beat.r for beat in beats), len(rhythm) / RATE]
    silent = [end - begin for begin, end in pairwise(marks) if not np.any((second > begin + 0.2) & (second < end - 0.2))]
    return max(silent) * 1000 if silent else None


def _rhythm(beats: Sequence[Beat], values: dict[str, float], facts: dict[str, float], absent: dict[str, str]) -> None:
    if not beats:
        absent["ecg_heart_rate"] = "ecg_no_beats"
        return
    conducted = [beat for beat in beats if beat.kind != "V"] or beats
    facts["p_share"] = sum(beat.p_on is not None for beat in conducted) / len(conducted)
    facts["ventricular_beats"] = float(sum(beat.kind == "V" for beat in beats))
    facts["supraventricular_beats"] = float(sum(beat.kind == "S" for beat in beats))
    if len(beats) < 3:
        absent["ecg_heart_rate"] = "ecg_too_few_beats"
        return
    rr = np.diff([beat.r for beat in beats]) * 1000
    values["ecg_rr"] = float(rr.mean())
    values["ecg_rr_longest"] = float(rr.max())
    values["ecg_heart_rate"] = 60_000 / values["ecg_rr"]
    facts["rr_range_ms"] = float(np.ptp(rr))
    facts["rr_shortest_ms"] = float(rr.min())
    facts["rr_sd_ms"] = float(rr.std())
    # Share of intervals that differ from the one before by more than a tenth of the mean: atrial fibrillation changes
    # almost every one, an extrasystole two or three of them (Tateno and Glass 2001 count differences the same way).
    facts["rr_changing_share"] = float(np.mean(np.abs(np.diff(rr)) > 0.1 * rr.mean()))


def _intervals(beats: Sequence[Beat], values: dict[str, float], facts: dict[str, float], absent: dict[str, str]) -> None:
    if not beats:
        for code in ("ecg_pr", "ecg_qrs", "ecg_qt", "ecg_qtc_bazett", "ecg_qtc_fridericia"):
            absent[code] = "ecg_no_beats"
        return
    values["ecg_qrs"] = median((beat.qrs_off - beat.qrs_on) * 1000 for beat in beats)
    pr = [(beat.qrs_on - beat.p_on) * 1000 for beat in beats if beat.p_on is not None]
    if len(pr) < _P_IN_BEATS * len(beats):
        absent["ecg_pr"] = "ecg_no_p_waves"
    else:
        spread = float(np.median(np.abs(np.asarray(pr) - median(pr))))
        facts["pr_spread_ms"] = spread
        if spread > _PR_SPREAD_MS:
            absent["ecg_pr"] = "ecg_pr_varies"
        else:
            values["ecg_pr"] = median(pr)
    qt = [(beat.t_off - beat.qrs_on) * 1000 for beat in beats if beat.t_off is not None]
    if len(qt) * 2 < len(beats):
        for code in ("ecg_qt", "ecg_qtc_bazett", "ecg_qtc_fridericia"):
            absent[code] = "ecg_no_t_waves"
        return
    values["ecg_qt"] = median(qt)
    if "ecg_rr" not in values:
        absent["ecg_qtc_bazett"] = absent["ecg_qtc_fridericia"] = "ecg_too_few_beats"
        return
    seconds = values["ecg_rr"] / 1000
    # Bazett 1920, Fridericia 1920; RR in seconds.
    values["ecg_qtc_bazett"] = values["ecg_qt"] / seconds ** (1 / 2)
    values["ecg_qtc_fridericia"] = values["ecg_qt"] / seconds ** (1 / 3)


def _voltages(amplitudes: Amplitudes, values: dict[str, float], facts: dict[str, float], absent: dict[str, str]) -> None:
    for code, axis in (
        ("ecg_axis_qrs", amplitudes.axis_qrs),
        ("ecg_axis_p", amplitudes.axis_p),
        ("ecg_axis_t", amplitudes.axis_t),
    ):
        if axis is None:
            absent[code] = "ecg_axis_unclear"
        else:
            values[code] = axis
    for code, voltage in {"ecg_sokolow_lyon": amplitudes.sokolow_lyon, "ecg_cornell": amplitudes.cornell}.items():
        if voltage is None:
            absent[code] = "ecg_lead_missing"
        else:
            values[code] = voltage
    facts.update(amplitudes.facts())
