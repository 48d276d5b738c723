"""How well intervals and rate are measured, on recordings whose waves cardiologists have marked (LUDB)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inference.ecg.delineation import Delineator
from inference.ecg.measure import measure
from inference.ecg.waveform import Ecg, Filters
from models.ecg_delineation.ludb import LEADS, RATE, annotated_intervals, read_ludb

_CODES = {"pr": "ecg_pr", "qrs": "ecg_qrs", "qt": "ecg_qt", "rate": "ecg_heart_rate"}
#: An error up to this counts as small: the mean errors that IEC 60601-2-25 allows a device on the CSE recordings, ms; for the
#: rate 5/min.
TOLERANCES = {"pr": 10.0, "qrs": 10.0, "qt": 25.0, "rate": 5.0}
UNITS = {"pr": "ms", "qrs": "ms", "qt": "ms", "rate": "/min"}


def measurement_figures(folder: Path, delineator: Delineator) -> dict[str, Any]:
    """Measure every record and compare it with its marks."""
    errors: dict[str, list[float]] = {name: [] for name in _CODES}
    missed, invented = dict.fromkeys(_CODES, 0), dict.fromkeys(_CODES, 0)
    records = 0
    for record in read_ludb(folder):
        records += 1
        ecg = Ecg(sop_instance_uid=record.name, leads=LEADS, microvolts=record.microvolts, sampling_rate=RATE, filters=Filters())
        marked, ours = annotated_intervals(record), measure(ecg, LEADS, delineator).values
        for name, code in _CODES.items():
            if name in marked and code in ours:
                errors[name].append(ours[code] - marked[name])
            elif name in marked:
                missed[name] += 1
            elif code in ours:
                invented[name] += 1
    return {
        "records": records,
        "errors": {
            name: _figures(np.array(row), TOLERANCES[name]) | {"missed": missed[name], "invented": invented[name]}
            for name, row in errors.items()
        },
    }


def _figures(errors: np.ndarray[Any, np.dtype[np.float64]], tolerance: float) -> dict[str, Any]:
    if not len(errors):
        return {"compared": 0}
    size = np.abs(errors)
    return {
        "compared": len(errors),
        "median_absolute_error": round(float(np.median(size)), 2),
        "ninetieth_percentile": round(float(np.quantile(size, 0.9)), 2),
        "mean_error": round(float(errors.mean()), 2),
        "sd": round(float(errors.std()), 2),
        "within_tolerance": round(float((size <= tolerance).mean()), 3),
        "tolerance": tolerance,
    }
