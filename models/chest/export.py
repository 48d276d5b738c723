"""Writes the bundle: one ONNX graph from the image to calibrated readings, checked against numpy, with metadata and model card.

``python -m models.chest.export --data CHESTS --limbs LIMBS --other-chests OTHER --run run --bundle BUNDLE --licence LICENCE``
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from models.bundle import read_bundle
from models.chest.bank import Seen
from models.chest.card import model_card
from models.chest.data import load
from models.chest.deployed import Readings
from models.chest.fits import Fits, load_fits
from models.chest.graph import FEATURES, exported, joined, opened, rename_outputs
from models.chest.metadata import bundle_metadata
from models.chest.train import GRAPH, Studied, add_folders
from models.onnx_file import remove_traces

#: Largest difference allowed between the bundle and the fits in a probability, and the images compared.
TOLERANCE, COMPARED = 1e-3, 40
OUTPUTS = ("probability", "frontal", "activation")


def export(studied: Studied, bundle: Path, licence: Path) -> float:
    """Write the bundle; return the largest difference between it and the fits on images that the features' graph saw."""
    run = studied.run
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    training = json.loads((run / "training.json").read_text(encoding="utf-8"))
    chests = studied.chests()
    fits = load_fits(run)
    fitted = evaluation["calibration"]["slope"], evaluation["calibration"]["intercepts"]
    model = _whole(onnx.load(run / GRAPH), Readings(fits.standard, fits.reading, fitted, fits.gate, fits.local), chests)
    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir(parents=True, exist_ok=True)
    weights = bundle / "models" / "model.onnx"
    onnx.save(model, weights)
    remove_traces(weights)
    difference = compare(weights, studied, chests, fits, fitted)
    if difference > TOLERANCE:
        raise SystemExit(f"The graph and the fits differ by {difference:.2g}, more than {TOLERANCE:g}: the bundle is not usable.")
    metadata = bundle_metadata(evaluation, weights, torch.__version__)
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    (bundle / "configs" / "metadata.json").write_text(text, encoding="utf-8")
    (bundle / "docs" / "README.md").write_text(model_card(metadata, evaluation, training, difference), encoding="utf-8")
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return difference


def _whole(features: onnx.ModelProto, readings: Readings, chests: Seen) -> onnx.ModelProto:
    examples = (chests.features[:2], chests.whole[:2], chests.finest[:2].astype(np.float32), chests.box[:2])
    names = list(FEATURES)
    last = exported(readings, tuple(torch.from_numpy(one) for one in examples), names, list(OUTPUTS))
    model = joined(features, last, {f"features_{name}": name for name in names}, "readings")
    rename_outputs(model, {f"readings_{name}": name for name in OUTPUTS})
    return model


def compare(weights: Path, studied: Studied, chests: Seen, fits: Fits, calibration: tuple[float, list[float]]) -> float:
    """Return the largest difference in a probability between the bundle and the fits."""
    rows = np.arange(0, len(studied.cases), max(1, len(studied.cases) // COMPARED))
    session = opened(onnx.load(weights), 1)
    slope, intercepts = calibration
    expected = _chance(slope * fits.reading.of(fits.standard.of(chests.features[rows])) + np.array(intercepts))
    frontal = _chance(fits.gate.of(chests.chosen(rows)))
    worst = 0.0
    for image, probabilities, upright in zip(load([studied.cases[row].file for row in rows]), expected, frontal, strict=True):
        found, passed = session.run(["probability", "frontal"], {"image": image[None, None]})
        worst = max(worst, float(np.abs(found[0] - probabilities).max()), float(abs(passed[0, 0] - upright)))
    return worst


def _chance(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logit)))


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export the chest radiograph network as a bundle.")
    add_folders(parser)
    parser.add_argument("--run", type=Path, required=True, help="folder of models.chest.train and models.chest.evaluate")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--licence", type=Path, required=True, help="text of the Apache License 2.0")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    studied = Studied(options.data, options.limbs, options.other_chests, options.run, threads=options.threads, seed=options.seed)
    difference = export(studied, options.bundle, options.licence)
    print(f"{options.bundle}: the graph and the fits differ by at most {difference:.2g}")


if __name__ == "__main__":
    main()
