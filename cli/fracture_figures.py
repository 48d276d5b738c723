"""``sumu evaluate fracture``: how well the shipped network finds and places fractures of limbs that people have marked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer


def evaluate_fracture(
    data: Annotated[Path, typer.Option("--data", help="Folder with manifest.csv and img384.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure fracture or not, and where, on radiographs of limbs of your own."""
    figures = fracture_figures_of(data)
    typer.echo(json.dumps(figures, indent=1) if as_json else in_words(figures))


def fracture_figures_of(data: Path) -> dict[str, Any]:
    """Measure every image of the folder with the shipped bundle at its operating points, as in serving.

    Images that the bundle learned from flatter it; its card says what the same recipe does on images that it never saw.

    Raises
    ------
    NotLimbData
        If the folder holds no manifest, or a column or an image is missing.
    """
    from inference.onnx_session import PROCESSOR
    from inference.radiograph.limbs import LimbModel
    from models.bundle import BUNDLES
    from models.limbs.data import greys, limb_cases
    from models.limbs.figures import Scored, fracture_figures, placed

    model = LimbModel(BUNDLES / "limb_radiograph", PROCESSOR)
    cases = limb_cases(data)
    identity = model.identity
    began = time.perf_counter()
    seen = [model.look(greys(case)) for case in cases]
    seconds = (time.perf_counter() - began) / len(seen)
    scored = [
        Scored(case=case, probability=output.fracture, threshold=model.threshold(output), **placed(case, output))
        for case, output in zip(cases, seen, strict=True)
    ]
    return {
        "model": f"{identity.name} {identity.version}",
        "weights_sha256": identity.weights_sha256,
        "operating_points": dict(model.bundle.details["part_thresholds"]),
        **fracture_figures(scored),
        "refused_as_no_limb": sum(not model.is_limb(output) for output in seen),
        "seconds_an_image": round(seconds, 4),
        "predictions": [
            {
                "image": one.case.file.name,
                "fractured": one.case.fractured,
                "probability": round(one.probability, 4),
                "called": one.probability >= one.threshold,
                "box": [round(value, 1) for value in output.places[0].box],
                "hit": one.hit,
            }
            for one, output in zip(scored, seen, strict=True)
        ],
    }


def in_words(figures: dict[str, Any]) -> str:
    """Return the figures as lines to read."""
    lines = [f"{figures['model']}: {figures['images']} images without metal, {figures['fractured']} fractured"]
    lines += _figures(figures)
    for name, part in figures["subgroups"].items():
        if part["images"]:
            lines.append(f"{name}: {part['images']} images, {part['fractured']} fractured")
            lines += [f"  {line}" for line in _figures(part)]
    return "\n".join([*lines, f"seconds an image: {figures['seconds_an_image']:.3f}"])


def _figures(figures: dict[str, Any]) -> list[str]:
    lines = []
    for name, values in figures.items():
        if isinstance(values, list) and name != "predictions":
            bounds = f" (95 % {values[1]:.3f} to {values[2]:.3f})" if len(values) == 3 else ""
            lines.append(f"{name.replace('_', ' ')}: {values[0]:.3f}{bounds}")
    return lines
