"""The CinC Challenge 2011 as arrays: 12-lead ECGs of telephones that people called acceptable or not.

Silva et al. 2011, PhysioNet. A folder holds ``labels.csv`` (``record``, ``label``) and ``signals.xz``: differences of device
steps, low bytes before high bytes, compressed by lzma; 12 leads in the order of the paper, 10 s at 250 Hz.
"""

from __future__ import annotations

import csv
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, find_peaks, sosfiltfilt
from scipy.sparse.csgraph import connected_components

from models.ecg_quality.features import RATE

LEADS = 12
SAMPLES = 2500
MICROVOLTS_A_STEP = 5.0
#: Averaged beats that correlate better than this may be one person's.
SAME_PERSON = 0.95
#: Samples before and after the highest point that an averaged beat holds, and how far two are moved against each other.
_BEFORE, _AFTER, _SHIFT = 60, 90, 12
_EIGHT = (0, 1, 6, 7, 8, 9, 10, 11)
_WILD_UV = 5000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedRecordings:
    """The set."""

    names: tuple[str, ...]
    #: (records, 12, 2500).
    microvolts: npt.NDArray[np.float32]
    #: (records,), 1 where people called it unacceptable.
    unacceptable: npt.NDArray[np.int64]


def holds_quality(folder: Path) -> bool:
    """Return whether the folder holds the set."""
    return (folder / "signals.xz").is_file() and (folder / "labels.csv").is_file()


def read_quality(folder: Path) -> JudgedRecordings:
    """Read the set in the order of its labels."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    raw = np.frombuffer(lzma.decompress((folder / "signals.xz").read_bytes()), np.uint8).reshape(2, -1)
    steps = np.ascontiguousarray(raw.T).view("<i2").reshape(len(rows), LEADS, SAMPLES)
    return JudgedRecordings(
        names=tuple(row["record"] for row in rows),
        microvolts=np.cumsum(steps, axis=2, dtype=np.int32).astype(np.int16) * np.float32(MICROVOLTS_A_STEP),
        unacceptable=np.array([row["label"] == "unacceptable" for row in rows], dtype=np.int64),
    )


def people(microvolts: npt.NDArray[np.float32], same: float = SAME_PERSON) -> npt.NDArray[np.int64]:
    """Return a number for each recording; those whose averaged beats are nearly the same share one.

    The set names no patients. Two recordings of one person have one shape of beat; recordings without beats stay alone.
    """
    beats = np.stack([_averaged_beat(one) for one in microvolts])
    middle = _unit(beats[:, :, _SHIFT:-_SHIFT])
    width = middle.shape[1] // len(_EIGHT)
    likeness = np.zeros((len(beats), len(beats)))
    for shift in range(2 * _SHIFT + 1):
        likeness = np.maximum(likeness, middle @ _unit(beats[:, :, shift : shift + width]).T)
    np.fill_diagonal(likeness, 0)
    _, groups = connected_components(np.maximum(likeness, likeness.T) > same, directed=False)
    return np.asarray(groups, dtype=np.int64)


def _unit(beats: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows = beats.reshape(len(beats), -1)
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9))


def _averaged_beat(microvolts: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    signal = sosfiltfilt(
        butter(2, (1, 30), "bandpass", fs=RATE, output="sos"), microvolts[list(_EIGHT)].astype(np.float64), axis=1
    )
    speed = np.sqrt((np.gradient(np.clip(signal, -_WILD_UV, _WILD_UV), axis=1) ** 2).sum(axis=0))
    speed = np.convolve(speed, np.ones(15) / 15, "same")
    peaks, _ = find_peaks(speed, height=0.6 * np.quantile(speed, 0.97), distance=round(0.3 * RATE))
    whole = [peak for peak in peaks if _BEFORE <= peak < signal.shape[1] - _AFTER]
    if len(whole) < 3:
        return np.zeros((len(_EIGHT), _BEFORE + _AFTER))
    beat = np.median([signal[:, peak - _BEFORE : peak + _AFTER] for peak in whole], axis=0)
    return np.asarray(beat - beat.mean(axis=1, keepdims=True))
