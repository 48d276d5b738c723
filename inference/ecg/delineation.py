"""Where P, QRS and T are, sample by sample: openecg's network, run by onnxruntime.

docs/decisions/ecg-delineation.md says why this one, and how well it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd

import numpy as np
import numpy.typing as npt
from openecg.dsp import rank_normalize
from scipy.signal import resample_poly

from inference.ecg.bundled import BundledModel
from inference.engine import ModelIdentity

#: Hz of the labels below.
RATE = 500
#: Samples that the network sees at once: 10 s.
WINDOW = 5000
#: Samples of one frame of the network.
FRAME = 10
#: What a window says of its first and last two seconds is not used (openecg.layered.EVAL_MARGIN_S): the network was taught with
#: first and last beats left out. The recording's ends are mirrored by so much. 1.2 s lost waves at ends and joints.
MARGIN = 2 * RATE
OTHER, P, QRS, T = range(4)
#: Shorter runs of one class are flicker, not waves; the shortest P and QRS of man last longer.
_SHORTEST_WAVE = RATE // 50


@dataclass(frozen=True, kw_only=True)
class Wave:
    """One wave in one lead; samples at ``RATE``."""

    kind: int
    onset: int
    offset: int


class Delineator(BundledModel):
    """The network and its name."""

    shipped = "ecg_delineation"

    @cached_property
    def identity(self) -> ModelIdentity:
        """What every result names, with the network's name among its authors."""
        return replace(super().identity, name=f"{self.bundle.name} (openecg codec v6)")

    def waves(self, signal: npt.NDArray[np.float64]) -> tuple[Wave, ...]:
        """Return the waves of one lead, given at ``RATE``, in order of time."""
        padded = np.pad(signal, MARGIN, mode="reflect" if len(signal) > MARGIN else "edge")
        labels = np.full(len(padded), OTHER, dtype=np.uint8)
        for start in window_starts(len(padded)):
            piece = padded[start : start + WINDOW]
            window = np.zeros((1, -(-len(piece) // FRAME) * FRAME), dtype=np.float32)
            # Ranks first, zeros behind, as openecg's own OnnxCodec does with short recordings.
            window[0, : len(piece)] = rank_normalize(piece)
            logits = self._session.run(["frame_logits"], {"signal": window})[0][0, : len(piece)]
            # Each window speaks for what is not near its beginning; its end is overwritten by the next one.
            labels[start + MARGIN : start + len(piece)] = logits[MARGIN:].argmax(axis=-1)
        return tuple(_runs(labels[MARGIN:-MARGIN]))


def at_rate(samples: npt.NDArray[np.floating], sampling_rate: float) -> npt.NDArray[np.float64]:
    """Return the samples, (samples,) or (leads, samples), at ``RATE``."""
    if sampling_rate == RATE:
        return samples.astype(np.float64)
    # Devices write rates such as 499.5 Hz; hundredths of a hertz are enough to keep 10 s within a sample.
    up, down = RATE * 100, round(sampling_rate * 100)
    divisor = gcd(up, down)
    return np.asarray(resample_poly(samples.astype(np.float64), up // divisor, down // divisor, axis=-1, padtype="line"))


def window_starts(length: int) -> list[int]:
    """Return where windows begin so that their middles, without margins, cover ``length`` samples; the last may be short."""
    return [0, *range(WINDOW - 2 * MARGIN, length - 2 * MARGIN, WINDOW - 2 * MARGIN)] if length > WINDOW else [0]


def _runs(labels: npt.NDArray[np.uint8]) -> list[Wave]:
    edges = np.flatnonzero(np.diff(labels)) + 1
    starts, ends = np.concatenate(([0], edges)), np.concatenate((edges, [len(labels)]))
    return [
        Wave(kind=int(labels[start]), onset=int(start), offset=int(end) - 1)
        for start, end in zip(starts, ends, strict=True)
        if labels[start] != OTHER and end - start >= _SHORTEST_WAVE
    ]
