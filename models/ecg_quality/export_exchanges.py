"""Writes the bundle that suspects exchanged electrodes: ONNX checked against torch, metadata, card, licence.

``python -m models.ecg_quality.export_exchanges --run run --bundle models/bundles/ecg_exchange --licence APACHE_2.txt``
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from models.bundle import read_bundle, sha256_of
from models.bundle_metadata import described_tensor
from models.ecg.preprocessing import LEADS
from models.ecg_quality.beat_shape import DESCRIPTION, EXCHANGES, LENGTH
from models.ecg_quality.train_exchanges import CLASSES, FALSE_ALARMS, ExchangeNetwork
from models.onnx_file import remove_traces

VERSION = "0.1.0"
CARD = Path(__file__).parent / "card_exchanges.md"
#: Largest difference allowed between torch and ONNX in a probability.
TOLERANCE = 1e-4
SOURCES = [
    {
        "name": "PTB-XL 1.0.3 (Wagner P et al., PhysioNet 2022), folds 1 to 7 for training, 8 for thresholds, 9 for measuring",
        "licence": "CC-BY-4.0",
        "url": "https://physionet.org/content/ptb-xl/",
    },
]
INTENDED_USE = (
    "Asking the township to look at its electrodes before a resting 12-lead ECG is read. A suspicion, never a correction."
)


class Deployed(nn.Module):
    """The network with probabilities."""

    def __init__(self, network: ExchangeNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, beat: Tensor) -> Tensor:
        """Return (N, classes) probabilities of (N, 8, 80) averaged beats."""
        return torch.softmax(self.network(beat), dim=1)


def export(run: Path, bundle: Path, licence: Path) -> float:
    """Write the bundle; return the largest difference between torch and ONNX."""
    evaluation = json.loads((run / "exchanges.json").read_text(encoding="utf-8"))
    network = ExchangeNetwork()
    network.load_state_dict(torch.load(run / "exchanges.pt", weights_only=True))
    deployed = Deployed(network).eval()
    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir(parents=True, exist_ok=True)
    weights = bundle / "models" / "model.onnx"
    torch.onnx.export(
        deployed,
        (torch.zeros(2, len(LEADS), LENGTH),),
        weights,
        input_names=["beat"],
        output_names=["probability"],
        dynamic_shapes={"beat": {0: torch.export.Dim("batch")}},
        external_data=False,
        dynamo=True,
    )
    remove_traces(weights)
    beats = torch.randn(64, len(LEADS), LENGTH, generator=torch.Generator().manual_seed(2))
    session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        difference = float(np.abs(session.run(None, {"beat": beats.numpy()})[0] - deployed(beats).numpy()).max())
    if difference > TOLERANCE:
        raise SystemExit(f"ONNX and torch differ by {difference:.2g}: the bundle is not usable.")
    metadata = _metadata(weights, evaluation)
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    (bundle / "docs" / "README.md").write_text(_card(metadata, evaluation, difference), encoding="utf-8")
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return difference


def _metadata(weights: Path, evaluation: dict[str, Any]) -> dict[str, Any]:
    leads = {str(place): lead for place, lead in enumerate(LEADS)}
    names = {str(place): name for place, name in enumerate(CLASSES)}
    measured = evaluation["measured"]
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": VERSION,
        "changelog": {VERSION: "First weights."},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": version("onnxruntime"), "scipy": version("scipy")},
        "name": "ecg_exchange",
        "task": "Which two electrodes of a resting 12-lead ECG may have been exchanged",
        "description": "A small convolutional network over the averaged beat of eight leads.",
        "authors": "The Sumu authors",
        "copyright": "Copyright the Sumu authors; Apache-2.0",
        "data_source": "; ".join(source["name"] for source in SOURCES),
        "data_type": "DICOM",
        "eval_metrics": {"false_alarms_per_100_normal": round(measured["false_alarms_per_100_normal"], 3)},
        "intended_use": INTENDED_USE,
        "network_data_format": {
            "inputs": {"beat": described_tensor("signal", "averaged beat", len(LEADS), [LENGTH], [-20, 20], leads)},
            "outputs": {"probability": described_tensor("probabilities", "multiclass", len(CLASSES), [], [0, 1], names)},
        },
        "sumu": {
            "engine": "ecg",
            "weights": {"file": "models/model.onnx", "sha256": sha256_of(weights)},
            "labels": list(CLASSES),
            "thresholds": {pair: round(value, 4) for pair, value in evaluation["thresholds"].items()},
            "preprocessing": DESCRIPTION,
            "licence": "Apache-2.0",
            "sources": SOURCES,
        },
    }


def _card(metadata: dict[str, Any], evaluation: dict[str, Any], difference: float) -> str:
    measured, thresholds = evaluation["measured"], evaluation["thresholds"]
    rows = [
        f"| {pair} | {thresholds[pair]:.3f} | {measured[pair]['suspected']:.3f} | {measured[pair]['named']:.3f} |"
        for pair in EXCHANGES
    ]
    fields = {
        "version": metadata["version"],
        "intended_use": INTENDED_USE,
        "preprocessing": DESCRIPTION,
        "sources": "\n".join(f"- {one['name']}: {one['licence']} ({one['url']})" for one in SOURCES),
        "sha256": metadata["sumu"]["weights"]["sha256"],
        "rows": "\n".join(rows),
        "share": FALSE_ALARMS,
        "difference": difference,
        "weights": sum(value.numel() for value in ExchangeNetwork().parameters()),
        **{name: evaluation[name] for name in ("taught", "records", "normal")},
        **{name: measured[name] for name in ("false_alarms_per_100", "false_alarms_per_100_normal")},
    }
    return CARD.read_text(encoding="utf-8").format_map(fields)


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export the network that suspects exchanged electrodes.")
    parser.add_argument("--run", type=Path, required=True, help="folder with exchanges.pt and exchanges.json")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--licence", type=Path, required=True, help="text of the Apache License 2.0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{options.bundle}: torch and ONNX differ by at most {export(options.run, options.bundle, options.licence):.2g}")


if __name__ == "__main__":
    main()
