"""What the quality model sees of a recording: signal-quality numbers of each lead, then how the leads are spread.

Numbers of one lead, after Clifford 2012, Di Marco 2012 and Johannesen 2012 (all from the CinC Challenge 2011): stretches without
signal, samples at one value, offset, wander below 0.7 Hz, mains, muscle above 40 Hz, power of the QRS band, skewness, kurtosis,
jumps, and agreement with the other leads about when the heart beats. A recording is as good as its worst leads: of each number
the three lowest and highest are seen, and the median. No training code here.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, resample_poly, sosfilt, sosfiltfilt

Array = npt.NDArray[np.float64]

#: Hz of everything below.
RATE = 250
#: One line for metadata and pre-reads.
DESCRIPTION = "twelve leads at 250 Hz, at most the middle 10 s; numbers of models/ecg_quality/features.py"
LONGEST = 10 * RATE
_WINDOW = RATE // 5
_SECOND = RATE
_LARGEST_DENOMINATOR = 1000

#: Numbers of one lead, in the order of ``lead_numbers``; each grows with what is wrong, or with what is right.
LEAD_NUMBERS = (
    "quiet_share", "still_share", "longest_still", "highest_share", "offset", "span", "wander", "wander_span",
    "mains", "fast", "fast_worst", "quiet_swing", "swing", "swing_worst", "qrs_share", "low_share", "skewness", "kurtosis",
    "jump", "agreement", "spread_of_seconds",
)  # fmt: skip
#: How each number's values over the leads are summed up.
_SUMMARIES = ("lowest", "second_lowest", "third_lowest", "median", "third_highest", "second_highest", "highest")
NAMES = (
    *(f"{name}_{summary}" for name in LEAD_NUMBERS for summary in _SUMMARIES),
    "dead_leads", "limb_residual", "first_components", "rate_spread",
)  # fmt: skip


def recording_numbers(microvolts: npt.NDArray[np.floating], sampling_rate: float) -> npt.NDArray[np.float32]:
    """Return the model's input (len(NAMES),) of leads (leads, samples) in the order of the paper.

    Where leads are missing the summaries are over those that are there.
    """
    signal = at_quality_rate(microvolts, sampling_rate)
    numbers, bands = lead_numbers(signal)
    ordered = np.sort(numbers, axis=1)
    count = ordered.shape[1]
    places = [0, min(1, count - 1), min(2, count - 1), count // 2, max(0, count - 3), max(0, count - 2), count - 1]
    dead = numbers[LEAD_NUMBERS.index("quiet_share")] > 0.8
    return np.concatenate([ordered[:, places].ravel(), [dead.sum(), *_between_leads(signal, bands)]]).astype(np.float32)


def at_quality_rate(microvolts: npt.NDArray[np.floating], sampling_rate: float) -> Array:
    """Return at most the middle ten seconds at ``RATE``."""
    length = round(LONGEST / RATE * sampling_rate)
    start = max(0, (microvolts.shape[1] - length) // 2)
    signal = np.asarray(microvolts[:, start : start + length], dtype=np.float64)
    ratio = (Fraction(RATE) / Fraction(sampling_rate)).limit_denominator(_LARGEST_DENOMINATOR)
    if ratio == 1:
        return signal
    return np.asarray(resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line"))


def lead_numbers(signal: Array) -> tuple[Array, Array]:
    """Return the numbers of every lead, (len(LEAD_NUMBERS), leads), and the leads' QRS band, (leads, samples)."""
    slow = sosfiltfilt(_LOW, signal, axis=1)
    level = np.median(signal, axis=1, keepdims=True)
    fast = sosfilt(_FAST, signal - level, axis=1)
    qrs = sosfilt(_QRS, signal - level, axis=1)
    heart = signal - slow
    swings, fast_swings = _swings(signal), _swings(fast)
    steps = np.diff(signal, axis=1)
    still = np.abs(steps) < _STILL_UV
    power, frequency = _power(heart)
    total = power[:, (frequency >= 1) & (frequency <= 40)].sum(axis=1) + 1.0
    spread = heart.std(axis=1) + 1.0
    normal = heart / spread[:, None]
    seconds = _by_window(heart, _SECOND).std(axis=2)
    envelope = _envelope(qrs)
    numbers = [
        (swings < _QUIET_UV).mean(axis=1),
        still.mean(axis=1),
        _longest_runs(still) / signal.shape[1],
        np.maximum(_share_at(signal, signal.max(axis=1)), _share_at(signal, signal.min(axis=1))),
        np.log1p(np.abs(level[:, 0])),
        np.log1p(np.ptp(signal, axis=1)),
        np.log1p(slow.std(axis=1)),
        np.log1p(np.ptp(slow, axis=1)),
        np.log1p(power[:, _near(frequency, 50) | _near(frequency, 60)].sum(axis=1)),
        np.log1p(np.median(fast_swings, axis=1)),
        np.log1p(np.quantile(fast_swings, 0.95, axis=1)),
        np.log1p(np.quantile(swings, 0.2, axis=1)),
        np.log1p(np.median(swings, axis=1)),
        np.log1p(np.quantile(swings, 0.98, axis=1)),
        power[:, (frequency >= 5) & (frequency <= 15)].sum(axis=1) / total,
        power[:, (frequency >= 0.3) & (frequency < 1)].sum(axis=1) / total,
        np.abs((normal**3).mean(axis=1)),
        np.log1p((normal**4).mean(axis=1)),
        np.log1p(np.abs(steps).max(axis=1)),
        _agreement(envelope),
        np.log((seconds.max(axis=1) + 1) / (seconds.min(axis=1) + 1)),
    ]
    return np.stack(numbers), qrs


