"""Samples of a recording as the network expects them, the same in training and in serving; no torch here.

The network sees eight leads, 10 s, 100 Hz, in millivolts: PTB-XL's own form. The other four leads follow from I and II
and would tell it nothing new.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

#: The independent leads, in the order of the network's input.
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
#: Hz.
RATE = 100
#: Ten seconds.
SAMPLES = 1000
#: Millivolts; a PTB-XL sample beyond this is an artefact.
LIMIT_MV = 8.0
#: One line for metadata and pre-reads.
DESCRIPTION = "leads I, II, V1 to V6; polyphase resampling to 100 Hz; the middle 10 s, a shorter recording continued mirrored; mV"

#: Rates are written as fractions of this denominator at most; devices say 250, 257, 500, 512, 997, 1000.
_LARGEST_DENOMINATOR = 1000


def network_input(microvolts: npt.NDArray[np.floating], sampling_rate: float) -> npt.NDArray[np.float32]:
    """Return leads of any rate and length, in the order of ``LEADS``, as the network's (8, 1000) millivolts."""
    if microvolts.shape[0] != len(LEADS):
        raise ValueError(f"{microvolts.shape[0]} leads instead of {len(LEADS)}")
    return millivolts(ten_seconds(at_network_rate(microvolts, sampling_rate)))


def at_network_rate(microvolts: npt.NDArray[np.floating], sampling_rate: float) -> npt.NDArray[np.float64]:
    """Resample to 100 Hz; the filter of the polyphase method keeps muscle and mains from folding into the waves."""
    signal = np.asarray(microvolts, dtype=np.float64)
    ratio = (Fraction(RATE) / Fraction(sampling_rate)).limit_denominator(_LARGEST_DENOMINATOR)
    if ratio == 1:
        return signal
    # Padding by a line keeps an electrode offset from ringing at both ends.
    return np.asarray(resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line"))


def ten_seconds(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the middle ten seconds; a shorter recording is continued by its own mirror image, which invents no edge."""
    length = signal.shape[1]
    if length >= SAMPLES:
        start = (length - SAMPLES) // 2
        return signal[:, start : start + SAMPLES]
    return np.pad(signal, ((0, 0), (0, SAMPLES - length)), mode="symmetric")


def millivolts(microvolts: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return microvolts as millivolts within the limit."""
    signal: npt.NDArray[np.float32] = np.asarray(microvolts, dtype=np.float32) / np.float32(1000)
    return signal.clip(-LIMIT_MV, LIMIT_MV)
