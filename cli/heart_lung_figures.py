"""``sumu evaluate heart-lung``: how well the shipped network's cardiothoracic ratios agree with those of people."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer


def evaluate_heart_lung(
    data: Annotated[Path, typer.Option("--data", help="Folder with manifest.csv, img512 and, if there are masks, mask512.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the cardiothoracic ratio on chest radiographs of your own."""
    figures = heart_lung_figures(data)
    typer.echo(json.dumps(figures, indent=1) if as_json else in_words(figures))


def heart_lung_figures(data: Path) -> dict[str, Any]:
    """Measure every image of the folder with the shipped bundle, as in serving but without the chest network's gate.

    Images that the bundle learned from flatter it; its card says what it does on devices that it never saw.

    Raises
    ------
    NotHeartLungData
        If the folder holds no manifest, or an image or a ratio is missing.
    """
    from inference.onnx_session import PROCESSOR
    from inference.radiograph.cardiothoracic import HeartLungModel
    from models.bundle import BUNDLES
    from models.heart_lung.agreement import mean_dice
    from models.heart_lung.data import greys, heart_lung_cases
    from models.heart_lung.figures import ratio_figures

    model = HeartLungModel(BUNDLES / "heart_lung", PROCESSOR)
    cases = heart_lung_cases(data)
    images = greys(cases)
    identity = model.identity
    began = time.perf_counter()
    seen = [model.outline(grey) for grey in images]
    seconds = (time.perf_counter() - began) / len(seen)
    truth, devices = [case.ratio for case in cases], [case.device for case in cases]
    return {
        "model": f"{identity.name} {identity.version}",
        "weights_sha256": identity.weights_sha256,
        **ratio_figures([one.trusted.ratio if one.trusted else None for one in seen], truth, devices),
        "without_failure_detector": ratio_figures([one.outlines.ratio if one.outlines else None for one in seen], truth, devices),
        "dice": mean_dice(seen, cases),
        "seconds_an_image": round(seconds, 4),
        "predictions": [
            {
                "image": case.image.name,
                "found": round(one.outlines.ratio, 4) if one.outlines else None,
                "true": case.ratio,
                "doubt": one.doubt,
            }
            for case, one in zip(cases, seen, strict=True)
        ],
    }


def in_words(figures: dict[str, Any]) -> str:
    """Return the figures as lines to read."""
    lines = [f"{figures['model']}: {figures['images']} images, no number for {figures['withheld']}"]
    if "bias" in figures:
        for name in ("mean_absolute_error", "median_absolute_error", "bias", "same_side_of_half"):
            value, low, high = figures[name]
            lines.append(f"{name.replace('_', ' ')}: {value:.4f} (95 % {low:.4f} to {high:.4f})")
    lines += [f"Dice of {name.replace('_', ' ')}: {value:.3f}" for name, value in figures["dice"].items()]
    return "\n".join([*lines, f"seconds an image: {figures['seconds_an_image']:.3f}"])
