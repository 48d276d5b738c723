"""Writes the heart and lung bundle's model card (``card.md``) from what was measured: no number in it is copied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.heart_lung.metadata import INTENDED_USE, SOURCES

TEMPLATE = Path(__file__).parent / "card.md"

#: What was asked of the network before it was trained.
TARGET_ERROR, TARGET_SIDE = 0.016, 0.95

DEVICES = {
    "1.2.410.200048": "a maker in Korea",
    "1.2.392.200046": "a maker in Japan",
    "1.2.840.113619": "a maker in the USA",
    "1.2.156.112536": "a maker in China",
}


def model_card(metadata: dict[str, Any], evaluation: dict[str, Any], training: dict[str, Any], difference: float) -> str:
    """Return the card in Markdown."""
    ours = metadata["sumu"]
    error, side = evaluation["mean_absolute_error"][0], evaluation["same_side_of_half"][0]
    everything = evaluation["without_failure_detector"]
    fields = {
        "version": metadata["version"],
        "intended_use": INTENDED_USE,
        "preprocessing": ours["preprocessing"],
        "sha256": ours["weights"]["sha256"],
        "sources": "\n".join(f"- {one['name']}: {one['licence']} ({one['url']})" for one in SOURCES),
        "error": with_interval(evaluation["mean_absolute_error"]),
        "side": with_interval(evaluation["same_side_of_half"]),
        "all_error": with_interval(everything["mean_absolute_error"]),
        "all_side": with_interval(everything["same_side_of_half"]),
        "all_withheld": everything["withheld"],
        "verdict": f"{_met(error <= TARGET_ERROR)} the aim of {TARGET_ERROR}",
        "side_verdict": f"{_met(side >= TARGET_SIDE)} the aim of {TARGET_SIDE}",
        "images": evaluation["images"],
        "withheld": evaluation["withheld"],
        "because": ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in evaluation["withheld_because"].items())
        or "none",
        "rows": "\n".join(_row(name, one) for name, one in evaluation["devices"].items()),
        "detector": "; ".join(
            f"{name.replace('_', ' ')} {share:.2f} of {count}" for name, (share, count) in evaluation["detector"].items()
        ),
        "dice": ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in evaluation["dice"].items()),
        "difference": difference,
        **{name: training[name] for name in ("views", "steps", "batch", "seed", "seconds")},
    }
    return TEMPLATE.read_text(encoding="utf-8").format_map(fields)


def with_interval(values: list[float]) -> str:
    """Return a value with its 95 % interval."""
    return f"{values[0]:.4f} ({values[1]:.4f} to {values[2]:.4f})"


def _met(met: bool) -> str:
    return "meets" if met else "**misses**"


def _row(device: str, figures: dict[str, Any]) -> str:
    name = f"{device} ({DEVICES[device]})" if device in DEVICES else device
    if "bias" not in figures:
        return f"| {name} | {figures['images']} | {figures['withheld']} | | | |"
    numbers = (figures["mean_absolute_error"], figures["bias"], figures["same_side_of_half"])
    return f"| {name} | {figures['images']} | {figures['withheld']} | " + " | ".join(map(with_interval, numbers)) + " |"
