"""Writes the delineation bundle from the weights in openecg's wheel: the lean graph, checked, and its papers.

``python -m models.ecg_delineation.export --bundle models/bundles/ecg_delineation --licence APACHE_2.txt``
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openecg
import torch
from openecg.deploy import bundled_codec_onnx_path
from openecg.dsp import rank_normalize
from openecg.stage2.model import load_model_from_ckpt

from models.bundle import read_bundle, sha256_of
from models.bundle_metadata import described_tensor
from models.ecg_delineation.graph import CLASSES, SAMPLES, lean_graph

VERSION = "1.0.0"
PREPROCESSING = (
    "up to six leads, each alone, at 500 Hz; ends mirrored by 2 s; "
    "windows of at most 10 s without their outer 2 s; ranks from -1 to 1"
)
LABELS = ("other", "P", "QRS", "T")
CARD = Path(__file__).parent / "card.md"
CHECKPOINT = Path(openecg.__file__).parent / "models" / "codec_v6.pt"
SOURCE = {
    "name": "openecg codec v6 (Apache-2.0), trained by its authors on LUDB, QTDB, ISP, MIT-BIH, VitalDB and lydus",
    "licence": "Apache-2.0",
    "url": "https://github.com/vitaldb/openecg",
}
#: Largest difference allowed in a logit.
TOLERANCE = 1e-3
_CHECKED = 24


def export(bundle: Path, licence: Path) -> dict[str, float]:
    """Write the bundle; return what the comparison with openecg's own graphs found."""
    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir(parents=True, exist_ok=True)
    state = torch.load(CHECKPOINT, weights_only=True)["model_state"]
    graph = lean_graph({name: value.numpy().astype(np.float32) for name, value in state.items()})
    onnx.checker.check_model(graph)
    weights = bundle / "models" / "model.onnx"
    onnx.save(graph, weights)
    found = compare(weights)
    if found["difference"] > TOLERANCE:
        raise SystemExit(f"The lean graph differs by {found['difference']:.2g} from openecg's: the bundle is not usable.")
    metadata = _metadata(weights)
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    card = CARD.read_text(encoding="utf-8").format(
        version=VERSION, openecg=version("openecg"), sha256=sha256_of(weights), megabytes=weights.stat().st_size / 1e6, **found
    )
    (bundle / "docs" / "README.md").write_text(card, encoding="utf-8")
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return found


def compare(weights: Path) -> dict[str, float]:
    """Return the largest difference of a logit, the share of other labels in the published int8 graph, and seconds a window."""
    windows = _windows()
    network, _ = load_model_from_ckpt(str(CHECKPOINT))
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(windows), torch.zeros(len(windows), dtype=torch.long))[0].numpy()
    lean, published = (_session(path) for path in (weights, bundled_codec_onnx_path()))
    began = time.perf_counter()
    found = np.concatenate([lean.run(None, {"signal": window[None]})[0] for window in windows])
    between = time.perf_counter()
    small = np.concatenate([published.run(["frame_logits"], {"signal": window[None]})[0] for window in windows])
    ended = time.perf_counter()
    return {
        "difference": float(np.abs(found - expected).max()),
        "others": float(np.mean(found.argmax(axis=-1) != small.argmax(axis=-1))),
        "lean_ms": (between - began) / len(windows) * 1000,
        "published_ms": (ended - between) / len(windows) * 1000,
    }


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _windows() -> npt.NDArray[np.float32]:
    """Return ranks of waves of several rates and widths with noise: enough to move every weight."""
    chance = np.random.default_rng(5)
    time_s = np.arange(SAMPLES) / 500
    rows = []
    for _ in range(_CHECKED):
        phase = (time_s + chance.uniform(0, 1)) % chance.uniform(0.5, 1.3)
        waves = ((0.10, 0.02, 0.15), (0.25, 0.012, 1.0), (0.30, 0.012, -0.3), (0.52, 0.05, 0.3))
        row = sum(height * chance.normal(1, 0.4) * np.exp(-0.5 * ((phase - at) / width) ** 2) for at, width, height in waves)
        rows.append(rank_normalize(row + chance.normal(0, 0.02, SAMPLES)))
    return np.stack(rows).astype(np.float32)


def _metadata(weights: Path) -> dict[str, Any]:
    names = {str(place): name for place, name in enumerate(LABELS)}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": VERSION,
        "changelog": {VERSION: "openecg's codec v6, frame layer, in a graph that computes repeated frames once."},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": version("onnxruntime")},
        "name": "ecg_delineation",
        "task": "P, QRS and T of one lead, sample by sample",
        "description": "A convolutional tokenizer, four convolutions and four transformer layers over frames of 20 ms.",
        "authors": "The openecg authors; graph by the Sumu authors",
        "copyright": "Copyright the openecg authors and the Sumu authors; Apache-2.0",
        "data_source": SOURCE["name"],
        "data_type": "DICOM",
        "intended_use": "Measuring intervals of resting electrocardiograms for a doctor who sees the marks and can move them.",
        "network_data_format": {
            "inputs": {"signal": described_tensor("signal", "ranks of at most 10 s at 500 Hz", SAMPLES, [], [-1, 1], {})},
            "outputs": {
                "frame_logits": described_tensor("probabilities", "logits of each sample", SAMPLES, [CLASSES], [-30, 30], names)
            },
        },
        "sumu": {
            "engine": "ecg",
            "weights": {"file": "models/model.onnx", "sha256": sha256_of(weights)},
            "labels": list(LABELS),
            "thresholds": {},
            "preprocessing": PREPROCESSING,
            "licence": "Apache-2.0",
            "sources": [SOURCE],
        },
    }


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export openecg's delineation network as a bundle.")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--licence", type=Path, required=True, help="text of the Apache License 2.0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(export(options.bundle, options.licence), indent=1))


if __name__ == "__main__":
    main()
