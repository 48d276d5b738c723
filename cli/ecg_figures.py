"""How well the ECG statement network does on recordings with labels; onnxruntime only, as in serving."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cli.evaluation import NothingToMeasure
from inference.ecg.statements import StatementNetwork
from models.ecg.data import Recordings, read_folds
from models.ecg.metrics import auc_by_column, expected_calibration_error
from models.ecg.preprocessing import RATE
from models.ecg.superclasses import SUPERCLASSES, superclass_labels


def ecg_figures(data: Path, folds: Sequence[int], network: StatementNetwork) -> dict[str, Any]:
    """Run the network over the folds, one recording at a time as in serving, and measure."""
    bundle = network.bundle
    recordings = read_folds(data, folds)
    if unknown := sorted(set(bundle.labels) - set(recordings.statements)):
        raise NothingToMeasure(data, f"labels.csv has no column for {', '.join(unknown)}")
    began = time.perf_counter()
    outputs = []
    for number, microvolts in enumerate(recordings.microvolts):
        outputs.append(network.outputs(microvolts, RATE))
        if number % 500 == 499:
            print(f"{number + 1} of {len(recordings.microvolts)}", file=sys.stderr, flush=True)
    seconds = (time.perf_counter() - began) / len(outputs)
    statements, superclasses = (np.stack(column) for column in zip(*outputs, strict=True))
    return {
        "folds": list(folds),
        "records": len(outputs),
        "weights_sha256": bundle.weights_sha256,
        **_statement_figures(recordings, bundle.labels, bundle.thresholds, statements),
        **_superclass_figures(recordings, superclasses),
        "seconds_per_ecg": round(seconds, 4),
    }


def _statement_figures(recordings: Recordings, labels: Sequence[str], points: Any, probability: Any) -> dict[str, Any]:
    truth = recordings.labels[:, [recordings.statements.index(code) for code in labels]]
    areas = auc_by_column(truth, probability)
    counted = np.flatnonzero(np.isfinite(areas))
    rows: dict[str, dict[str, Any]] = {}
    for column, code in enumerate(labels):
        present = truth[:, column] == 1
        rows[code] = {"positives": int(present.sum()), "auc": _number(areas[column]), "spoken": code in points}
        if code in points:
            called = probability[:, column] >= points[code]
            rows[code] |= {"sensitivity": _share(called[present]), "specificity": _share(~called[~present])}
    errors = [expected_calibration_error(truth[:, column], probability[:, column]) for column in counted]
    return {
        "macro_auc": _number(np.mean(areas[counted])) if len(counted) else None,
        "statements_counted": len(counted),
        "statements": rows,
        "calibration_error": _number(np.mean(errors)) if errors else None,
        "brier": _number(np.mean((truth[:, counted] - probability[:, counted]) ** 2)) if len(counted) else None,
    }


def _superclass_figures(recordings: Recordings, probability: Any) -> dict[str, Any]:
    areas = auc_by_column(superclass_labels(recordings.labels, recordings.statements), probability)
    finite = areas[np.isfinite(areas)]
    return {
        "superclasses": {name: _number(area) for name, area in zip(SUPERCLASSES, areas, strict=True)},
        "macro_superclass_auc": _number(finite.mean()) if len(finite) else None,
    }


def _number(value: float | np.floating[Any]) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None


def _share(hits: Any) -> float | None:
    return _number(hits.mean()) if len(hits) else None
