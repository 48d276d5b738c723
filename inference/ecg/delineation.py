"""Where P, QRS and T are, sample by sample: openecg's bundled network, run by onnxruntime.

docs/decisions/ecg-delineation.md says why this one, and how well it does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from math import gcd

import numpy as np
import numpy.typing as npt
import onnxruntime
from openecg.deploy import CODEC_FS, CODEC_SEQ, bundled_codec_onnx_path
from openecg.dsp import rank_normalize
from openecg.layered import EVAL_MARGIN_S
from scipy.signal import resample_poly

from inference.engine import ModelIdentity
from inference.onnx_session import PROCESSOR, open_session

#: Hz of the labels below.
RATE = int(CODEC_FS)
#: Samples that the network sees at once: 10 s.
WINDOW = int(CODEC_SEQ)
#: What a window says of its first and last two seconds is not used (openecg.layered.EVAL_MARGIN_S).
MARGIN = round(EVAL_MARGIN_S * RATE)
OTHER, P, QRS, T = range(4)
#: Shorter runs of one class are flicker, not waves; the shortest P and QRS of man last longer.
_SHORTEST_WAVE = RATE // 50


@dataclass(frozen=True, kw_only=True)
class Wave:
    """One wave in one lead; samples at ``RATE``."""

    kind: int
    onset: int
    offset: int


class Delineator:
    """The network and its name; loads once, at the first recording."""

    @cached_property
    def identity(self) -> ModelIdentity:
        """What every result names."""
        return ModelIdentity(
            name="openecg codec v6 (frame layer)",
            version=version("openecg"),
            weights_sha256=hashlib.sha256(bundled_codec_onnx_path().read_bytes()).hexdigest(),
            preprocessing=f"each usable lead alone, resampled to {RATE} Hz, ends mirrored, windows of {WINDOW // RATE} s "
            f"of which the inner {(WINDOW - 2 * MARGIN) // RATE} s count, ranks scaled to -1..1",
        )

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        # One lead gains nothing from more threads, and nothing from a graphics card.
        return open_session(bundled_codec_onnx_path(), PROCESSOR)

    def waves(self, samples: npt.NDArray[np.float32], sampling_rate: float) -> tuple[Wave, ...]:
        """Return the waves of one lead in order of time."""
        signal = at_rate(samples, sampling_rate)
        # Mirrored ends: the network was taught with first and last beats left out, and finds none within two seconds of an edge.
        padded = np.pad(signal, MARGIN, mode="reflect") if len(signal) > MARGIN else np.pad(signal, MARGIN, mode="edge")
        labels = np.full(len(padded), OTHER, dtype=np.uint8)
        for start in window_starts(len(padded)):
            piece = padded[start : start + WINDOW]
            window = np.zeros((1, WINDOW), dtype=np.float32)
            # Ranks first, zeros behind, as openecg's own OnnxCodec does with short recordings.
            window[0, : len(piece)] = rank_normalize(piece)
            logits = self._session.run(["frame_logits"], {"signal": window})[0][0, : len(piece)]
            # Each window speaks for what is not near its beginning; its end is overwritten by the next one.
            labels[start + MARGIN : start + len(piece)] = logits[MARGIN:].argmax(axis=-1)
        return tuple(_runs(labels[MARGIN:-MARGIN]))


def at_rate(samples: npt.NDArray[np.float32], sampling_rate: float) -> npt.NDArray[np.float64]:
    """Return the samples at ``RATE``."""
    if sampling_rate == RATE:
        return samples.astype(np.float64)
    # Devices write rates such as 499.5 Hz; hundredths of a hertz are enough to keep 10 s within a sample.
    up, down = RATE * 100, round(sampling_rate * 100)
    divisor = gcd(up, down)
    return np.asarray(resample_poly(samples.astype(np.float64), up // divisor, down // divisor, padtype="line"))


def window_starts(length: int) -> list[int]:
    """Return where windows begin so that the middles, without margins, cover ``length`` samples without a gap."""
    if length <= WINDOW:
        return [0]
    starts = list(range(0, length - WINDOW, WINDOW - 2 * MARGIN))
    return [*starts, length - WINDOW]


def _runs(labels: npt.NDArray[np.uint8]) -> list[Wave]:
    edges = np.flatnonzero(np.diff(labels)) + 1
    starts, ends = np.concatenate(([0], edges)), np.concatenate((edges, [len(labels)]))
    return [
        Wave(kind=int(labels[start]), onset=int(start), offset=int(end) - 1)
        for start, end in zip(starts, ends, strict=True)
        if labels[start] != OTHER and end - start >= _SHORTEST_WAVE
    ]
