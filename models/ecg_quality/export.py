"""Writes the quality bundle: the trees as one ONNX graph, checked against scikit-learn, with metadata, card and licence.

``python -m models.ecg_quality.export --run run --bundle models/bundles/ecg_quality --licence APACHE_2.txt``
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from models.bundle import read_bundle, sha256_of
from models.bundle_metadata import described_tensor
from models.ecg_quality.features import DESCRIPTION, NAMES

VERSION = "0.1.0"
LABEL = "unacceptable"
CARD = Path(__file__).parent / "card.md"
#: Largest difference allowed between scikit-learn and ONNX in a probability.
TOLERANCE = 1e-4
SOURCES = [
    {
        "name": "PhysioNet/Computing in Cardiology Challenge 2011, set A (Silva I, Moody GB, Celi L 2011), 603 of 998 records",
        "licence": "ODC-By-1.0",
        "url": "https://physionet.org/content/challenge-2011/",
    },
]
INTENDED_USE = (
    "Telling the township at once that a resting 12-lead ECG should be recorded again, and keeping the statement network silent "
    "on one that cannot be trusted. Not a diagnosis."
)

Trees = dict[str, npt.NDArray[Any]]


def export(run: Path, bundle: Path, licence: Path) -> float:
    """Write the bundle; return the largest difference between scikit-learn and ONNX over the set."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    with np.load(run / "trees.npz") as kept:
        trees = dict(kept)
    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir(parents=True, exist_ok=True)
    weights = bundle / "models" / "model.onnx"
    graph = tree_graph(trees, *evaluation["platt"])
    onnx.checker.check_model(graph)
    onnx.save(graph, weights)
    difference = _difference(weights, trees, *evaluation["platt"])
    if difference > TOLERANCE:
        raise SystemExit(f"ONNX and scikit-learn differ by {difference:.2g}: the bundle is not usable.")
    with np.load(run / "held_out.npz") as held_out:
        metadata = _metadata(weights, evaluation, held_out["names"].tolist())
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    (bundle / "docs" / "README.md").write_text(_card(metadata, evaluation, trees, weights, difference), encoding="utf-8")
    (bundle / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    read_bundle(bundle)
    return difference


def tree_graph(trees: Trees, slope: float, intercept: float) -> onnx.ModelProto:
    """Return the graph: ``numbers`` (N, len(NAMES)) to the ``probability`` (N, 1) of being called unacceptable."""
    sizes = trees["sizes"]
    tree = np.repeat(np.arange(len(sizes)), sizes)
    node = np.concatenate([np.arange(size) for size in sizes])
    leaf = trees["left"] < 0
    forest = helper.make_node(
        "TreeEnsembleRegressor",
        ["numbers"],
        ["share"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="AVERAGE",
        nodes_treeids=tree.tolist(),
        nodes_nodeids=node.tolist(),
        nodes_modes=["LEAF" if last else "BRANCH_LEQ" for last in leaf],
        nodes_featureids=np.maximum(trees["feature"], 0).tolist(),
        nodes_values=trees["threshold"].tolist(),
        nodes_truenodeids=np.maximum(trees["left"], 0).tolist(),
        nodes_falsenodeids=np.maximum(trees["right"], 0).tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=node[leaf].tolist(),
        target_ids=[0] * int(leaf.sum()),
        target_weights=trees["value"][leaf].tolist(),
    )
    constants = {"low": 1e-3, "high": 1 - 1e-3, "one": 1.0, "slope": slope, "intercept": intercept}
    nodes = [
        forest,
        helper.make_node("Clip", ["share", "low", "high"], ["held"]),
        helper.make_node("Sub", ["one", "held"], ["rest"]),
        helper.make_node("Div", ["held", "rest"], ["odds"]),
        helper.make_node("Log", ["odds"], ["logit"]),
        helper.make_node("Mul", ["logit", "slope"], ["turned"]),
        helper.make_node("Add", ["turned", "intercept"], ["moved"]),
        helper.make_node("Sigmoid", ["moved"], ["probability"]),
    ]
    body = helper.make_graph(
        nodes,
        "ecg_quality",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["batch", len(NAMES)])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(body, opset_imports=opsets, ir_version=9, producer_name="sumu")


def _difference(weights: Path, trees: Trees, slope: float, intercept: float) -> float:
    session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    found = session.run(None, {"numbers": trees["numbers"]})[0][:, 0]
    held = np.clip(trees["expected"], 1e-3, 1 - 1e-3)
    expected = 1 / (1 + np.exp(-(slope * np.log(held / (1 - held)) + intercept)))
    return float(np.abs(found - expected).max())


def _metadata(weights: Path, evaluation: dict[str, Any], taught: list[str]) -> dict[str, Any]:
    names = {str(place): name for place, name in enumerate(NAMES)}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": VERSION,
        "changelog": {VERSION: "First trees."},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": version("onnxruntime"), "scipy": version("scipy")},
        "name": "ecg_quality",
        "task": "Whether people would call a resting 12-lead ECG unacceptable",
        "description": "Extremely randomised trees over signal-quality numbers of the leads.",
        "authors": "The Sumu authors",
        "copyright": "Copyright the Sumu authors; Apache-2.0",
        "data_source": "; ".join(source["name"] for source in SOURCES),
        "data_type": "DICOM",
        "eval_metrics": {"held_out_auc": round(evaluation["auc"][0], 4)},
        "intended_use": INTENDED_USE,
        "network_data_format": {
            "inputs": {"numbers": described_tensor("numbers", "signal-quality numbers", len(NAMES), [], [0, 100], names)},
            "outputs": {"probability": described_tensor("probabilities", "binary", 1, [], [0, 1], {"0": LABEL})},
        },
        "sumu": {
            "engine": "ecg",
            "weights": {"file": "models/model.onnx", "sha256": sha256_of(weights)},
            "labels": [LABEL],
            "thresholds": {LABEL: round(evaluation["threshold"], 4)},
            "preprocessing": DESCRIPTION,
            "licence": "Apache-2.0",
            "sources": SOURCES,
            "details": {"taught": taught, "held_out_auc": [round(value, 4) for value in evaluation["auc"]]},
        },
    }


def _card(metadata: dict[str, Any], evaluation: dict[str, Any], trees: Trees, weights: Path, difference: float) -> str:
    area, low, high = evaluation["auc"]
    fields = {
        "version": metadata["version"],
        "intended_use": INTENDED_USE,
        "preprocessing": DESCRIPTION,
        "sources": "\n".join(f"- {one['name']}: {one['licence']} ({one['url']})" for one in SOURCES),
        "sha256": metadata["sumu"]["weights"]["sha256"],
        "kilobytes": weights.stat().st_size / 1e3,
        "difference": difference,
        "trees": len(trees["sizes"]),
        "numbers": len(NAMES),
        "area": f"{area:.3f} ({low:.3f} to {high:.3f})",
        "areas": ", ".join(f"{one:.3f}" for one in evaluation["auc_of_repeats"]),
        "importance": ", ".join(f"`{name}`" for name in evaluation["importance"]),
        **{name: evaluation[name] for name in ("records", "unacceptable", "groups", "repeats", "parts")},
        **{name: evaluation[name] for name in ("threshold", "sensitivity", "specificity", "calibration_error")},
    }
    return CARD.read_text(encoding="utf-8").format_map(fields)


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description="Export the ECG quality model as a bundle.")
    parser.add_argument("--run", type=Path, required=True, help="folder with trees.npz and evaluation.json")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--licence", type=Path, required=True, help="text of the Apache License 2.0")
    options = parser.parse_args()
    print(f"{options.bundle}: scikit-learn and ONNX differ by at most {export(options.run, options.bundle, options.licence):.2g}")


if __name__ == "__main__":
    main()
