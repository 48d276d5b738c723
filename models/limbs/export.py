"""Writes the bundle: the network as ONNX, checked against torch on real images, with metadata and model card.

``python -m models.limbs.export --data ../shared/data/fracture --run run --bundle models/bundles/limb_radiograph``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from models.bundle import read_bundle
from models.exporting import export_by_command_line, must_agree, write_graph
from models.limbs.card import model_card
from models.limbs.data import FOLDS, greys, limb_cases
from models.limbs.evaluate import members
from models.limbs.metadata import bundle_metadata
from models.limbs.network import OUTPUTS, Deployed, new_network
from models.limbs.preprocessing import COLUMNS, ROWS, prepared

#: Largest difference allowed between torch and ONNX in a probability, and the number of images compared.
TOLERANCE, COMPARED = 1e-3, 20


def export(data: Path, run: Path, bundle: Path, licence: Path) -> float:
    """Write the bundle; return the largest difference between torch and ONNX."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    training = [json.loads((run / f"limbs_without_{fold}.json").read_text(encoding="utf-8")) for fold in range(FOLDS)]
    fitted = evaluation["calibration"]
    network = Deployed(new_network()[0], members(run), fitted["slope"], fitted["intercept"]).eval()
    weights = write_graph(network, torch.zeros(2, 1, ROWS, COLUMNS), bundle, reads="image", says=OUTPUTS)
    difference = compare(network, weights, data)
    must_agree(difference, TOLERANCE)
    write_papers(bundle, evaluation, training, difference)
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return difference


def write_papers(bundle: Path, evaluation: dict[str, Any], training: list[dict[str, Any]], difference: float) -> None:
    """Write metadata and card of the weights that lie in the bundle."""
    metadata = bundle_metadata(evaluation, bundle / "models" / "model.onnx", torch.__version__)
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    (bundle / "configs" / "metadata.json").write_text(text, encoding="utf-8")
    (bundle / "docs" / "README.md").write_text(model_card(metadata, evaluation, training, difference), encoding="utf-8")


def compare(network: Deployed, weights: Path, data: Path) -> float:
    """Return the largest difference in a probability between torch and ONNX on images spread over the set."""
    cases = limb_cases(data)
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    worst = 0.0
    with torch.inference_mode():
        for case in cases[:: max(1, len(cases) // COMPARED)]:
            square = prepared(greys(case))[0][None, None]
            found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"image": square}), strict=True))
            for name, expected in zip(OUTPUTS, network(torch.from_numpy(square)), strict=True):
                if name != "sides":
                    worst = max(worst, float(np.abs(found[name] - expected.numpy()).max()))
    return worst


def main() -> None:
    """Read the command line and export."""
    export_by_command_line(
        "the limb network", "manifest.csv and img384/", "what models.limbs.train and models.limbs.evaluate wrote", export
    )


if __name__ == "__main__":
    main()
