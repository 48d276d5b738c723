"""One beat out of many leads: the leads vote where P, QRS and T begin and end.

The median over leads, for P and T and as the first guess for the QRS, whose boundaries ``boundaries.py`` looks for in all
leads at once (docs/decisions/ecg-delineation.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np
import numpy.typing as npt

from inference.ecg.delineation import QRS, RATE, P, T, Wave

#: Centres of one beat's QRS lie closer than this in all leads; two beats never do (150 ms is a rate of 400).
_ONE_BEAT = round(0.150 * RATE)
#: A QRS reaches this in at least one lead, in microvolts, and this share of the recording's tallest one.
_SMALLEST_QRS_UV = 100.0
_SMALLEST_SHARE = 0.1
#: The longest PR interval that is still taken for conducted.
_LONGEST_PR = round(0.500 * RATE)
#: Leads in which a P or T wave must be seen: many are small or flat in some leads of a healthy heart.
_QUORUM = 1 / 3


#: Usual, ventricular, early from above the ventricles, not decided.
Kind = Literal["N", "V", "S", "?"]


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One beat; seconds from the beginning of the recording, None for a wave that too few leads show."""

    qrs_on: float
    r: float
    qrs_off: float
    p_on: float | None = None
    p_off: float | None = None
    t_on: float | None = None
    t_off: float | None = None
    kind: Kind = "?"

    def as_evidence(self) -> dict[str, float | str | None]:
        """Return what a page draws."""
        names = ("p_on", "p_off", "qrs_on", "r", "qrs_off", "t_on", "t_off")
        return {name: None if (at := getattr(self, name)) is None else round(at, 3) for name in names} | {"kind": self.kind}


def beats_of(waves: Mapping[str, Sequence[Wave]], signals: npt.NDArray[np.float64]) -> tuple[Beat, ...]:
    """Join the waves of all leads into beats.

    Parameters
    ----------
    waves
        By lead, in order of time, samples at ``RATE``.
    signals
        The same leads, (leads, samples) at ``RATE``; tells where in the QRS the R peak stands.
    """
    complexes = _with_height(_complexes(waves), signals)
    beats = []
    for number, (onset, offset) in enumerate(complexes):
        earliest = complexes[number - 1][1] if number else 0
        latest = complexes[number + 1][0] if number + 1 < len(complexes) else signals.shape[1]
        p = _vote(waves, _last(P, max(earliest, onset - _LONGEST_PR), onset))
        t = _vote(waves, _first(T, offset, latest))
        beats.append(
            Beat(
                qrs_on=onset / RATE,
                r=_peak(signals, round(onset), round(offset)) / RATE,
                qrs_off=offset / RATE,
                p_on=p and p[0] / RATE,
                p_off=p and p[1] / RATE,
                t_on=t and t[0] / RATE,
                t_off=t and t[1] / RATE,
            )
        )
    return tuple(beats)


def atrial_rate_of(waves: Mapping[str, Sequence[Wave]]) -> float | None:
    """Return P waves a minute, conducted or not, from the median distance of those that enough leads show; None below three."""
    middles = sorted((wave.onset + wave.offset) / 2 for row in waves.values() for wave in row if wave.kind == P)
    groups: list[list[float]] = []
    for middle in middles:
        if groups and middle - groups[-1][-1] <= _ONE_BEAT / 2:
            groups[-1].append(middle)
        else:
            groups.append([middle])
    seen = [median(group) for group in groups if len(group) >= _QUORUM * len(waves)]
    return 60 * RATE / float(np.median(np.diff(seen))) if len(seen) >= 3 else None


def _complexes(waves: Mapping[str, Sequence[Wave]]) -> list[tuple[float, float]]:
    """Return onset and offset of every QRS that at least half of the leads show."""
    found = sorted(
        ((wave.onset + wave.offset) / 2, lead, wave) for lead, row in waves.items() for wave in row if wave.kind == QRS
    )  # fmt: skip
    groups: list[list[tuple[str, Wave]]] = []
    centre = -np.inf
    for middle, lead, wave in found:
        if middle - centre > _ONE_BEAT:
            groups.append([])
        groups[-1].append((lead, wave))
        centre = middle
    complexes = []
    for group in groups:
        # A split QRS is two waves in one lead: its onset is the first one's, its offset the last one's.
        onsets = {lead: wave.onset for lead, wave in reversed(group)}
        offsets = {lead: wave.offset for lead, wave in group}
        if len(onsets) * 2 >= len(waves):
            complexes.append((float(median(onsets.values())), float(median(offsets.values()))))
    return complexes


def _with_height(complexes: list[tuple[float, float]], signals: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """Drop what is no taller than noise: the network sees ranks, and takes the murmur of a silent lead for beats."""
    heights = [float(np.ptp(signals[:, round(onset) : round(offset) + 1], axis=1).max()) for onset, offset in complexes]
    least = max(_SMALLEST_QRS_UV, _SMALLEST_SHARE * max(heights, default=0.0))
    return [complex_ for complex_, height in zip(complexes, heights, strict=True) if height >= least]


def _last(kind: int, begin: float, end: float) -> _Pick:
    return _Pick(kind=kind, begin=begin, end=end, position=-1)


def _first(kind: int, begin: float, end: float) -> _Pick:
    return _Pick(kind=kind, begin=begin, end=end, position=0)


@dataclass(frozen=True, kw_only=True)
class _Pick:
    """Which wave of a lead belongs to a beat: the first or the last of its kind whose middle lies in a stretch."""

    kind: int
    begin: float
    end: float
    position: int

    def of(self, row: Iterable[Wave]) -> Wave | None:
        inside = [wave for wave in row if wave.kind == self.kind and self.begin < (wave.onset + wave.offset) / 2 < self.end]
        return inside[self.position] if inside else None


def _vote(waves: Mapping[str, Sequence[Wave]], pick: _Pick) -> tuple[float, float] | None:
    seen = [wave for row in waves.values() if (wave := pick.of(row)) is not None]
    if not seen or len(seen) < _QUORUM * len(waves):
        return None
    return float(median(wave.onset for wave in seen)), float(median(wave.offset for wave in seen))


def _peak(signals: npt.NDArray[np.float64], onset: int, offset: int) -> int:
    """Return where the heart's vector is longest, so that RR does not depend on which lead has the tall R."""
    piece = signals[:, onset : offset + 1]
    return onset + int(np.argmax(np.abs(piece - piece[:, :1]).sum(axis=0)))
