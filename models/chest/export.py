"""Writes the bundle: calibrated network as ONNX, checked against torch on real images, with metadata and model card.

``python -m models.chest.export --data ../shared/data/chest --run run --bundle models/bundles/chest_radiograph``
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from models.bundle import read_bundle
from models.chest.card import model_card
from models.chest.data import chest_cases, load
from models.chest.evaluate import load_network
from models.chest.findings import CODES
from models.chest.metadata import bundle_metadata
from models.chest.network import ChestNetwork
from models.chest.preprocessing import SIDE
from models.onnx_file import remove_traces

#: Largest difference allowed between torch and ONNX in a probability.
TOLERANCE = 1e-4


class Deployed(nn.Module):
    """The network as it serves: calibrated probabilities, the gate's probability, activation maps."""

    def __init__(self, network: ChestNetwork, slope: float, intercepts: list[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("slope", torch.tensor(slope))
        self.register_buffer("intercepts", torch.tensor(intercepts))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, 15) probabilities, (N, 1) probability of an upright frontal chest, (N, 15, 7, 7) maps."""
        logits, maps = self.network.maps(image)
        findings = len(CODES)
        probability = torch.sigmoid(self.slope * logits[:, :findings] + self.intercepts)
        return probability, torch.sigmoid(logits[:, findings:]), maps[:, :findings]


def export(data: Path, run: Path, bundle: Path, licence: Path) -> float:
    """Write the bundle; return the largest difference between torch and ONNX on the validation images."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    training = json.loads((run / "training.json").read_text(encoding="utf-8"))
    fitted = evaluation["calibration"]
    network = Deployed(load_network(run / "chest.pt"), fitted["slope"], fitted["intercepts"]).eval()
    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir(parents=True, exist_ok=True)
    weights = bundle / "models" / "model.onnx"
    torch.onnx.export(
        network,
        (torch.zeros(2, 1, SIDE, SIDE),),
        weights,
        input_names=["image"],
        output_names=["probability", "frontal", "activation"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        external_data=False,
        dynamo=True,
    )
    remove_traces(weights)
    difference = compare(network, weights, data)
    if difference > TOLERANCE:
        raise SystemExit(f"ONNX and torch differ by {difference:.2g}, more than {TOLERANCE:g}: the bundle is not usable.")
    metadata = bundle_metadata(evaluation, weights, torch.__version__)
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    (bundle / "configs" / "metadata.json").write_text(text, encoding="utf-8")
    (bundle / "docs" / "README.md").write_text(model_card(metadata, evaluation, training, difference), encoding="utf-8")
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return difference


def compare(network: Deployed, weights: Path, data: Path) -> float:
    """Return the largest difference in a probability between torch and ONNX on the validation images."""
    images = load([case.file for case in chest_cases(data) if case.validation])[:, None]
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    worst = 0.0
    with torch.inference_mode():
        for image in np.split(images, len(images)):
            probability, frontal, _ = session.run(None, {"image": image})
            expected, gate, _ = network(torch.from_numpy(image))
            worst = max(worst, float(np.abs(probability - expected.numpy()).max()), float(np.abs(frontal - gate.numpy()).max()))
    return worst


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export the chest radiograph network as a bundle.")
    parser.add_argument("--data", type=Path, required=True, help="folder with nih_manifest.csv and nih384/")
    parser.add_argument("--run", type=Path, required=True, help="folder with chest.pt, training.json and evaluation.json")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--licence", type=Path, required=True, help="text of the Apache License 2.0")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    difference = export(options.data, options.run, options.bundle, options.licence)
    print(f"{options.bundle}: torch and ONNX differ by at most {difference:.2g}")


if __name__ == "__main__":
    main()
