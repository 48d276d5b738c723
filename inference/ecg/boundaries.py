"""Where the QRS of the whole heart begins and ends: where the heart's vector starts and stops moving, in an averaged beat.

Each lead alone shows a QRS that begins when it begins in that lead. The interval of the field is the one from the earliest
onset to the latest offset in any lead (AHA/ACCF/HRS 2007 part I, 2009 part III). Spatial velocity, the length of the derivative
of all leads at once, finds both without asking which lead is first; the delineated leads' vote says where to look.
docs/decisions/ecg-delineation.md has what this changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from inference.ecg.beats import Beat
from inference.ecg.delineation import RATE

#: The leads that do not follow from others; where none is there, those that are.
INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
#: Samples before and after the R peak that the averaged beat holds, and those by which beats are aligned.
_HALF = round(0.400 * RATE)
_CORE = round(0.080 * RATE)
_LARGEST_SHIFT = round(0.030 * RATE)
#: Beats of the main shape correlate so well with the average.
_SAME_SHAPE = 0.9
#: Hz; above it there is more muscle than heart at the ends of a QRS.
_LOWPASS_HZ = 40.0
#: Spatial velocity of eight leads, in microvolts a millisecond, at which the QRS begins and ends; fewer leads have less.
_MOVING, _RESTING = 5.0, 7.0
#: And this share of the QRS's own highest velocity, for tall complexes.
_SMALLEST_SHARE = 0.03
#: Beginning and end of what is surely QRS, as shares of the highest velocity.
_SURE_BEGIN, _SURE_END = 0.25, 0.15
#: The vector also stands still for a moment where it turns, at the tip of a Q or an R; a rest is longer.
_REST = round(0.012 * RATE)
#: How far from the leads' vote the boundary may lie.
_REACH = round(0.040 * RATE)


@dataclass(frozen=True, kw_only=True, eq=False)
class AveragedBeat:
    """The median of the beats of the main shape."""

    #: (leads, samples), microvolts at ``RATE``; the R peak of the average stands at ``_HALF``.
    microvolts: npt.NDArray[np.float64]
    #: By number of the beat: the sample of the recording that stands at ``_HALF``.
    centres: Mapping[int, int]


def with_global_qrs(beats: Sequence[Beat], signals: Mapping[str, npt.NDArray[np.float64]]) -> tuple[Beat, ...]:
    """Return the beats, those of the main shape with the QRS of the whole heart; ``signals`` are microvolts at ``RATE``."""
    rows = np.stack([signals[name] for name in INDEPENDENT if name in signals] or list(signals.values()))
    average = averaged_beat(beats, rows)
    if average is None:
        return tuple(beats)
    votes = [
        (round(beats[number].qrs_on * RATE) - centre, round(beats[number].qrs_off * RATE) - centre)
        for number, centre in average.centres.items()
    ]
    vote_on, vote_off = (int(np.median(column)) for column in zip(*votes, strict=True))
    onset, offset = global_qrs(average.microvolts, _HALF + vote_on, _HALF + vote_off)
    mended = list(beats)
    for number, centre in average.centres.items():
        mended[number] = _moved(beats[number], (centre + onset - _HALF) / RATE, (centre + offset - _HALF) / RATE)
    return tuple(mended)


def averaged_beat(beats: Sequence[Beat], rows: npt.NDArray[np.float64]) -> AveragedBeat | None:
    """Average the beats of the main shape in all leads; None where fewer than two lie whole inside the recording."""
    length = rows.shape[1]
    near = {number: round(beat.r * RATE) for number, beat in enumerate(beats)}
    whole = {
        number: centre for number, centre in near.items() if _HALF + _LARGEST_SHIFT <= centre < length - _HALF - _LARGEST_SHIFT
    }
    if len(whole) < 2:
        return None
    template = np.median([_centred(rows, centre, _CORE) for centre in whole.values()], axis=0)
    kept: dict[int, int] = {}
    for number, centre in whole.items():
        likeness = _likeness_by_shift(rows[:, centre - _CORE - _LARGEST_SHIFT : centre + _CORE + _LARGEST_SHIFT], template)
        if likeness.max() >= _SAME_SHAPE:
            kept[number] = centre + int(likeness.argmax()) - _LARGEST_SHIFT
    if len(kept) < 2:
        return None
    return AveragedBeat(microvolts=np.median([_centred(rows, centre, _HALF) for centre in kept.values()], axis=0), centres=kept)


def global_qrs(average: npt.NDArray[np.float64], vote_on: int, vote_off: int) -> tuple[int, int]:
    """Return onset and offset of the QRS in an averaged beat (leads, samples), near what the leads voted.

    A boundary that is not found within 40 ms of the vote, for noise or for a wave that runs into the QRS, stays as voted.
    """
    smooth = sosfiltfilt(butter(2, _LOWPASS_HZ, "lowpass", fs=RATE, output="sos"), average, axis=1)
    velocity = np.sqrt((np.gradient(smooth, axis=1) ** 2).sum(axis=0)) * RATE / 1000 / sqrt(len(average) / len(INDEPENDENT))
    inside = velocity[vote_on : vote_off + 1]
    if not len(inside):
        return vote_on, vote_off
    highest = float(inside.max())
    begin = vote_on + int(np.argmax(inside > _SURE_BEGIN * highest))
    end = vote_off - int(np.argmax(inside[::-1] > _SURE_END * highest))
    before = _first_rest(velocity[max(0, vote_on - _REACH - _REST) : begin][::-1], max(_MOVING, _SMALLEST_SHARE * highest))
    after = _first_rest(velocity[end + 1 : vote_off + _REACH + _REST + 1], max(_RESTING, _SMALLEST_SHARE * highest))
    return vote_on if before is None else begin - 1 - before, vote_off if after is None else end + 1 + after


def _first_rest(velocity: npt.NDArray[np.float64], limit: float) -> int | None:
    """Return where the first stretch below the limit begins that is no mere turning point."""
    still = np.convolve(velocity < limit, np.ones(_REST), "valid") if len(velocity) >= _REST else np.zeros(0)
    found = np.flatnonzero(still == _REST)
    return int(found[0]) if len(found) else None


def _moved(beat: Beat, onset: float, offset: float) -> Beat:
    """Keep the order of the waves: a P that would reach into the QRS, or a T that would begin before its end, is cut there."""
    return replace(
        beat,
        qrs_on=onset,
        qrs_off=offset,
        r=min(max(beat.r, onset), offset),
        p_off=None if beat.p_off is None else min(beat.p_off, onset),
        t_on=None if beat.t_on is None else max(beat.t_on, offset),
    )


def _centred(rows: npt.NDArray[np.float64], centre: int, half: int) -> npt.NDArray[np.float64]:
    piece = rows[:, centre - half : centre + half]
    return np.asarray(piece - np.median(piece, axis=1, keepdims=True))


def _likeness_by_shift(piece: npt.NDArray[np.float64], template: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the correlation of the template with each stretch of its own length in the piece."""
    stretches = np.lib.stride_tricks.sliding_window_view(piece, template.shape[1], axis=1)
    centred = stretches - stretches.mean(axis=2, keepdims=True)
    level = template - template.mean(axis=1, keepdims=True)
    sizes = np.sqrt((centred**2).sum(axis=(0, 2))) * np.linalg.norm(level)
    return np.asarray(np.einsum("lsn,ln->s", centred, level) / np.maximum(sizes, 1e-9))
