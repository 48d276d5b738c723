"""Measures trained weights and chooses calibration and operating points, on the validation patients only.

``python -m models.chest.evaluate --data ../shared/data/chest --limbs ../shared/data/fracture --weights run/chest.pt --out run``
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.chest import calibration
from models.chest.augmentation import spoil
from models.chest.data import ChestCase, chest_cases, limb_files, load
from models.chest.findings import ABNORMAL, CODES, FINDINGS
from models.chest.network import ChestNetwork

#: A finding speaks where nine of ten validation patients without it stay silent; triage keeps nine of ten abnormal ones.
SPECIFICITY, SENSITIVITY = 0.9, 0.9

#: With fewer positives an interval says nothing, and the finding stays silent.
FEWEST_POSITIVES = 5

#: Boxes are shown only if the peak of the map hits a radiologist's box so many times as often as chance does.
HITS_OVER_CHANCE = 2

Array = NDArray[np.float64]


def load_network(weights: Path) -> ChestNetwork:
    """Return the trained network, ready to run."""
    network = ChestNetwork(pretrained=False)
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def logits_of(network: ChestNetwork, images: NDArray[np.float32]) -> Array:
    """Return (images, 16) logits."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), 32):
            parts.append(network.maps(torch.from_numpy(images[start : start + 32])[:, None])[0].double().numpy())
    return np.concatenate(parts)


