"""Writes the chest bundle's model card (``card.md``) from what was measured, so that no number in it is copied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.chest.findings import CODES
from models.chest.metadata import INTENDED_USE, SOURCES

TEMPLATE = Path(__file__).parent / "card.md"


def model_card(metadata: dict[str, Any], evaluation: dict[str, Any], training: dict[str, Any], difference: float) -> str:
    """Return the card in Markdown."""
    ours = metadata["sumu"]
    fields = {
        "version": metadata["version"],
        "intended_use": INTENDED_USE,
        "preprocessing": ours["preprocessing"],
        "sha256": ours["weights"]["sha256"],
        "sources": "\n".join(f"- {one['name']}: {one['licence']} ({one['url']})" for one in SOURCES),
        "silent": ", ".join(f"`{code}`" for code in CODES if code not in ours["thresholds"]) or "none",
        "cases": evaluation["cases"],
        "patients": evaluation["patients"],
        "mean_auc": _with_interval(evaluation["mean_auc"]),
        "teacher_mean_auc": _with_interval(evaluation["teacher_mean_auc"]),
        "rows": _rows(evaluation),
        "slope": evaluation["calibration"]["slope"],
        "brier": evaluation["brier"]["calibrated"],
        "brier_prevalence": evaluation["brier"]["prevalence"],
        "gate": _gate(evaluation["gate"]),
        "train_images": training["images"],
        "train_patients": training["patients"],
        "taught": training["taught"],
        "limbs": training["limbs"],
        "seconds": training["seconds"],
        "epochs": training["epochs"],
        "seed": training["seed"],
        "difference": difference,
        "localised": "boxes are shown"
        if evaluation["pointing"]["localises"]
        else "no box is shown, findings refer to the whole image",
        **evaluation["calls"],
        **evaluation["pointing"],
    }
    return TEMPLATE.read_text(encoding="utf-8").format_map(fields)


def _with_interval(values: list[float]) -> str:
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def _rows(evaluation: dict[str, Any]) -> str:
    return "\n".join(
        f"| `{code}` | {row['positives']} | {_with_interval(row['auc'])} | {'yes' if row['speaks'] else 'no'} "
        f"| {row['threshold']:.2f} | {row['sensitivity']:.2f} / {row['specificity']:.2f} "
        f"| {row['sensitivity_out_of_fold']:.2f} / {row['specificity_out_of_fold']:.2f} |"
        for code, row in evaluation["findings"].items()
    )


def _gate(gate: dict[str, list[float]]) -> str:
    named = ((name.removesuffix("_refused").replace("_", " "), *share) for name, share in gate.items())
    return "; ".join(f"{name} {share:.3f} of {count}" for name, share, count in named)
