"""From what was measured of a slide to what is said of it; the limits are the vocabulary's, for a pathologist to set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from inference.engine import Finding, Measurement, Region
from inference.pathology.grid import TileGrid
from inference.pathology.slide import Slide
from inference.pathology.stain import Stain
from inference.pathology.tissue import Tissue
from inference.vocabulary.terms import MeasurementTerm, vocabulary

#: Below this share of sharp tiles, percent, the whole slide is out of focus and not some fields of it.
_MOSTLY_BLURRED = 50.0
#: Less tissue than this, mm², is dust: the slide is empty.
_EMPTY_MM2 = 0.02


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One slide, measured."""

    slide: Slide
    tissue: Tissue
    grid: TileGrid
    stain: Stain | None
    #: Share of tissue tiles that are sharp, 0 to 1; None when no tile showed tissue.
    sharp: float | None
    #: Brightness of empty glass, 0 to 1.
    glass: float


def sharp_share(grid: TileGrid, labels: tuple[str, ...], threshold: float) -> float | None:
    """Return the share of tiles whose probability of sharpness among tissue reaches ``threshold``."""
    at = {label: grid.probabilities[:, index] for index, label in enumerate(labels)}
    shown = at["background"] < 0.5
    if not shown.any():
        return None
    tissue = (at["tissue_sharp"] + at["tissue_blurred"])[shown]
    return float(np.mean(at["tissue_sharp"][shown] / np.maximum(tissue, 1e-6) >= threshold))


def is_empty(examined: Examined) -> bool:
    """Return whether there is nothing on the slide to be read."""
    return examined.tissue.area_mm2 < _EMPTY_MM2


def measurements(examined: Examined) -> tuple[Measurement, ...]:
    """Return the numbers of a slide."""
    numbers: dict[str, float | None] = {
        "slide_tissue_area": examined.tissue.area_mm2,
        "slide_tissue_share": 100 * examined.tissue.fraction,
        "slide_sharp_share": None if examined.sharp is None else 100 * examined.sharp,
        "slide_glass_brightness": 100 * examined.glass,
    }
    if examined.stain is not None:
        numbers["slide_stain_density"] = examined.stain.density
        if examined.stain.looks_like_he:
            numbers["slide_haematoxylin_density"] = examined.stain.haematoxylin
            numbers["slide_eosin_density"] = examined.stain.eosin
            numbers["slide_haematoxylin_share"] = 100 * examined.stain.haematoxylin_share
    uid = examined.slide.sop_instance_uid
    return tuple(
        Measurement(code=code, value=value, sop_instance_uid=uid) for code, value in numbers.items() if value is not None
    )


def findings(said: tuple[Measurement, ...], examined: Examined) -> tuple[Finding, ...]:
    """Return what a technician should do about the slide, or that it may be read."""
    region = Region(sop_instance_uid=examined.slide.sop_instance_uid)
    if is_empty(examined):
        return (Finding(code="slide_empty", region=region),)
    terms = vocabulary().measurements
    values = {one.code: one.value for one in said}
    codes: list[str] = []
    if _below("slide_tissue_area", values, terms):
        codes.append("slide_little_tissue")
    if _below("slide_sharp_share", values, terms):
        blurred = values["slide_sharp_share"] < _MOSTLY_BLURRED
        codes.append("slide_out_of_focus" if blurred else "slide_partly_out_of_focus")
    if _below("slide_stain_density", values, terms):
        codes.append("slide_pale_stain")
    if _above("slide_stain_density", values, terms):
        codes.append("slide_dark_stain")
    if _below("slide_glass_brightness", values, terms):
        codes.append("slide_dark_glass")
    if examined.stain is not None and not examined.stain.looks_like_he:
        codes.append("slide_colours_not_he")
    elif _below("slide_haematoxylin_share", values, terms) or _above("slide_haematoxylin_share", values, terms):
        codes.append("slide_stain_unbalanced")
    # A slide of another stain may be perfectly fit.
    if all(code == "slide_colours_not_he" for code in codes) and examined.sharp is not None:
        codes.append("slide_ready")
    return tuple(Finding(code=code, region=region) for code in codes)


def _below(code: str, values: Mapping[str, float], terms: Mapping[str, MeasurementTerm]) -> bool:
    low = terms[code].low
    return code in values and low is not None and values[code] < low


def _above(code: str, values: Mapping[str, float], terms: Mapping[str, MeasurementTerm]) -> bool:
    high = terms[code].high
    return code in values and high is not None and values[code] > high
