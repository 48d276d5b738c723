"""The averaged beat by which exchanged electrodes are suspected, and what each exchange does to the leads; no torch here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, find_peaks, sosfiltfilt

from models.ecg.preprocessing import LEADS, at_network_rate

Array = npt.NDArray[np.float64]

#: Hz.
RATE = 100
#: Samples before and after the highest point of the QRS.
BEFORE, AFTER = 30, 50
LENGTH = BEFORE + AFTER
#: One line for metadata and pre-reads.
DESCRIPTION = (
    "leads I, II, V1 to V6 at 100 Hz, 0.5 to 30 Hz; median of the beats, 0.3 s before to 0.5 s after their highest speed, "
    "in units of its own root mean square"
)
_BAND = butter(2, (0.5, 30), "bandpass", fs=RATE, output="sos")
_FEWEST = 3
_SMALLEST_UV = 20.0

#: Pairs of electrodes that are exchanged, in the order of the network's outputs behind "none".
EXCHANGES = ("RA/LA", "RA/LL", "LA/LL", "RA/RL", "V1/V2", "V2/V3", "V3/V4", "V4/V5", "V5/V6")
NONE = "none"


def beat_shape(microvolts: npt.NDArray[np.floating], sampling_rate: float) -> npt.NDArray[np.float32] | None:
    """Return the averaged beat (8, 80) of the leads in the order of ``LEADS``; None where there are too few beats to average."""
    signal = at_network_rate(microvolts, sampling_rate)
    if signal.shape[1] <= LENGTH:
        return None
    signal = sosfiltfilt(_BAND, signal, axis=1)
    speed = np.convolve(np.sqrt((np.gradient(signal, axis=1) ** 2).sum(axis=0)), np.ones(5) / 5, "same")
    peaks, _ = find_peaks(speed, height=0.5 * np.quantile(speed, 0.98), distance=round(0.3 * RATE))
    whole = [peak for peak in peaks if BEFORE <= peak <= signal.shape[1] - AFTER]
    if len(whole) < _FEWEST:
        return None
    beat = np.median([signal[:, peak - BEFORE : peak + AFTER] for peak in whole], axis=0)
    size = float(np.sqrt((beat**2).mean()))
    return None if size < _SMALLEST_UV else (beat / size).astype(np.float32)


def exchange_matrix(pair: str) -> npt.NDArray[np.float32]:
    """Return what the exchange of two electrodes makes of the eight leads, (8, 8): new leads = matrix @ leads.

    From I = LA - RA, II = LL - RA and Wilson's terminal (RA + LA + LL) / 3. With RA on the right leg, which has the potential of
    the left one, II is silent and the terminal moves.
    """
    matrix = np.eye(len(LEADS), dtype=np.float32)
    one, two = LEADS.index("I"), LEADS.index("II")
    limbs = {
        "RA/LA": ((-1, 0), (-1, 1)),
        "RA/LL": ((1, -1), (0, -1)),
        "LA/LL": ((0, 1), (1, 0)),
        "RA/RL": ((1, -1), (0, 0)),
    }
    if pair in limbs:
        matrix[[one, two]] = 0
        for row, (of_one, of_two) in zip((one, two), limbs[pair], strict=True):
            matrix[row, one], matrix[row, two] = of_one, of_two
        if pair == "RA/RL":
            matrix[2:, two] = -1 / 3
    elif pair != NONE:
        first, second = (LEADS.index(name) for name in pair.split("/"))
        matrix[[first, second]] = matrix[[second, first]]
    return matrix
