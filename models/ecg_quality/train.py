"""Trains the quality model and measures it on recordings that it has not seen: repeated, grouped cross-validation.

``python -m models.ecg_quality.train --data ../shared/data/ecg/quality --out run``

Writes ``evaluation.json`` and ``trees.npz`` (the ensemble fitted on the whole set) into the run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from models.ecg.metrics import auc, expected_calibration_error
from models.ecg_quality.data import people, read_quality
from models.ecg_quality.features import NAMES, RATE, recording_numbers

TREES = 300
REPEATS, PARTS = 5, 5
DRAWS = 1000
#: A recording is called unfit where at most this share of the acceptable ones would be.
FALSE_ALARMS = 0.05

Array = npt.NDArray[np.float64]


def ensemble(seed: int) -> ExtraTreesClassifier:
    """Return the untrained ensemble; extremely randomised trees hold out best with few recordings and many numbers."""
    return ExtraTreesClassifier(TREES, min_samples_leaf=3, max_features=0.3, class_weight="balanced", random_state=seed, n_jobs=1)


def train(data: Path, out: Path) -> dict[str, Any]:
    """Cross-validate, fit on everything, write the run; return the evaluation."""
    recordings = read_quality(data)
    numbers = np.stack([recording_numbers(one, RATE) for one in recordings.microvolts])
    truth, groups = recordings.unacceptable, people(recordings.microvolts)
    repeats = np.stack([held_out(numbers, truth, groups, seed) for seed in range(REPEATS)])
    score = repeats.mean(axis=0)
    slope, intercept = _platt(_logit(repeats).ravel(), np.tile(truth, REPEATS))
    probability = 1 / (1 + np.exp(-(slope * _logit(score) + intercept)))
    threshold = float(np.quantile(probability[truth == 0], 1 - FALSE_ALARMS))
    evaluation = {
        "records": len(truth),
        "unacceptable": int(truth.sum()),
        "groups": len(np.unique(groups)),
        "repeats": REPEATS,
        "parts": PARTS,
        "auc_of_repeats": [auc(truth.astype(np.float64), one) for one in repeats],
        "auc": _interval(truth, score, groups),
        "platt": [slope, intercept],
        "calibration_error": expected_calibration_error(truth.astype(np.float64), probability),
        "threshold": threshold,
        "sensitivity": float((probability[truth == 1] >= threshold).mean()),
        "specificity": float((probability[truth == 0] < threshold).mean()),
    }
    whole = ensemble(0).fit(numbers, truth)
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "trees.npz", numbers=numbers, expected=whole.predict_proba(numbers)[:, 1], **_arrays(whole))
    np.savez_compressed(out / "held_out.npz", probability=probability, names=np.array(recordings.names))
    importance = sorted(zip(whole.feature_importances_, NAMES, strict=True), reverse=True)[:10]
    evaluation["importance"] = {name: round(float(value), 3) for value, name in importance}
    (out / "evaluation.json").write_text(json.dumps(evaluation, indent=1) + "\n", encoding="utf-8")
    return evaluation


def held_out(numbers: npt.NDArray[np.float32], truth: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], seed: int) -> Array:
    """Return each recording's score by an ensemble that saw neither it nor anyone of its group."""
    score = np.zeros(len(truth))
    for seen, unseen in StratifiedGroupKFold(PARTS, shuffle=True, random_state=seed).split(numbers, truth, groups):
        score[unseen] = ensemble(seed).fit(numbers[seen], truth[seen]).predict_proba(numbers[unseen])[:, 1]
    return score


def _logit(score: Array) -> Array:
    held = np.clip(score, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(held / (1 - held)))


def _platt(logit: Array, truth: npt.NDArray[np.int64]) -> tuple[float, float]:
    fitted = LogisticRegression(C=1e6).fit(logit[:, None], truth)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _interval(truth: npt.NDArray[np.int64], score: Array, groups: npt.NDArray[np.int64]) -> list[float]:
    """Return the area and its 95 % interval: groups are drawn, not recordings."""
    chance = np.random.default_rng(11)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = []
    for _ in range(DRAWS):
        chosen = np.concatenate([members[place] for place in chance.integers(0, len(members), len(members))])
        drawn.append(auc(truth[chosen].astype(np.float64), score[chosen]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return [auc(truth.astype(np.float64), score), float(low), float(high)]


def _arrays(forest: ExtraTreesClassifier) -> dict[str, Any]:
    """Return the trees end to end: children are -1 in leaves, ``value`` is the share of unacceptable recordings there."""
    trees = [tree.tree_ for tree in forest.estimators_]
    return {
        "sizes": np.array([tree.node_count for tree in trees]),
        "left": np.concatenate([tree.children_left for tree in trees]),
        "right": np.concatenate([tree.children_right for tree in trees]),
        "feature": np.concatenate([tree.feature for tree in trees]),
        "threshold": np.concatenate([tree.threshold for tree in trees]).astype(np.float32),
        "value": np.concatenate([tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1) for tree in trees]).astype(np.float32),
    }


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train and measure the ECG quality model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv and signals.xz")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(train(options.data, options.out), indent=1))


if __name__ == "__main__":
    main()