def evaluate(data: Path, limbs: Path, weights: Path, out: Path, other_chests: Path | None) -> dict[str, Any]:
    """Write ``evaluation.json`` into ``out``: calibration, thresholds, metrics; return it."""
    network = load_network(weights)
    cases = [case for case in chest_cases(data) if case.validation]
    logits = logits_of(network, load([case.file for case in cases]))
    labels = np.array([case.labels for case in cases])
    patients = np.unique([case.patient for case in cases], return_inverse=True)[1]
    slope, intercepts = calibration.fit_platt(logits[:, : len(CODES)], labels)
    probabilities = 1 / (1 + np.exp(-(slope * logits[:, : len(CODES)] + intercepts)))
    thresholds, table = _operating_points(probabilities, labels, patients)
    fourteen = range(len(FINDINGS))

    def mean_auc(scores: Array, rows: NDArray[np.int64]) -> float:
        return float(np.mean([calibration.auc(scores[rows, index], labels[rows, index]) for index in fourteen]))

    everyone = np.arange(len(cases))
    teacher = np.array([case.teacher for case in cases], np.float64)
    result = {
        "cases": len(cases),
        "patients": len(set(patients.tolist())),
        "calibration": {"slope": slope, "intercepts": intercepts.tolist()},
        "brier": _brier(logits[:, : len(CODES)], labels, patients),
        "thresholds": thresholds,
        "findings": table,
        "mean_auc": [mean_auc(probabilities, everyone), *calibration.interval(partial(mean_auc, probabilities), patients)],
        "teacher_mean_auc": [mean_auc(teacher, everyone), *calibration.interval(partial(mean_auc, teacher), patients)],
        "calls": _calls(probabilities, labels, thresholds),
        "gate": _gate(network, logits[:, -1], cases, limb_files(limbs)[1], other_chests),
        "pointing": _pointing(network, data),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _operating_points(
    probabilities: Array, labels: Array, patients: NDArray[np.int64]
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Choose a threshold for each output that the validation set tells from chance."""
    thresholds: dict[str, float] = {}
    table: dict[str, dict[str, Any]] = {}
    for index, code in enumerate(CODES):
        scores, truth = probabilities[:, index], labels[:, index]

        def area(rows: NDArray[np.int64], scores: Array = scores, truth: Array = truth) -> float:
            return calibration.auc(scores[rows], truth[rows])

        low, high = calibration.interval(area, patients)
        choose = (
            partial(calibration.at_sensitivity, sensitivity=SENSITIVITY)
            if code == ABNORMAL
            else partial(calibration.at_specificity, specificity=SPECIFICITY)
        )
        threshold = choose(scores, truth)
        sensitivity, specificity = calibration.out_of_fold(scores, truth, choose)
        speaks = low > 0.5 and truth.sum() >= FEWEST_POSITIVES
        if speaks:
            thresholds[code] = threshold
        table[code] = {
            "positives": int(truth.sum()),
            "auc": [calibration.auc(scores, truth), low, high],
            "speaks": bool(speaks),
            "threshold": threshold,
            "sensitivity": float((scores[truth == 1] >= threshold).mean()),
            "specificity": float((scores[truth == 0] < threshold).mean()),
            "sensitivity_out_of_fold": sensitivity,
            "specificity_out_of_fold": specificity,
        }
    return thresholds, table


def _brier(logits: Array, labels: Array, patients: NDArray[np.int64]) -> dict[str, float]:
    """Brier score of probabilities whose calibration did not see the case, and of the bare prevalence."""
    fold = patients % 5
    calibrated, bare = np.empty_like(labels), np.empty_like(labels)
    for number in range(5):
        inside = fold == number
        slope, intercepts = calibration.fit_platt(logits[~inside], labels[~inside])
        calibrated[inside] = 1 / (1 + np.exp(-(slope * logits[inside] + intercepts)))
        bare[inside] = labels[~inside].mean(axis=0)
    return {"calibrated": float(((calibrated - labels) ** 2).mean()), "prevalence": float(((bare - labels) ** 2).mean())}


def _calls(probabilities: Array, labels: Array, thresholds: dict[str, float]) -> dict[str, float]:
    """How often the reader would be told something, and how often rightly."""
    spoken = [index for index, code in enumerate(CODES[:-1]) if code in thresholds]
    limits = np.array([thresholds[CODES[index]] for index in spoken])
    called = probabilities[:, spoken] >= limits
    right = called & (labels[:, spoken] == 1)
    normal = labels[:, -1] == 0
    return {
        "findings_an_image": float(called.sum(axis=1).mean()),
        "right": float(right.sum() / max(called.sum(), 1)),
        "normals_without_any": float((~called[normal].any(axis=1)).mean()),
        "normals": int(normal.sum()),
    }


def _gate(
    network: ChestNetwork, chest_logits: Array, cases: list[ChestCase], limbs: list[Path], other_chests: Path | None
) -> dict[str, Any]:
    """Shares refused at a probability of one half, which was fixed beforehand."""
    chests = torch.from_numpy(load([case.file for case in cases]))[:, None]
    spoiled = spoil(chests, torch.Generator().manual_seed(5))[:, 0].numpy()
    shares: dict[str, Any] = {
        "chests_refused": [float((chest_logits < 0).mean()), len(chest_logits)],
        "limbs_refused": [float((logits_of(network, load(limbs))[:, -1] < 0).mean()), len(limbs)],
        "spoiled_chests_refused": [float((logits_of(network, spoiled)[:, -1] < 0).mean()), len(spoiled)],
    }
    if other_chests:
        files = sorted(other_chests.glob("*.jpg"))
        shares["chests_of_other_devices_refused"] = [float((logits_of(network, load(files))[:, -1] < 0).mean()), len(files)]
    return shares


def _pointing(network: ChestNetwork, data: Path) -> dict[str, Any]:
    """Share of a radiologist's boxes that hold the peak of the finding's map, and share of the chest that boxes cover.

    The boxed images are mostly training images; their labels were learned, their boxes were not.
    """
    boxes = [(case, *box) for case in chest_cases(data) for box in case.boxes]
    images = torch.from_numpy(load([case.file for case, *_ in boxes]))[:, None]
    with torch.inference_mode():
        grids = network.maps(images)[1].numpy()
    hits, areas = 0, 0.0
    for (_, code, x, y, width, height), grid in zip(boxes, grids, strict=True):
        row, column = np.unravel_index(int(grid[CODES.index(code)].argmax()), grid.shape[1:])
        hits += int(x <= (column + 0.5) / 7 < x + width and y <= (row + 0.5) / 7 < y + height)
        areas += width * height
    return {
        "boxes": len(boxes),
        "hit": float(hits / len(boxes)),
        "mean_box_area": areas / len(boxes),
        "localises": bool(hits > HITS_OVER_CHANCE * areas),
    }


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the chest radiograph network.")
    parser.add_argument("--data", type=Path, required=True, help="folder with nih_manifest.csv and nih384/")
    parser.add_argument("--limbs", type=Path, required=True, help="folder with manifest.csv and img384/")
    parser.add_argument("--other-chests", type=Path, help="folder of frontal chests of other devices (JPEG), for the gate")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(evaluate(options.data, options.limbs, options.weights, options.out, options.other_chests), indent=1))


if __name__ == "__main__":
    main()
