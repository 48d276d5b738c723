"""How well unfit recordings are told from fit ones, and exchanged electrodes from right ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.ecg.acceptance import AcceptanceModel
from inference.ecg.exchange import ExchangeDetector
from inference.ecg.leads import LEADS
from inference.ecg.quality import quality_of
from inference.ecg.rulebook import rulebook
from inference.ecg.waveform import Ecg, Filters
from models.ecg.data import read_folds
from models.ecg.metrics import auc
from models.ecg.preprocessing import LEADS as EIGHT
from models.ecg.preprocessing import RATE as FOLD_RATE
from models.ecg_delineation.ludb import LEADS as MARKED_LEADS
from models.ecg_delineation.ludb import RATE as MARKED_RATE
from models.ecg_delineation.ludb import read_ludb
from models.ecg_quality.beat_shape import EXCHANGES, NONE, beat_shape, exchange_matrix
from models.ecg_quality.data import read_quality
from models.ecg_quality.features import RATE


def quality_figures(folder: Path, model: AcceptanceModel) -> dict[str, Any]:
    """Judge every recording of the set; those that taught the model are counted apart."""
    recordings = read_quality(folder)
    ecgs = [
        Ecg(sop_instance_uid=name, leads=LEADS, microvolts=row, sampling_rate=RATE, filters=Filters())
        for name, row in zip(recordings.names, recordings.microvolts, strict=True)
    ]
    probability = np.array([model.unacceptable(ecg) for ecg in ecgs], dtype=np.float64)
    declined = np.array([quality_of(ecg, rulebook().quality).reason is not None for ecg in ecgs])
    bad = recordings.unacceptable == 1
    known = np.isin(recordings.names, model.bundle.details["taught"])
    called = probability >= model.threshold
    return {
        "records": len(ecgs),
        "unacceptable": int(bad.sum()),
        "weights_sha256": model.bundle.weights_sha256,
        "auc_held_out_in_training": model.bundle.details["held_out_auc"],
        "new_records": int((~known).sum()),
        "auc_of_new_records": _number(auc(bad[~known].astype(np.float64), probability[~known])),
        "auc_of_taught_records": _number(auc(bad[known].astype(np.float64), probability[known])),
        "threshold": model.threshold,
        "called_unfit": {"unacceptable": int(called[bad].sum()), "acceptable": int(called[~bad].sum())},
        "pre_read_declined": {"unacceptable": int(declined[bad].sum()), "acceptable": int(declined[~bad].sum())},
    }


def exchange_figures(folder: Path, folds: Sequence[int], detector: ExchangeDetector) -> dict[str, Any]:
    """Exchange electrodes of every recording of PTB-XL by arithmetic and ask the detector; folds 1 to 8 have taught it."""
    recordings = read_folds(folder, folds)
    normal = recordings.labels[:, recordings.statements.index("NORM")] == 1
    found, alarms = _exchanges(list(recordings.microvolts), FOLD_RATE, detector)
    share = round(float(alarms[normal].mean() * 100), 3) if normal.any() else None
    return {**found, "normal": int(normal.sum()), "false_alarms_per_100_normal": share}


def marked_exchange_figures(folder: Path, detector: ExchangeDetector) -> dict[str, Any]:
    """Do the same with LUDB's records, which have taught nothing; few of them are normal."""
    places = [MARKED_LEADS.index(name) for name in EIGHT]
    return _exchanges([record.microvolts[places] for record in read_ludb(folder)], MARKED_RATE, detector)[0]


def _exchanges(
    recordings: Sequence[npt.NDArray[np.generic]], sampling_rate: float, detector: ExchangeDetector
) -> tuple[dict[str, Any], npt.NDArray[np.bool_]]:
    """Return the figures, and which recordings are suspected as they are; one without an averaged beat is never suspected."""
    beats = [beat_shape(one.astype(np.float64), sampling_rate) for one in recordings]
    alarms = np.array([_said(beat, NONE, detector) is not None for beat in beats])
    rows: dict[str, Any] = {}
    for pair in EXCHANGES:
        said = [_said(beat, pair, detector) for beat in beats]
        rows[pair] = {
            "suspected": round(float(np.mean([one is not None for one in said])), 4),
            "named": round(float(np.mean([one == pair for one in said])), 4),
        }
    found = {
        "records": len(alarms),
        "weights_sha256": detector.bundle.weights_sha256,
        "false_alarms_per_100": round(float(alarms.mean() * 100), 3),
        "exchanges": rows,
    }
    return found, alarms


def _said(beat: npt.NDArray[np.float32] | None, pair: str, detector: ExchangeDetector) -> str | None:
    if beat is None:
        return None
    moved = exchange_matrix(pair) @ beat
    suspicion = detector.of_beat(moved / np.sqrt((moved**2).mean()))
    return None if suspicion is None else suspicion.pair


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
