"""How well fractures are found and placed, with bootstrap intervals: what the card and ``sumu evaluate fracture`` print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.chest.calibration import auc, interval
from models.limbs.data import LimbCase
from models.limbs.reading import PARTS, PROJECTIONS, LimbOutput, holds, overlap

#: Parts overlap in the few images that show two.
Chosen = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One image beside what was said of it."""

    case: LimbCase
    #: Probability of a fracture.
    probability: float
    #: Operating point of the part that the image shows.
    threshold: float
    #: Whether the middle of the first box lies inside a box that people drew; None where there is none.
    hit: bool | None
    #: Largest overlap (intersection by union) of the first box with one that people drew; None where there is none.
    overlap: float | None


def fracture_figures(scored: Sequence[Scored]) -> dict[str, Any]:
    """Return the figures without metal, by part, projection and number of exposures, and of the images with metal.

    The box is hit where the middle of the first box lies inside a box that people drew. Intervals are 95 %, bootstrap over
    groups of images that belong together.
    """
    without = [one for one in scored if not one.case.hardware]
    subgroups = {
        **{part: [one for one in without if part in one.case.parts] for part in PARTS},
        **{name: [one for one in without if name in one.case.projections] for name in PROJECTIONS},
        "one exposure": [one for one in without if not one.case.multiscan],
        "several exposures": [one for one in without if one.case.multiscan],
    }
    return {
        **part_figures(without),
        "subgroups": {name: part_figures(members) for name, members in subgroups.items()},
        "with_hardware": part_figures([one for one in scored if one.case.hardware]),
    }


def part_figures(scored: Sequence[Scored]) -> dict[str, Any]:
    """Return counts, AUC, sensitivity, specificity and the boxes hit of some images; a figure that has no cases is left out."""
    truth = np.array([one.case.fractured for one in scored], int)
    score = np.array([one.probability for one in scored], float)
    called = np.array([one.probability >= one.threshold for one in scored], bool)
    hit = np.array([bool(one.hit) for one in scored], float)
    boxed = np.array([one.hit is not None for one in scored], bool)
    shared = np.array([one.overlap or 0.0 for one in scored], float)
    groups = np.array([one.case.group for one in scored], int)
    figures: dict[str, Any] = {"images": len(scored), "fractured": int(truth.sum())}
    asked: dict[str, tuple[NDArray[np.bool_], Callable[[Chosen], float]]] = {}
    every = np.ones(len(scored), bool)
    if 0 < truth.sum() < len(truth):
        asked["auc"] = every, lambda at: auc(score[at], truth[at])
    asked["sensitivity"] = truth == 1, lambda at: float(called[at].mean())
    asked["specificity"] = truth == 0, lambda at: float(1 - called[at].mean())
    asked["boxes_hit_in_true_positives"] = boxed & called, lambda at: float(hit[at].mean())
    asked["boxes_hit_in_all_fractured"] = boxed, lambda at: float(hit[at].mean())
    asked["mean_overlap_in_true_positives"] = boxed & called, lambda at: float(shared[at].mean())
    for name, (members, statistic) in asked.items():
        chosen = np.flatnonzero(members)
        if len(chosen):
            figures[name] = with_bounds(statistic, chosen, groups)
    return figures


def with_bounds(statistic: Callable[[Chosen], float], chosen: Chosen, groups: Chosen) -> list[float]:
    """Return a figure with its interval; the two bounds are left out where there is one group only."""
    value = round(statistic(chosen), 4)
    if len(set(groups[chosen])) < 2:
        return [value]
    low, high = interval(lambda at: statistic(chosen[at]), groups[chosen], draws=1000)
    return [value, round(low, 4), round(high, 4)]


def placed(case: LimbCase, output: LimbOutput) -> dict[str, Any]:
    """Return ``hit`` and ``overlap`` of a fracture with drawn boxes, None where nobody drew one."""
    if not case.boxes or not case.fractured:
        return {"hit": None, "overlap": None}
    width, height = size_of(output)
    boxes = [(x * width, y * height, across * width, down * height) for x, y, across, down in case.boxes]
    first = output.places[0]
    return {
        "hit": any(holds(box, first.centre) for box in boxes),
        "overlap": max(overlap(box, first.box) for box in boxes),
    }


def size_of(output: LimbOutput) -> tuple[int, int]:
    """Return columns and rows of the source image."""
    place = output.canvas.placement
    size = place.source_width, place.source_height
    return size[::-1] if output.canvas.turned else size
