"""The ECG bundle's ``metadata.json``: MONAI's fields, and under ``sumu`` what our serving needs."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import sha256_of
from models.bundle_metadata import described_tensor
from models.ecg.preprocessing import DESCRIPTION, LEADS, RATE, SAMPLES
from models.ecg.superclasses import SUPERCLASSES

VERSION = "0.2.0"

CHANGELOG = {
    "0.1.0": "First weights: a panel of small networks trained on folds 1 to 8 of PTB-XL.",
    "0.2.0": "More members, and beside their logits a linear discriminant over what they saw: rare statements gain.",
}

INTENDED_USE = (
    "Sorting the worklist and drafting for a doctor who reads every recording. Resting 12-lead ECGs of adults, 10 s. "
    "Not a diagnosis, not for ruling anything out, not without a doctor, not for children, not for monitoring."
)

SOURCES = [
    {
        "name": "PTB-XL 1.0.3 (Wagner P et al., PhysioNet 2022), folds 1 to 8 for training, fold 9 for measuring",
        "licence": "CC-BY-4.0",
        "url": "https://physionet.org/content/ptb-xl/",
    },
]


def bundle_metadata(evaluation: dict[str, Any], statements: tuple[str, ...], weights: Path, torch_version: str) -> dict[str, Any]:
    """Return the metadata of the bundle whose ONNX file is ``weights``."""
    leads = {str(place): lead for place, lead in enumerate(LEADS)}
    names = {str(place): code for place, code in enumerate(statements)}
    superclasses = {str(place): name for place, name in enumerate(SUPERCLASSES)}
    found = evaluation["statements"]
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": VERSION,
        "changelog": CHANGELOG,
        "monai_version": version("monai"),
        "pytorch_version": torch_version,
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": version("onnxruntime")},
        "name": "ecg_statements",
        "task": "Probabilities of the 71 statements of PTB-XL, and of its five superclasses, on a resting 12-lead ECG",
        "description": "Small convolutional networks and a discriminant over what they saw, calibrated statement by statement.",
        "authors": "The Sumu authors",
        "copyright": "Copyright the Sumu authors; Apache-2.0",
        "data_source": "; ".join(source["name"] for source in SOURCES),
        "data_type": "DICOM",
        "label_classes": "statements of SCP-ECG as PTB-XL names them, in the order of sumu.labels",
        "pred_classes": "probability of each statement, in the order of sumu.labels",
        "eval_metrics": {
            "macro_auc": round(evaluation["macro_auc"][0], 4),
            "macro_superclass_auc": round(evaluation["macro_superclass_auc"][0], 4),
        },
        "intended_use": INTENDED_USE,
        "references": ["Wagner P et al. PTB-XL, a large publicly available electrocardiography dataset. Scientific Data 2020."],
        "network_data_format": {
            "inputs": {"ecg": described_tensor("signal", f"millivolts at {RATE} Hz", len(LEADS), [SAMPLES], [-8, 8], leads)},
            "outputs": {
                "probability": described_tensor("probabilities", "multilabel", len(statements), [], [0, 1], names),
                "superclass": described_tensor("probabilities", "multilabel", len(superclasses), [], [0, 1], superclasses),
            },
        },
        "sumu": {
            "engine": "ecg",
            "weights": {"file": "models/model.onnx", "sha256": sha256_of(weights)},
            "labels": list(statements),
            "thresholds": {code: round(row["threshold"], 4) for code, row in found.items() if row["spoken"]},
            "preprocessing": DESCRIPTION,
            "licence": "Apache-2.0",
            "sources": SOURCES,
            "details": {"superclasses": list(SUPERCLASSES), "calibrated": [code for code, row in found.items() if "auc" in row]},
        },
    }
