"""Where the QRS of the whole heart begins and ends and where its T ends: where its vector starts and stops moving.

Each lead alone shows a QRS that begins when it begins in that lead, and a T that ends when it ends there. The intervals of the
field run from the earliest onset to the latest end in any lead (AHA/ACCF/HRS 2007 part I, 2009 part III). Spatial velocity, the
length of the derivative of all leads of the averaged beat at once, finds these without asking which lead is first or last; the
delineated leads' vote says where to look. docs/decisions/ecg-delineation.md has what this changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from inference.ecg.averaged_beat import HALF, INDEPENDENT, averaged_beat, rows_of
from inference.ecg.beats import Beat
from inference.ecg.delineation import RATE


@dataclass(frozen=True, kw_only=True)
class _Rest:
    """When the vector counts as standing still."""

    #: Hz; above it there is more muscle than heart at the ends of a wave.
    lowpass_hz: float
    #: Spatial velocity of eight leads, in microvolts a millisecond; fewer leads have less.
    velocity: float
    #: And this share of the wave's own highest velocity, for tall ones.
    share: float


#: Chosen on LUDB: docs/decisions/ecg-delineation.md.
_BEFORE_QRS = _Rest(lowpass_hz=40.0, velocity=5.0, share=0.03)
_AFTER_QRS = _Rest(lowpass_hz=50.0, velocity=7.0, share=0.04)
_AFTER_T = _Rest(lowpass_hz=15.0, velocity=1.0, share=0.25)
#: Beginning and end of what is surely QRS, as shares of the highest velocity.
_SURE_BEGIN, _SURE_END = 0.25, 0.15
#: The vector also stands still for a moment where it turns, at the tip of a Q or an R; a rest is longer.
_PAUSE = round(0.012 * RATE)
#: How far from the leads' vote a boundary may lie.
_REACH_QRS, _REACH_T = round(0.040 * RATE), round(0.060 * RATE)
#: T falls fastest within this time before its end, and not before this time after the QRS.
_FALL, _AFTER_J = round(0.150 * RATE), round(0.060 * RATE)


def with_global_boundaries(beats: Sequence[Beat], signals: Mapping[str, npt.NDArray[np.float64]]) -> tuple[Beat, ...]:
    """Return the beats, those of the main shape with QRS and end of T of the whole heart.

    ``signals`` are microvolts at ``RATE``.
    """
    average = averaged_beat(beats, rows_of(signals))
    if average is None:
        return tuple(beats)
    averaged = [(beats[number], centre) for number, centre in average.centres.items()]
    onset, offset = global_qrs(
        average.microvolts,
        _vote([(beat.qrs_on, centre) for beat, centre in averaged]),
        _vote([(beat.qrs_off, centre) for beat, centre in averaged]),
    )
    later = 0
    if ends := [(beat.t_off, centre) for beat, centre in averaged if beat.t_off is not None]:
        voted = _vote(ends)
        later = end_of_t(average.microvolts, offset, voted) - voted
    mended = list(beats)
    for number, centre in average.centres.items():
        following = beats[number + 1] if number + 1 < len(beats) else None
        mended[number] = _moved(
            beats[number], (centre + onset - HALF) / RATE, (centre + offset - HALF) / RATE, later / RATE, following
        )
    return tuple(mended)


def _vote(seen: Sequence[tuple[float, int]]) -> int:
    """Return where in the average the leads' seconds stand, each with the sample that stands at ``HALF``."""
    return int(np.median([HALF + round(at * RATE) - centre for at, centre in seen]))


def global_qrs(average: npt.NDArray[np.float64], vote_on: int, vote_off: int) -> tuple[int, int]:
    """Return onset and offset of the QRS in an averaged beat (leads, samples), near what the leads voted.

    A boundary that is not found within 40 ms of the vote, for noise or for a wave that runs into the QRS, stays as voted.
    """
    rising, falling = (_velocity(average, rest.lowpass_hz) for rest in (_BEFORE_QRS, _AFTER_QRS))
    if vote_off < vote_on:
        return vote_on, vote_off
    inside = rising[vote_on : vote_off + 1]
    begin = vote_on + int(np.argmax(inside > _SURE_BEGIN * inside.max()))
    before = _first_rest(rising[max(0, vote_on - _REACH_QRS - _PAUSE) : begin][::-1], _BEFORE_QRS, inside.max())
    inside = falling[vote_on : vote_off + 1]
    end = vote_off - int(np.argmax(inside[::-1] > _SURE_END * inside.max()))
    after = _first_rest(falling[end + 1 : vote_off + _REACH_QRS + _PAUSE + 1], _AFTER_QRS, inside.max())
    return vote_on if before is None else begin - 1 - before, vote_off if after is None else end + 1 + after


def end_of_t(average: npt.NDArray[np.float64], qrs_off: int, vote: int) -> int:
    """Return where T ends in an averaged beat, near what the leads voted: where the vector has come down from T to rest.

    An end that is not found within 60 ms of the vote, for a flat T or a U that runs into it, stays as voted.
    """
    velocity = _velocity(average, _AFTER_T.lowpass_hz)
    begin = max(qrs_off + _AFTER_J, vote - _FALL)
    fall = velocity[begin : vote + 1]
    if not len(fall):
        return vote
    fastest = begin + int(fall.argmax())
    after = _first_rest(velocity[fastest : vote + _REACH_T + _PAUSE], _AFTER_T, float(fall.max()))
    return vote if after is None or abs(fastest + after - vote) > _REACH_T else fastest + after


def _velocity(average: npt.NDArray[np.float64], lowpass_hz: float) -> npt.NDArray[np.float64]:
    """Return the spatial velocity in microvolts a millisecond, as if there were eight leads."""
    smooth = sosfiltfilt(butter(2, lowpass_hz, "lowpass", fs=RATE, output="sos"), average, axis=1)
    length = np.sqrt((np.gradient(smooth, axis=1) ** 2).sum(axis=0))
    return np.asarray(length * RATE / 1000 / sqrt(len(average) / len(INDEPENDENT)))


def _first_rest(velocity: npt.NDArray[np.float64], rest: _Rest, highest: float) -> int | None:
    """Return where the first stretch of rest begins that is no mere turning point."""
    still = velocity < max(rest.velocity, rest.share * highest)
    pauses = np.convolve(still, np.ones(_PAUSE), "valid") if len(velocity) >= _PAUSE else np.zeros(0)
    found = np.flatnonzero(pauses == _PAUSE)
    return int(found[0]) if len(found) else None


def _moved(beat: Beat, onset: float, offset: float, later: float, following: Beat | None) -> Beat:
    """Move the boundaries and keep the order of the waves: P ends before the QRS, T begins and ends behind it, and a T that is
    moved ends before the next beat's first wave."""
    t_off = beat.t_off
    if t_off is not None and later > 0 and following is not None:
        later = max(0.0, min(later, (following.p_on or following.qrs_on) - t_off))
    return replace(
        beat,
        qrs_on=onset,
        qrs_off=offset,
        r=min(max(beat.r, onset), offset),
        p_off=None if beat.p_off is None else min(beat.p_off, onset),
        t_on=None if beat.t_on is None else max(beat.t_on, offset),
        t_off=None if t_off is None else max(t_off + later, offset),
    )
