"""Writes the chest bundle's model card (``card.md``) from what was measured, so that no number in it is copied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.chest.findings import CODES
from models.chest.metadata import INTENDED_USE, SOURCES

TEMPLATE = Path(__file__).parent / "card.md"

#: What was asked of it: the mean area over thirteen findings, and that of abnormal or not.
TARGETS = {"mean_auc_13": ("mean over thirteen findings", 0.70), "abnormal_auc": ("abnormal or not", 0.78)}

#: An area below this is named among what the network cannot do.
WEAK = 0.65


def model_card(metadata: dict[str, Any], evaluation: dict[str, Any], training: dict[str, Any], difference: float) -> str:
    """Return the card in Markdown."""
    ours = metadata["sumu"]
    teacher, pointing, other = evaluation["teacher"], evaluation["pointing"], evaluation["other_devices"]
    fields = {
        "version": metadata["version"],
        "intended_use": INTENDED_USE,
        "preprocessing": ours["preprocessing"],
        "sha256": ours["weights"]["sha256"],
        "sources": "\n".join(f"- {one['name']}: {one['licence']} ({one['url']})" for one in SOURCES),
        "silent": _listed([code for code in CODES if code not in ours["thresholds"]]) or "none",
        "gate_threshold": ours["details"]["gate_threshold"],
        "weak_below": WEAK,
        "weak": _listed([code for code, row in evaluation["findings"].items() if row["auc"][0] < WEAK]) or "none",
        "targets": " ".join(_target(evaluation, *one) for one in TARGETS.items()),
        "mean_auc": _with_interval(evaluation["mean_auc_13"]["all"]),
        "abnormal_auc": _with_interval(evaluation["abnormal_auc"]["all"]),
        "mean_auc_validation": _with_interval(evaluation["mean_auc_13"]["validation"]),
        "abnormal_auc_validation": _with_interval(evaluation["abnormal_auc"]["validation"]),
        "teacher_mean_auc": teacher["all"]["mean_auc_13"],
        "teacher_abnormal_auc": teacher["all"]["abnormal_auc"],
        "teacher_mean_auc_validation": teacher["validation"]["mean_auc_13"],
        "teacher_abnormal_auc_validation": teacher["validation"]["abnormal_auc"],
        "rows": _rows(evaluation),
        "subgroups": _subgroups(evaluation["subgroups"]),
        "slope": evaluation["calibration"]["slope"],
        "brier": evaluation["brier"]["calibrated"],
        "brier_prevalence": evaluation["brier"]["prevalence"],
        "gate": "\n".join(f"| {name} | {share:.3f} | {count} |" for name, (share, count) in evaluation["gate"].items()),
        "other_images": other["images"],
        "wide_hearts": other["wide_hearts"],
        "cardiomegaly_auc": other["cardiomegaly_auc"],
        "other_spoken": ", ".join(f"`{code}` {share:.2f}" for code, share in other["spoken"].items()),
        "pointing": _pointing(pointing["findings"]),
        "localised": _listed(pointing["localised"]) or "none; findings refer to the whole image",
        "hit": pointing["hit"],
        "boxes": pointing["boxes"],
        "mean_box_area": pointing["mean_box_area"],
        "difference": difference,
        **{name: evaluation[name] for name in ("images", "patients", "validation_images", "folds", "repeats", "least_area")},
        **{name: value for name, value in training.items() if name not in ("images", "patients")},
        "train_images": training["images"],
        "train_patients": training["patients"],
        **evaluation["calls"],
    }
    return TEMPLATE.read_text(encoding="utf-8").format_map(fields)


def _target(evaluation: dict[str, Any], name: str, target: tuple[str, float]) -> str:
    what, wanted = target
    reached = evaluation[name]["all"][0]
    return f"Asked for {what}: {wanted:.2f} or more; {'reached' if reached >= wanted else '**not reached**'} ({reached:.3f})."


def _with_interval(values: list[float]) -> str:
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def _listed(codes: list[str]) -> str:
    return ", ".join(f"`{code}`" for code in codes)


def _rows(evaluation: dict[str, Any]) -> str:
    return "\n".join(
        f"| `{code}` | {row['positives']} | {_with_interval(row['auc'])} | ({row['auc_validation']:.2f}) "
        f"| {row['auc_teacher']:.2f} | {'yes' if row['speaks'] else 'no'} | {row['threshold']:.2f} "
        f"| {row['sensitivity_out_of_fold']:.2f} / {row['specificity_out_of_fold']:.2f} |"
        for code, row in evaluation["findings"].items()
    )


def _subgroups(groups: dict[str, Any]) -> str:
    return "\n".join(
        f"| {name} | {one['images']} | {one['mean_auc_13']:.2f} | {one['abnormal_auc']:.2f} |" for name, one in groups.items()
    )


def _pointing(findings: dict[str, Any]) -> str:
    return "\n".join(
        f"| `{code}` | {one['boxes']} | {one['hit']:.2f} | {one['mean_box_area']:.3f} |" for code, one in findings.items()
    )
