"""The averaged beat of a recording: what its beats of the main shape have in common, in all leads at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.ecg.beats import Beat
from inference.ecg.delineation import RATE

#: The leads that do not follow from others; where none is there, those that are.
INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
#: Samples before and after the R peak that a beat must lie inside of the recording with.
HALF = round(0.400 * RATE)
#: How far behind R the average goes on, to the end of T: up to here, and not into the next beat.
_LONGEST_TAIL = round(0.800 * RATE)
_TAIL_SHARE = 0.95
#: Samples around R by which beats are compared, and the shift that is allowed.
CORE = round(0.080 * RATE)
LARGEST_SHIFT = round(0.030 * RATE)
#: Beats of the main shape correlate so well with it.
SAME_SHAPE = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class AveragedBeat:
    """The median of the beats of the main shape."""

    #: (leads, samples), microvolts at ``RATE``; the R peak of the average stands at ``HALF``.
    microvolts: npt.NDArray[np.float64]
    #: By number of the beat: the sample of the recording that stands at ``HALF``.
    centres: Mapping[int, int]


def rows_of(signals: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return (leads, samples) of the independent leads among ``signals``."""
    return np.stack([signals[name] for name in INDEPENDENT if name in signals] or list(signals.values()))


def averaged_beat(beats: Sequence[Beat], rows: npt.NDArray[np.float64]) -> AveragedBeat | None:
    """Average the beats of the main shape; None where fewer than two lie whole inside the recording.

    ``rows`` are microvolts at ``RATE``.
    """
    length = rows.shape[1]
    whole = {
        number: centre
        for number, beat in enumerate(beats)
        if HALF + LARGEST_SHIFT <= (centre := round(beat.r * RATE)) < length - HALF - LARGEST_SHIFT
    }
    if len(whole) < 2:
        return None
    template = main_shape([_core(rows, centre) for centre in whole.values()])
    kept: dict[int, int] = {}
    for number, centre in whole.items():
        likeness = likeness_by_shift(rows[:, centre - CORE - LARGEST_SHIFT : centre + CORE + LARGEST_SHIFT], template)
        if likeness.max() >= SAME_SHAPE:
            kept[number] = centre + int(likeness.argmax()) - LARGEST_SHIFT
    if len(kept) < 2:
        return None
    tail = min(_LONGEST_TAIL, round(_TAIL_SHARE * float(np.median(np.diff([beat.r for beat in beats]))) * RATE))
    pieces = np.stack([_piece(rows, centre, max(HALF, tail)) for centre in kept.values()])
    known = ~np.isnan(pieces).all(axis=(0, 1))
    return AveragedBeat(microvolts=np.nanmedian(pieces[:, :, known], axis=0), centres=kept)


def main_shape(cores: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return the median of the stretches (leads, samples) around R that most others look like."""
    flat = np.stack([core.ravel() for core in cores])
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    alike = flat @ flat.T >= SAME_SHAPE
    main = alike[alike.sum(axis=1).argmax()]
    # A minority does not move a median.
    chosen = cores if 2 * main.sum() > len(cores) else [core for core, inside in zip(cores, main, strict=True) if inside]
    return np.asarray(np.median(chosen, axis=0))


def likeness_by_shift(piece: npt.NDArray[np.float64], template: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the correlation of the template with each stretch of its own length in the piece."""
    stretches = np.lib.stride_tricks.sliding_window_view(piece, template.shape[1], axis=1)
    centred = stretches - stretches.mean(axis=2, keepdims=True)
    level = template - template.mean(axis=1, keepdims=True)
    sizes = np.sqrt((centred**2).sum(axis=(0, 2))) * np.linalg.norm(level)
    return np.asarray(np.einsum("lsn,ln->s", centred, level) / np.maximum(sizes, 1e-9))


def _core(rows: npt.NDArray[np.float64], centre: int) -> npt.NDArray[np.float64]:
    piece = rows[:, centre - CORE : centre + CORE]
    return np.asarray(piece - np.median(piece, axis=1, keepdims=True))


def _piece(rows: npt.NDArray[np.float64], centre: int, tail: int) -> npt.NDArray[np.float64]:
    """Return the beat from ``HALF`` before R to ``tail`` behind it, NaN behind the recording's end."""
    piece = rows[:, centre - HALF : centre + tail]
    piece = piece - np.median(piece[:, : 2 * HALF], axis=1, keepdims=True)
    return np.pad(piece, ((0, 0), (0, HALF + tail - piece.shape[1])), constant_values=np.nan)
