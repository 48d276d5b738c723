"""PTB-XL as arrays: 12-lead ECGs of Wagner et al. 2020 (PhysioNet, CC BY 4.0) in their folds, eight leads at 100 Hz.

A folder holds ``labels.csv`` (``ecg_id``, ``age``, ``sex``, ``strat_fold``, one column of 0 and 1 for each statement) and for
each fold ``foldNN_ids.npy`` and ``foldNN.xz``: differences of 4 uV steps, low bytes before high bytes, compressed by lzma.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.ecg.preprocessing import LEADS, SAMPLES

MICROVOLTS_A_STEP = 4
#: Columns of ``labels.csv`` that are not statements.
_FACTS = ("ecg_id", "age", "sex", "strat_fold")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recordings:
    """Some folds of the set."""

    #: (records, 8, 1000), microvolts.
    microvolts: npt.NDArray[np.int16]
    #: (records, statements), 0 or 1.
    labels: npt.NDArray[np.float32]
    #: The set's names of the statements, in the order of ``labels``.
    statements: tuple[str, ...]
    #: Years; 300 stands for over 89 and is given as 90.
    age: npt.NDArray[np.float32]
    #: 0 male, 1 female.
    sex: npt.NDArray[np.float32]


def folds_in(folder: Path) -> tuple[int, ...]:
    """Return the folds that the folder holds."""
    return tuple(sorted(int(file.stem.removeprefix("fold")) for file in folder.glob("fold[0-9][0-9].xz")))


def read_folds(folder: Path, folds: Sequence[int]) -> Recordings:
    """Read folds in the given order."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as lines:
        rows = {int(row["ecg_id"]): row for row in csv.DictReader(lines)}
    signals = [_signals(folder, fold) for fold in folds]
    chosen = [rows[int(number)] for ids, _ in signals for number in ids]
    statements = tuple(name for name in chosen[0] if name not in _FACTS)
    return Recordings(
        microvolts=np.concatenate([samples for _, samples in signals]),
        labels=np.array([[float(row[code]) for code in statements] for row in chosen], dtype=np.float32),
        statements=statements,
        age=np.minimum(np.array([float(row["age"]) for row in chosen], dtype=np.float32), 90),
        sex=np.array([float(row["sex"]) for row in chosen], dtype=np.float32),
    )


def _signals(folder: Path, fold: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]:
    ids = np.load(folder / f"fold{fold:02d}_ids.npy")
    raw = np.frombuffer(lzma.decompress((folder / f"fold{fold:02d}.xz").read_bytes()), np.uint8).reshape(2, -1)
    steps = np.ascontiguousarray(raw.T).view("<i2").reshape(len(ids), len(LEADS), SAMPLES)
    microvolts = np.cumsum(steps, axis=2, dtype=np.int32) * MICROVOLTS_A_STEP
    return ids, np.clip(microvolts, -32768, 32767).astype(np.int16)
