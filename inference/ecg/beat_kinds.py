"""Which beats are the heart's usual ones, and which come early or from the ventricles.

Shape is compared with the main one in all leads, time with the usual distance of usual beats. What fits nowhere is left open:
noise, fusion, aberrant conduction. docs/decisions/ecg-beat-kinds.md has how well this does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from inference.ecg.averaged_beat import CORE, LARGEST_SHIFT, SAME_SHAPE, likeness_by_shift, main_shape, rows_of
from inference.ecg.beats import Beat, Kind
from inference.ecg.delineation import RATE

#: Hz; what a QRS is made of.
_BAND_HZ = (0.5, 40.0)
#: A ventricular beat correlates less than this with the main shape.
_OTHER_SHAPE = 0.8
#: Shares of the usual RR interval: a ventricular beat comes before or after these, a supraventricular one before this ...
_VENTRICULAR_EARLY, _VENTRICULAR_LATE, _SUPRAVENTRICULAR_EARLY = 0.9, 1.15, 0.8
#: ... and the interval behind it is so many times longer, or the sinus has only become faster.
_PAUSE = 1.2
#: The extent of a QRS: where its vector moves faster than this share of its highest speed, within so many samples of R.
_MOVING_SHARE = 0.2
_WIDEST = round(0.150 * RATE)
#: A QRS of at least this is wide already, and a ventricular beat need not be wider; seconds (AHA/ACCF/HRS 2009 part III).
_WIDE = 0.120
#: Without P waves, and with this share of intervals changing by a tenth of the mean, early is no word for a beat.
_P_IN_BEATS, _CHANGING_SHARE = 0.5, 0.2


@dataclass(frozen=True, kw_only=True)
class _Usual:
    """What the beats of the main shape have in common."""

    #: By number of the beat: whether it has the main shape.
    shape: Sequence[bool]
    #: Seconds between two of them.
    rr: float
    #: Samples.
    extent: float
    is_wide: bool
    #: Their distances change all the time and no P goes before them.
    is_irregular: bool


def with_kinds(beats: Sequence[Beat], signals: Mapping[str, npt.NDArray[np.float64]]) -> tuple[Beat, ...]:
    """Return the beats, each with its kind; ``signals`` are microvolts at ``RATE``.

    Nothing is decided where fewer than two beats have the main shape.
    """
    if len(beats) < 2:
        return tuple(beats)
    rows = sosfiltfilt(butter(2, _BAND_HZ, "bandpass", fs=RATE, output="sos"), rows_of(signals), axis=1)
    likeness = _likeness(beats, rows)
    extent = _extent(beats, rows)
    if sum(alike >= SAME_SHAPE for alike in likeness) < 2:
        return tuple(beats)
    usual = _usual(beats, likeness, extent)
    kinds: list[Kind] = []
    distance = [(later.r - beat.r) / usual.rr for beat, later in pairwise(beats)]
    for number, beat in enumerate(beats):
        before = distance[number - 1] if number else None
        is_wide = usual.is_wide or extent[number] >= usual.extent
        if usual.shape[number]:
            # Behind an interpolated ventricular beat the usual one is no early beat.
            may_be_early = not usual.is_irregular and usual.shape[number - 1]
            kinds.append("S" if may_be_early and _is_early(distance, number) else "N")
        elif likeness[number] < _OTHER_SHAPE and is_wide and _is_out_of_time(before) and _is_whole(beat, rows.shape[1]):
            kinds.append("V" if beat.p_on is None else "?")
        else:
            kinds.append("?")
    return tuple(replace(beat, kind=kind) for beat, kind in zip(beats, kinds, strict=True))


def _usual(beats: Sequence[Beat], likeness: Sequence[float], extent: Sequence[int]) -> _Usual:
    shape = [alike >= SAME_SHAPE for alike in likeness]
    steps = [(one, other, later.r - beat.r) for (beat, later), (one, other) in zip(pairwise(beats), pairwise(shape), strict=True)]
    among_usual = [step for one, other, step in steps if one and other] or [step for _, _, step in steps]
    inside = [number for number, is_usual in enumerate(shape) if is_usual]
    without_p = sum(beat.p_on is not None for beat in beats) < _P_IN_BEATS * len(beats)
    changing = np.abs(np.diff(among_usual)) > 0.1 * float(np.mean(among_usual))
    return _Usual(
        shape=shape,
        rr=median(among_usual),
        extent=median(extent[number] for number in inside),
        is_wide=median(beats[number].qrs_off - beats[number].qrs_on for number in inside) >= _WIDE,
        is_irregular=without_p and len(changing) > 1 and float(changing.mean()) >= _CHANGING_SHARE,
    )


def _is_early(distance: Sequence[float], number: int) -> bool:
    if number == 0 or distance[number - 1] >= _SUPRAVENTRICULAR_EARLY:
        return False
    if number < len(distance):
        return distance[number] > _PAUSE * distance[number - 1]
    # Behind the last beat no pause is seen: a leap from the distance before stands in for it.
    return number > 1 and distance[number - 1] < _SUPRAVENTRICULAR_EARLY * distance[number - 2]


def _is_out_of_time(before: float | None) -> bool:
    return before is None or before < _VENTRICULAR_EARLY or before > _VENTRICULAR_LATE


def _is_whole(beat: Beat, length: int) -> bool:
    return CORE + LARGEST_SHIFT <= round(beat.r * RATE) < length - CORE - LARGEST_SHIFT


def _likeness(beats: Sequence[Beat], rows: npt.NDArray[np.float64]) -> list[float]:
    """Return how well each beat correlates with the main shape; what lies behind the recording's ends is taken to go on level."""
    half = CORE + LARGEST_SHIFT
    longer = np.pad(rows, ((0, 0), (half, half)), mode="edge")
    # Sample 0 of each piece lies ``half`` before R.
    pieces = [longer[:, round(beat.r * RATE) : round(beat.r * RATE) + 2 * half] for beat in beats]
    cores = [piece[:, LARGEST_SHIFT:-LARGEST_SHIFT] for piece in pieces]
    shape = main_shape([core - np.median(core, axis=1, keepdims=True) for core in cores])
    return [float(likeness_by_shift(piece, shape).max()) for piece in pieces]


def _extent(beats: Sequence[Beat], rows: npt.NDArray[np.float64]) -> list[int]:
    """Return how many samples long each beat's vector moves fast."""
    speed = np.sqrt((np.gradient(rows, axis=1) ** 2).sum(axis=0))
    extents = []
    for beat in beats:
        near = speed[max(0, round(beat.r * RATE) - _WIDEST) : round(beat.r * RATE) + _WIDEST]
        fast = np.flatnonzero(near > _MOVING_SHARE * near.max())
        extents.append(int(fast[-1] - fast[0]))
    return extents
