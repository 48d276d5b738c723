"""Writes the bundle: the network as ONNX, checked against torch on real images, with metadata and model card.

``python -m models.heart_lung.export --data ../shared/data/heart_lung --run run --bundle models/bundles/heart_lung``
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from models.bundle import read_bundle
from models.exporting import export_by_command_line, must_agree, write_graph
from models.heart_lung.card import model_card
from models.heart_lung.data import greys, heart_lung_cases
from models.heart_lung.metadata import bundle_metadata
from models.heart_lung.network import Decoder, HeartLungNetwork, Trunk
from models.heart_lung.preprocessing import SIDE, prepared

#: Largest difference allowed between torch and ONNX in a probability, and the number of images compared.
TOLERANCE, COMPARED = 1e-3, 20


def export(data: Path, run: Path, bundle: Path, licence: Path) -> float:
    """Write the bundle; return the largest difference between torch and ONNX."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    training = json.loads((run / "training.json").read_text(encoding="utf-8"))
    decoder = Decoder()
    decoder.load_state_dict(torch.load(run / "decoder_without_none.pt", weights_only=True))
    network = HeartLungNetwork(Trunk(), decoder).eval()
    weights = write_graph(network, torch.zeros(2, 1, SIDE, SIDE), bundle, reads="image", says=["probability"])
    difference = compare(network, weights, data)
    must_agree(difference, TOLERANCE)
    metadata = bundle_metadata(evaluation, weights, torch.__version__)
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    (bundle / "configs" / "metadata.json").write_text(text, encoding="utf-8")
    (bundle / "docs" / "README.md").write_text(model_card(metadata, evaluation, training, difference), encoding="utf-8")
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return difference


def compare(network: HeartLungNetwork, weights: Path, data: Path) -> float:
    """Return the largest difference in a probability between torch and ONNX on images spread over the set."""
    cases = heart_lung_cases(data)
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    worst = 0.0
    with torch.inference_mode():
        for grey in greys(cases[:: max(1, len(cases) // COMPARED)]):
            square = prepared(grey)[0][None, None]
            found = session.run(None, {"image": square})[0]
            worst = max(worst, float(np.abs(found - network(torch.from_numpy(square)).numpy()).max()))
    return worst


def main() -> None:
    """Read the command line and export."""
    export_by_command_line(
        "the heart and lung network",
        "manifest.csv, img512/ and mask512/",
        "decoder_without_none.pt and the two JSON files",
        export,
    )


if __name__ == "__main__":
    main()
