"""Decides whether outlines may be measured: a wrong number is worse than none."""

from __future__ import annotations

from collections.abc import Mapping

from models.heart_lung.outlines import Outlines

#: Smallest and largest share of the image that each structure covers; the masks of the training set lie well within.
AREAS: Mapping[str, tuple[float, float]] = {
    "left_lung": (0.03, 0.30),
    "right_lung": (0.04, 0.30),
    "heart": (0.03, 0.30),
}
#: Cardiothoracic ratios beyond these are not believed.
RATIOS = (0.25, 0.90)
#: Largest factor between the areas of the lungs.
LUNGS_FACTOR = 4.0
#: Least share of each structure in one piece.
WHOLENESS = 0.85
#: Largest share of doubtful places.
DOUBT = 0.35
#: Largest difference in the ratio between the image and its mirror image.
DISAGREEMENT = 0.05


def distrust(outlines: Outlines, image_ratio: float, mirror_ratio: float) -> str | None:
    """Return why the outlines must not be measured (``cut_off``, ``implausible``, ``unsure``), or None."""
    if outlines.cut_off:
        return "cut_off"
    lungs = sorted((outlines.areas["left_lung"], outlines.areas["right_lung"]))
    plausible = (
        all(low <= outlines.areas[name] <= high for name, (low, high) in AREAS.items())
        and RATIOS[0] <= outlines.ratio <= RATIOS[1]
        and lungs[1] <= LUNGS_FACTOR * lungs[0]
        and outlines.wholeness >= WHOLENESS
    )
    if not plausible:
        return "implausible"
    if outlines.doubt > DOUBT or abs(image_ratio - mirror_ratio) > DISAGREEMENT:
        return "unsure"
    return None
