"""Is a lead connected, clipped or buried in noise: before anything is measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, iirpeak, sosfiltfilt, tf2sos

from inference.ecg.delineation import RATE, at_rate
from inference.ecg.rulebook import QualityLimits
from inference.ecg.waveform import Ecg

_WINDOW = RATE // 5


class LeadState(StrEnum):
    """What a lead is good for."""

    GOOD = "good"
    #: No heart in it: electrode off, cable broken, channel not connected.
    OFF = "off"
    #: The amplifier ran into its end.
    SATURATED = "saturated"
    #: Muscle, movement or a loose electrode.
    NOISY = "noisy"
    #: Mains hum of 50 or 60 Hz.
    MAINS = "mains"
    #: The line wanders with breathing or movement; ST levels are doubtful, times are not.
    WANDER = "wander"
    #: The recording's length already excluded it.
    NOT_JUDGED = "not_judged"


_MEASURABLE = (LeadState.GOOD, LeadState.MAINS, LeadState.WANDER)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What the leads are good for, by name."""

    leads: Mapping[str, LeadState]
    #: A code of the vocabulary's reasons, None when the recording can be read.
    reason: str | None = None

    @property
    def usable(self) -> tuple[str, ...]:
        """Names of the leads that may be measured; hum or a wandering line alone does not hide the waves."""
        return tuple(name for name, state in self.leads.items() if state in _MEASURABLE)


def quality_of(ecg: Ecg, limits: QualityLimits) -> Quality:
    """Judge every lead, then the recording."""
    if not limits.shortest_seconds <= ecg.seconds <= limits.longest_seconds:
        reason = "ecg_too_short" if ecg.seconds < limits.shortest_seconds else "ecg_too_long"
        return Quality(leads=dict.fromkeys(ecg.leads, LeadState.NOT_JUDGED), reason=reason)
    leads = {name: lead_state(row, ecg.sampling_rate, limits) for name, row in zip(ecg.leads, ecg.microvolts, strict=True)}
    judged = Quality(leads=leads)
    if len(judged.usable) >= limits.usable_share * len(leads) and judged.usable:
        return judged
    off = sum(state is LeadState.OFF for state in leads.values())
    return Quality(leads=leads, reason="ecg_leads_off" if 2 * off >= len(leads) - len(judged.usable) else "ecg_too_noisy")


def lead_state(samples: npt.NDArray[np.float32], sampling_rate: float, limits: QualityLimits) -> LeadState:
    """Judge one lead."""
    if _longest_at_rail(samples) / sampling_rate > limits.clipped_seconds and np.ptp(samples) > limits.clipped_above_uv:
        return LeadState.SATURATED
    signal = at_rate(samples, sampling_rate)
    swings = _swings(signal)
    if np.quantile(swings, 0.9) < limits.flat_uv:
        return LeadState.OFF
    hum = max(_hum(signal, frequency) for frequency in (50.0, 60.0))
    fast = sosfiltfilt(_pass_filter("highpass", limits.noise_above_hz), signal)
    noise = float(np.median(_swings(fast)))
    if hum > limits.mains_uv and noise < 2 * hum:
        return LeadState.MAINS
    wild = np.median(swings) > limits.wild_uv or np.quantile(swings, 0.98) > limits.jumps_uv
    if noise > limits.noise_uv or wild:
        return LeadState.NOISY
    slow = sosfiltfilt(_pass_filter("lowpass", limits.wander_below_hz), signal)
    return LeadState.WANDER if np.ptp(slow) > limits.wander_uv else LeadState.GOOD


def _swings(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Peak to peak of each fifth of a second; the median of them mostly falls between the QRS complexes."""
    whole = signal[: len(signal) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    return np.asarray(np.ptp(whole, axis=1))


def _hum(signal: npt.NDArray[np.float64], frequency: float) -> float:
    return float(np.median(_swings(sosfiltfilt(_peak_filter(frequency), signal))))


@cache
def _pass_filter(kind: str, hertz: float) -> npt.NDArray[np.float64]:
    return np.asarray(butter(2, hertz, kind, fs=RATE, output="sos"))


@cache
def _peak_filter(frequency: float) -> npt.NDArray[np.float64]:
    return np.asarray(tf2sos(*iirpeak(frequency, Q=25, fs=RATE)))


def _longest_at_rail(samples: npt.NDArray[np.float32]) -> int:
    """Longest run of samples that stay at the recording's own highest or lowest value."""
    longest = 0
    for rail in (samples.max(), samples.min()):
        still = np.concatenate(([0], (samples == rail).astype(np.int8), [0]))
        edges = np.flatnonzero(np.diff(still))
        longest = max(longest, int((edges[1::2] - edges[::2]).max(initial=0)))
    return longest
