"""What the outlines of the lungs say about the picture itself: fields cut off, a shallow breath, lungs of unequal area.

The limits are data (``cautions.toml``). A rotated patient is not told from other causes of unequal lungs: for that the
clavicles and the spine would have to be seen.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from inference.radiograph.contours import Polygon

FILE = Path(__file__).with_name("cautions.toml")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Where a measure of the outlines asks for a caution."""

    #: Code of the vocabulary's reason.
    reason: str
    measure: str
    below: float | None = None
    above: float | None = None
    #: Cautions that explain the measure: with one of them this one is not told.
    unless: Sequence[str] = ()

    def is_passed(self, value: float) -> bool:
        """Return whether ``value`` lies beyond the limit."""
        return (self.below is not None and value < self.below) or (self.above is not None and value > self.above)


@cache
def limits() -> tuple[Limit, ...]:
    """Return the limits of ``cautions.toml`` in the order in which cautions are told."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))["caution"]
    return tuple(Limit(reason=reason, **fields) for reason, fields in tables.items())


def cautions_of(outlines: Mapping[str, Polygon], size: Sequence[int], right_lung_share: float) -> list[str]:
    """Return the reasons why the numbers of an image are to be read with care.

    Parameters
    ----------
    outlines
        Polygons of both lungs in pixels of the stored image.
    size
        Columns and rows of the stored image.
    right_lung_share
        The right lung's share of the area of both lungs, 0 to 1.
    """
    measures = measures_of(outlines, size) | {"right_lung_percent": 100 * right_lung_share}
    told: list[str] = []
    for limit in limits():
        if limit.is_passed(measures[limit.measure]) and not set(told) & set(limit.unless):
            told.append(limit.reason)
    return told


def measures_of(outlines: Mapping[str, Polygon], size: Sequence[int]) -> dict[str, float]:
    """Return what ``cautions.toml`` sets limits to, of the lungs' outlines."""
    lungs = [outlines["left_lung"], outlines["right_lung"]]
    tops, bottoms = ([edge(y for _, y in lung) for lung in lungs] for edge in (min, max))
    across = [x for lung in lungs for x, _ in lung]
    height = sum(bottoms[side] - tops[side] for side in (0, 1)) / 2
    return {
        "above_lungs": min(tops) / height,
        "below_lungs": (size[1] - max(bottoms)) / height,
        "height_by_width": height / (max(across) - min(across)),
    }
