"""Writes the ECG bundle's model card (``card.md``) from what was measured, so that no area in it is copied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.ecg.metadata import INTENDED_USE, SOURCES
from models.ecg.superclasses import SUPERCLASSES

TEMPLATE = Path(__file__).parent / "card.md"

#: What the county asked for, each at least so high, on fold 9.
TARGETS = {"macro_auc": 0.940, "macro_superclass_auc": 0.930, "AFIB": 0.99, "CLBBB": 0.99, "CRBBB": 0.99, "PVC": 0.99}

OPINIONS = {"first": "mean of the logits", "second": "discriminant", "both": "mean of both, as shipped"}


def model_card(metadata: dict[str, Any], evaluation: dict[str, Any], difference: float, size: int) -> str:
    """Return the card in Markdown."""
    ours = metadata["sumu"]
    rows = evaluation["statements"]
    fields = {
        "version": metadata["version"],
        "intended_use": INTENDED_USE,
        "preprocessing": ours["preprocessing"],
        "sha256": ours["weights"]["sha256"],
        "megabytes": size / 1e6,
        "sources": "\n".join(f"- {one['name']}: {one['licence']} ({one['url']})" for one in SOURCES),
        "records": evaluation["records"],
        "draws": evaluation["draws"],
        "counted": evaluation["counted"],
        "macro_auc": _with_interval(evaluation["macro_auc"]),
        "macro_superclass_auc": _with_interval(evaluation["macro_superclass_auc"]),
        "superclasses": "\n".join(f"| {name} | {_with_interval(evaluation['superclasses'][name])} |" for name in SUPERCLASSES),
        "targets": "\n".join(_target(name, least, evaluation) for name, least in TARGETS.items()),
        "members": "\n".join(_member(name, one) for name, one in evaluation["members"].items()),
        "weights": sum(one["weights"] for one in evaluation["members"].values()),
        "features": evaluation["features"],
        "opinions": "\n".join(_opinion(name, words, evaluation) for name, words in OPINIONS.items()),
        "rows": "\n".join(_row(code, row) for code, row in _by_positives(rows) if "auc" in row),
        "silent": ", ".join(f"`{code}`" for code, row in rows.items() if "auc" in row and not row["spoken"]) or "none",
        "uncounted": ", ".join(f"`{code}` ({row['positives']})" for code, row in _by_positives(rows) if "auc" not in row),
        "error_raw": evaluation["calibration_error"]["raw"],
        "error": evaluation["calibration_error"]["outside"],
        "brier_raw": evaluation["brier"]["raw"],
        "brier": evaluation["brier"]["outside"],
        "difference": difference,
    }
    return TEMPLATE.read_text(encoding="utf-8").format_map(fields)


def _by_positives(rows: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(rows.items(), key=lambda item: -item[1]["positives"])


def _with_interval(values: list[float]) -> str:
    return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})"


def _target(name: str, least: float, evaluation: dict[str, Any]) -> str:
    values = evaluation[name] if name in evaluation else evaluation["statements"][name]["auc"]
    words = {"macro_auc": "mean over statements", "macro_superclass_auc": "mean over superclasses"}.get(name, name)
    return f"| {words} | {least:.3f} | {values[0]:.4f} | {'yes' if values[0] >= least else '**no**'} |"


def _opinion(name: str, words: str, evaluation: dict[str, Any]) -> str:
    areas = evaluation["opinions"][name]
    return f"| {words} | {areas['macro_auc']:.4f} | {areas['macro_superclass_auc']:.4f} |"


def _member(name: str, one: dict[str, Any]) -> str:
    cells = [f"`{name}`", one["kind"], f"`{one['start']}`" if one["start"] else "nothing", f"{one['weights']:,}", one["seed"]]
    cells += [one["epochs"], f"{one['seconds'] / 60:.0f} min", f"{one['macro_auc']:.4f}"]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _row(code: str, row: dict[str, Any]) -> str:
    chosen = f"{row['sensitivity']:.2f} / {row['specificity']:.3f}"
    outside = f"{row['sensitivity_outside']:.2f} / {row['specificity_outside']:.3f} / {row['precision_outside']:.2f}"
    cells = [f"`{code}`", row["positives"], _with_interval(row["auc"]), "yes" if row["spoken"] else "no"]
    cells += [f"{row['threshold']:.3f}", chosen, outside, f"{row['calibration_error']:.3f}"]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