#: A step between samples below this is none, and a fifth of a second below that holds no heart; microvolts.
_STILL_UV, _QUIET_UV = 1.0, 25.0
_LOW = butter(2, 0.7, "lowpass", fs=RATE, output="sos")
_FAST = butter(2, 40.0, "highpass", fs=RATE, output="sos")
_QRS = butter(2, (5.0, 20.0), "bandpass", fs=RATE, output="sos")


def _by_window(signal: Array, length: int) -> Array:
    count = max(1, signal.shape[1] // length)
    length = min(length, signal.shape[1])
    return signal[:, : count * length].reshape(len(signal), count, length)


def _swings(signal: Array) -> Array:
    return np.asarray(np.ptp(_by_window(signal, _WINDOW), axis=2))


def _power(signal: Array) -> tuple[Array, Array]:
    window = np.hanning(signal.shape[1])
    spectrum = np.abs(np.fft.rfft(signal * window, axis=1)) ** 2 / signal.shape[1]
    return np.asarray(spectrum, dtype=np.float64), np.fft.rfftfreq(signal.shape[1], 1 / RATE).astype(np.float64)


def _near(frequency: Array, hertz: float) -> npt.NDArray[np.bool_]:
    return np.abs(frequency - hertz) <= 1.0


def _longest_runs(still: npt.NDArray[np.bool_]) -> Array:
    longest = []
    for row in still:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
        longest.append((edges[1::2] - edges[::2]).max(initial=0))
    return np.asarray(longest, dtype=np.float64)


def _share_at(signal: Array, values: Array) -> Array:
    return np.asarray((np.abs(signal - values[:, None]) < _STILL_UV).mean(axis=1))


def _envelope(qrs: Array) -> Array:
    width = RATE // 10
    kernel = np.ones(width) / width
    rows = np.stack([np.convolve(np.abs(row), kernel, "same") for row in qrs])
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6))


def _agreement(envelope: Array) -> Array:
    """Correlation of each lead's beats with the other leads' median beat train; the median does not listen to bad leads."""
    common = np.median(envelope, axis=0)
    return np.asarray(envelope @ (common / (np.linalg.norm(common) + 1e-6)))


def _between_leads(signal: Array, qrs: Array) -> tuple[float, float, float]:
    """Return what Einthoven's law leaves over, the share of the first three components, the spread of the leads' beat counts."""
    residual = 0.0
    if len(signal) >= 3:
        one, two, three = (row - np.median(row) for row in signal[:3])
        residual = float(np.log1p(np.abs(one + three - two).mean()))
    values = np.linalg.svd(qrs - qrs.mean(axis=1, keepdims=True), compute_uv=False) ** 2
    first = float(values[:3].sum() / (values.sum() + 1e-6))
    counts = [((row[1:] > 0.02) & (row[:-1] <= 0.02)).sum() for row in _envelope(qrs)]
    return residual, first, float(np.std(counts))
