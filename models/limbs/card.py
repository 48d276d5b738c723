"""Writes the limb bundle's model card (``card.md``) from what was measured: no number in it is copied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.limbs.evaluate import SENSITIVITY
from models.limbs.metadata import INTENDED_USE, SOURCES
from models.limbs.reading import PARTS

TEMPLATE = Path(__file__).parent / "card.md"

#: What was asked of the network before it was trained.
TARGET_AUC, TARGET_HIT = 0.93, 0.70


def model_card(metadata: dict[str, Any], evaluation: dict[str, Any], training: list[dict[str, Any]], difference: float) -> str:
    """Return the card in Markdown."""
    ours, what, gate = metadata["sumu"], evaluation["what"], evaluation["gate"]
    metal, hit = evaluation["with_hardware"], evaluation["boxes_hit_in_true_positives"]
    subgroups = evaluation["subgroups"]
    fields = {
        "version": metadata["version"],
        "intended_use": INTENDED_USE,
        "preprocessing": ours["preprocessing"],
        "sha256": ours["weights"]["sha256"],
        "sources": "\n".join(f"- {one['name']}: {one['licence']} ({one['url']})" for one in SOURCES),
        "grown_years": ours["details"]["grown_years"],
        "auc": with_bounds(evaluation["auc"]),
        "auc_verdict": _verdict(evaluation["auc"][0], TARGET_AUC),
        "hit": with_bounds(hit),
        "hit_verdict": _verdict(hit[0], TARGET_HIT),
        "hit_all": with_bounds(evaluation["boxes_hit_in_all_fractured"]),
        "overlap": with_bounds(evaluation["mean_overlap_in_true_positives"]),
        "sensitivity_aim": SENSITIVITY,
        "rows": "\n".join([_row("all", evaluation), *(_row(name, one) for name, one in subgroups.items())]),
        "hardware_images": metal["images"],
        "hardware_fractured": metal["fractured"],
        "hardware_sensitivity": with_bounds(metal["sensitivity"]),
        "hardware_hit": with_bounds(metal["boxes_hit_in_true_positives"]),
        "thresholds": ", ".join(f"{part} {value:.3f}" for part, value in evaluation["thresholds"].items()),
        "reliability": ", ".join(f"{mean:.2f}/{share:.2f}" for _, mean, share in evaluation["reliability"]),
        "prevalence": evaluation["fractured"] / evaluation["images"],
        "what_rows": "\n".join(_what_rows(what)),
        "hardware_auc": what["hardware"]["auc"],
        "hardware_count": what["hardware"]["images"],
        "hardware_false": what["hardware"]["false"],
        "hardware_found": what["hardware"]["found"],
        "limbs_refused": _share(gate["limbs_refused"]),
        "strangers_refused": _shares(gate["strangers_refused"]),
        "others_refused": _shares(evaluation["others"]),
        "missed": _failures(evaluation["failures"]["missed"]),
        "false_alarms": _failures(evaluation["failures"]["false_alarms"]),
        "few": ", ".join(f"{part} {subgroups[part]['fractured']}" for part in PARTS[2:]),
        "difference": difference,
        "images": evaluation["images"] + metal["images"],
        "fractured": evaluation["fractured"] + metal["fractured"],
        "seconds_of_a_core": sum(one["seconds_of_a_core"] for one in training),
        **{name: training[0][name] for name in ("views", "strangers", "seed")},
        "steps": ", ".join("+".join(map(str, one["steps"])) for one in training),
        "batch": sum(training[0]["batch"]),
    }
    return TEMPLATE.read_text(encoding="utf-8").format_map(fields)


def with_bounds(values: list[float]) -> str:
    """Return a figure with its 95 % interval where it has one."""
    return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})" if len(values) == 3 else f"{values[0]:.3f}"


def _verdict(value: float, aim: float) -> str:
    return f"{'meets' if value >= aim else '**misses**'} the aim of {aim:.2f}"


def _row(name: str, figures: dict[str, Any]) -> str:
    asked = ("auc", "sensitivity", "specificity", "boxes_hit_in_true_positives")
    numbers = (with_bounds(figures[one]) if one in figures else "" for one in asked)
    return f"| {name} | {figures['images']} | {figures['fractured']} | " + " | ".join(numbers) + " |"


def _what_rows(what: dict[str, Any]) -> list[str]:
    rows = []
    for title in ("part", "projection"):
        rows.append(f"| {title} | {what[title]['images']} | {what[title]['right']:.3f} |")
        rows += [f"| {name} | {count} | {right:.3f} |" for name, (count, right) in what[title]["by_name"].items()]
    return rows


def _share(counted: list[float]) -> str:
    return f"{counted[1]:.1%} of {counted[0]:.0f}"


def _shares(counted: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {_share(one)}" for name, one in counted.items()) or "not measured"


def _failures(some: list[list[Any]]) -> str:
    return ", ".join(f"{name.removesuffix('.jpg')} ({part}, {probability:.2f})" for name, part, probability in some)
