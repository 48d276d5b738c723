"""Measures the panel on fold 9: areas with intervals, calibration, operating points. Writes ``evaluation.json`` into the run.

``python -m models.ecg.evaluate --data ../shared/data/ecg/ptbxl --run run``

Fold 9 also chooses calibration and operating points; what they do is therefore measured out of fold as well.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.ecg.calibration import operating_point, sigmoid
from models.ecg.data import Recordings, read_folds
from models.ecg.metrics import FEWEST_POSITIVES, auc_by_column, expected_calibration_error
from models.ecg.panel import load_panel
from models.ecg.superclasses import SUPERCLASSES
from models.ecg.train import VALIDATION_FOLD, all_labels, logits_of

DRAWS = 1000
#: A statement is spoken only where the lower end of its area's interval is above this,
LOWEST_AREA = 0.85
#: and at least this share of its calls is right, out of fold.
LOWEST_PRECISION = 0.3

Array = npt.NDArray[np.float64]


def evaluate(data: Path, run: Path) -> dict[str, Any]:
    """Measure the panel of ``run`` on fold 9."""
    check = read_folds(data, (VALIDATION_FOLD,))
    count = len(check.statements)
    panel = load_panel(run, count)
    members = dict(zip(panel.names, panel.members, strict=True))
    each = {name: logits_of(member, check.microvolts) for name, member in members.items()}
    truth = all_labels(check).astype(np.float64)
    first = np.asarray(np.mean(list(each.values()), axis=0, dtype=np.float64))[:, : truth.shape[1]]
    scores = logits_of(panel, check.microvolts).astype(np.float64)
    areas = auc_by_column(truth, scores)
    drawn = _drawn_areas(truth, scores)
    findings, platt, outside = _statements(check, scores, areas, drawn)
    counted = np.flatnonzero(check.labels.sum(axis=0) >= FEWEST_POSITIVES)
    raw, fair = sigmoid(scores[:, counted]), outside[:, counted]
    return {
        "records": len(check.labels),
        "draws": DRAWS,
        "members": {
            name: {
                "macro_auc": float(np.nanmean(auc_by_column(check.labels, one[:, :count]))),
                "weights": sum(value.numel() for value in members[name].parameters()),
                **_training(run / f"{name}.pt"),
            }
            for name, one in each.items()
        },
        "features": panel.second.in_features,
        "opinions": {
            name: {
                "macro_auc": float(np.nanmean(auc_by_column(check.labels, opinion[:, :count]))),
                "macro_superclass_auc": float(auc_by_column(truth[:, count:], opinion[:, count:]).mean()),
            }
            for name, opinion in (("first", first), ("second", 2 * scores - first), ("both", scores))
        },
        "counted": len(counted),
        "macro_auc": _interval(float(areas[counted].mean()), np.nanmean(drawn[:, counted], axis=1)),
        "superclasses": {
            name: _interval(float(areas[count + place]), drawn[:, count + place]) for place, name in enumerate(SUPERCLASSES)
        },
        "macro_superclass_auc": _interval(float(areas[count:].mean()), drawn[:, count:].mean(axis=1)),
        "calibration_error": {"raw": _mean_error(truth[:, counted], raw), "outside": _mean_error(truth[:, counted], fair)},
        "brier": {name: float(np.mean((truth[:, counted] - seen) ** 2)) for name, seen in (("raw", raw), ("outside", fair))},
        "platt": platt,
        "statements": findings,
    }


def _statements(
    check: Recordings, scores: Array, areas: Array, drawn: Array
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[float, float]], Array]:
    rows: dict[str, dict[str, Any]] = {}
    platt: dict[str, tuple[float, float]] = {}
    outside = np.zeros((len(check.labels), len(check.statements)))
    for column, code in enumerate(check.statements):
        truth = check.labels[:, column].astype(np.float64)
        rows[code] = {"positives": int(truth.sum()), "spoken": False}
        platt[code] = (1.0, 0.0)
        if truth.sum() >= FEWEST_POSITIVES:
            platt[code], point, outside[:, column] = operating_point(scores[:, column], truth)
            interval = _interval(float(areas[column]), drawn[:, column])
            spoken = interval[1] >= LOWEST_AREA and point.precision_outside >= LOWEST_PRECISION
            error = expected_calibration_error(truth, outside[:, column])
            rows[code] |= {"auc": interval, "spoken": bool(spoken), "calibration_error": error, **asdict(point)}
    return rows, platt, outside


def _drawn_areas(truth: Array, scores: Array) -> Array:
    """Return the areas of bootstrap samples of the records, (draws, columns)."""
    chance = np.random.default_rng(11)
    samples = (chance.integers(0, len(truth), len(truth)) for _ in range(DRAWS))
    return np.stack([auc_by_column(truth[drawn], scores[drawn], fewest=1) for drawn in samples])


def _interval(value: float, drawn: Array) -> list[float]:
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return [value, float(low), float(high)]


def _mean_error(truth: Array, probability: Array) -> float:
    return float(np.mean([expected_calibration_error(t, p) for t, p in zip(truth.T, probability.T, strict=True)]))


def _training(file: Path) -> dict[str, Any]:
    kept = torch.load(file, weights_only=True)
    member, history = kept["member"], kept["history"]
    seconds = round(sum(epoch["seconds"] for epoch in history))
    return {
        "kind": member["kind"],
        "start": member.get("start"),
        "epochs": len(history),
        "seed": member["seed"],
        "seconds": seconds,
    }


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the twelve-lead ECG networks on fold 9.")
    parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv and foldNN.xz")
    parser.add_argument("--run", type=Path, required=True, help="folder of models.ecg.train")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = evaluate(options.data, options.run)
    (options.run / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    brief = {key: found[key] for key in ("members", "macro_auc", "superclasses", "macro_superclass_auc", "calibration_error")}
    print(json.dumps(brief, indent=1))


if __name__ == "__main__":
    main()
