"""Writes the bundle: the calibrated panel as one ONNX graph, checked against torch on fold 9, with metadata, card and licence.

``python -m models.ecg.export --data ../shared/data/ecg/ptbxl --run run --bundle models/bundles/ecg_statements``
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from models.bundle import read_bundle
from models.ecg.card import model_card
from models.ecg.data import read_folds
from models.ecg.metadata import bundle_metadata
from models.ecg.panel import Panel, load_panel
from models.ecg.preprocessing import LEADS, SAMPLES, millivolts
from models.ecg.train import VALIDATION_FOLD
from models.exporting import export_by_command_line, must_agree, write_graph

#: Largest difference allowed between torch and ONNX in a probability.
TOLERANCE = 1e-4


class Deployed(nn.Module):
    """The panel as it serves: calibrated, as probabilities."""

    def __init__(self, panel: Panel, platt: list[tuple[float, float]]) -> None:
        super().__init__()
        self.panel = panel
        slope, intercept = (torch.tensor(column) for column in zip(*platt, strict=True))
        self.register_buffer("slope", slope)
        self.register_buffer("intercept", intercept)

    def forward(self, ecg: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, 71) calibrated statements and (N, 5) superclasses of (N, 8, 1000) millivolts."""
        logits = self.panel(ecg)
        count = len(self.slope)
        return torch.sigmoid(self.slope * logits[:, :count] + self.intercept), torch.sigmoid(logits[:, count:])


def export(data: Path, run: Path, bundle: Path, licence: Path) -> float:
    """Write the bundle; return the largest difference between torch and ONNX on fold 9."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    check = read_folds(data, (VALIDATION_FOLD,))
    panel = load_panel(run, len(check.statements))
    if set(panel.names) != set(evaluation["members"]):
        raise SystemExit("The run has other members than evaluation.json: run models.ecg.evaluate again.")
    network = Deployed(panel, [evaluation["platt"][code] for code in check.statements]).eval()
    weights = write_graph(network, torch.zeros(2, len(LEADS), SAMPLES), bundle, reads="ecg", says=["probability", "superclass"])
    difference = compare(network, weights, millivolts(check.microvolts))
    must_agree(difference, TOLERANCE)
    metadata = bundle_metadata(evaluation, check.statements, weights, torch.__version__)
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    (bundle / "configs" / "metadata.json").write_text(text, encoding="utf-8")
    card = model_card(metadata, evaluation, difference, weights.stat().st_size)
    (bundle / "docs" / "README.md").write_text(card, encoding="utf-8")
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return difference


def compare(network: Deployed, weights: Path, signals: np.ndarray) -> float:
    """Return the largest difference in a probability between torch and ONNX."""
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    worst = 0.0
    with torch.inference_mode():
        for at in range(0, len(signals), 64):
            piece = signals[at : at + 64]
            pairs = zip(session.run(None, {"ecg": piece}), network(torch.from_numpy(piece)), strict=True)
            worst = max([worst, *(float(np.abs(found - expected.numpy()).max()) for found, expected in pairs)])
    return worst


def main() -> None:
    """Read the command line and export."""
    export_by_command_line("the twelve-lead ECG networks", "labels.csv and foldNN.xz", "the members and evaluation.json", export)


if __name__ == "__main__":
    main()
