"""The outputs of the chest network, in order: fourteen findings of ChestX-ray14, then the triage output."""

from __future__ import annotations

#: Column of the manifest -> code in ``inference/vocabulary/radiograph.toml``.
FINDINGS: dict[str, str] = {
    "Atelectasis": "chest_atelectasis",
    "Cardiomegaly": "chest_cardiomegaly",
    "Effusion": "chest_effusion",
    "Infiltration": "chest_infiltration",
    "Mass": "chest_mass",
    "Nodule": "chest_nodule",
    "Pneumonia": "chest_pneumonia",
    "Pneumothorax": "chest_pneumothorax",
    "Consolidation": "chest_consolidation",
    "Edema": "chest_edema",
    "Emphysema": "chest_emphysema",
    "Fibrosis": "chest_fibrosis",
    "Pleural_Thickening": "chest_pleural_thickening",
    "Hernia": "chest_hernia",
}

#: Any of the fourteen, learned as an output of its own.
ABNORMAL = "chest_abnormal"

#: Every output that has a probability.
CODES: tuple[str, ...] = (*FINDINGS.values(), ABNORMAL)
