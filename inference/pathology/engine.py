"""The pathology engine: says of each slide of a study whether it is fit to be read, and never what it shows.

No free data exist from which a diagnostic model could honestly be made and shipped, so there is none; every reading carries the
reason ``slide_technical_quality_only``, which says so to the reader.

``evidence`` has one key, ``slides``, a list with one entry for each slide:

``sop_instance_uid``, ``series_instance_uid``, ``container``
    Which slide; the instance is its finest level.
``tissue_outline``
    Polygons, each a list of ``[x, y]`` from 0 to 1 of the image's width and height.
``tile_grid``
    ``columns``, ``rows``, ``cell_um``, ``focus`` (rows of scores from 0, blurred, to 1, sharp; null where no tile was read),
    ``focus_sharp_from`` (the score from which the rule calls a tile sharp) and ``probabilities`` (rows for each class).
``level_um_per_px``, ``overview_um_per_px``, ``tile_um_per_px``
    Scale of the finest level, of the tissue search and of the tiles.
``stain``
    ``haematoxylin`` and ``eosin`` (unit vectors of optical density), ``angles`` to the published ones and ``looks_like_he``,
    or null.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from inference.engine import InstanceFile, ModelIdentity, Outcome, Reading, StudyFiles
from inference.onnx_session import PROCESSOR, Hardware
from inference.pathology.grid import look_closely
from inference.pathology.quality import Examined, findings, is_empty, measurements, sharp_share
from inference.pathology.slide import SLIDE_SOP_CLASS, TISSUE_FLAVOURS, Slide, open_slide, slides_of
from inference.pathology.stain import Stain, glass_colour, measure_stain
from inference.pathology.tiles import TileClassifier
from inference.pathology.tissue import OVERVIEW_UM_PER_PX, Tissue, find_tissue, outlines
from models.slide_tiles.classes import UM_PER_PX

#: A finest level coarser than this, µm/px, cannot show whether it is sharp.
_COARSEST = 0.75

_METHOD = ModelIdentity(
    name="slide_measurements",
    version="1.0.0",
    preprocessing=f"tissue: saturation and Otsu at {OVERVIEW_UM_PER_PX:g} µm/px; stain: Macenko, every eighth pixel of the tiles",
)


class PathologyEngine:
    """Technical quality of whole slide images in brightfield."""

    name = "pathology"

    def __init__(self, bundle_folder: Path, hardware: Hardware = PROCESSOR) -> None:
        self._bundle_folder, self._hardware = bundle_folder, hardware

    @cached_property
    def _classifier(self) -> TileClassifier:
        return TileClassifier(self._bundle_folder, self._hardware)

    def wants(self, instance: Dataset) -> bool:
        """Return whether the instance is a level or a thumbnail of a slide, not its label or overview.

        A header that does not tell the flavour is wanted: what is known of an instance before it is fetched may be little.
        """
        return str(instance.get("SOPClassUID", "")) == SLIDE_SOP_CLASS and _flavour(instance) in (None, *TISSUE_FLAVOURS)

    def read(self, study: StudyFiles) -> Reading:
        """Measure every slide of the study.

        Raises
        ------
        SlideUnreadable
            If the instances of a slide do not make a pyramid.
        """
        wanted = [instance for instance in study.instances if self.wants(instance.header)]
        slides = [slide for slide in slides_of(wanted) if any(_is_level(instance) for instance in slide)]
        coloured = [slide for slide in slides if all(_is_coloured(instance) for instance in slide)]
        examined: list[Examined] = []
        evidence: list[dict[str, Any]] = []
        coarse = empty = 0
        for instances in coloured:
            with open_slide(instances) as slide:
                if slide.um_per_px > _COARSEST:
                    coarse += 1
                    continue
                seen = self._examine(slide)
                examined.append(seen)
                empty += is_empty(seen)
                evidence.append(self._evidence(seen))
        reason = _why_nothing(len(slides), len(coloured), len(examined), coarse, empty)
        if reason is not None:
            return Reading(outcome=Outcome.DECLINED, reason=reason, models=(_METHOD,), evidence={"slides": evidence})
        numbers = [measurements(one) for one in examined]
        return Reading(
            outcome=Outcome.READ,
            reason="slide_technical_quality_only",
            models=(self._classifier.identity, _METHOD),
            findings=tuple(finding for said, one in zip(numbers, examined, strict=True) for finding in findings(said, one)),
            measurements=tuple(number for said in numbers for number in said),
            evidence={"slides": evidence},
        )

    def _examine(self, slide: Slide) -> Examined:
        overview = slide.overview(OVERVIEW_UM_PER_PX)
        tissue = find_tissue(overview)
        grid = look_closely(slide, tissue, self._classifier)
        glass = glass_colour(overview, tissue.mask)
        pixels = grid.tiles[:, ::8, ::8].reshape(-1, 3)
        return Examined(
            slide=slide,
            tissue=tissue,
            grid=grid,
            stain=measure_stain(pixels, glass) if len(pixels) else None,
            sharp=sharp_share(grid, self._classifier.labels, self._classifier.bundle.thresholds["tissue_sharp"]),
            glass=float(np.mean(glass)) / 255,
        )

    def _evidence(self, examined: Examined) -> dict[str, Any]:
        return {
            "sop_instance_uid": examined.slide.sop_instance_uid,
            "series_instance_uid": examined.slide.series_instance_uid,
            "container": examined.slide.container,
            "tissue_outline": _as_lists(examined.tissue),
            "tile_grid": examined.grid.as_evidence(self._classifier.labels),
            "level_um_per_px": round(examined.slide.um_per_px, 4),
            "overview_um_per_px": OVERVIEW_UM_PER_PX,
            "tile_um_per_px": UM_PER_PX,
            "stain": _stain_evidence(examined.stain),
        }


def _why_nothing(slides: int, coloured: int, examined: int, coarse: int, empty: int) -> str | None:
    if not slides:
        return "slide_without_levels"
    if not coloured:
        return "slide_not_brightfield"
    if not examined:
        return "slide_too_coarse"
    return "slide_without_tissue" if empty == examined and not coarse else None


def _flavour(header: Dataset) -> str | None:
    """Return value 3 of Image Type (PS3.3 C.8.12.4.1.1)."""
    values = header.get("ImageType") or []
    return str(values[2]) if len(values) > 2 else None


def _is_level(instance: InstanceFile) -> bool:
    return _flavour(instance.header) == "VOLUME"


def _is_coloured(instance: InstanceFile) -> bool:
    return int(instance.header.get("SamplesPerPixel", 0)) == 3


def _as_lists(tissue: Tissue) -> list[list[list[float]]]:
    return [[[x, y] for x, y in polygon] for polygon in outlines(tissue)]


def _stain_evidence(stain: Stain | None) -> dict[str, Any] | None:
    if stain is None:
        return None
    return {
        "haematoxylin": [round(float(value), 3) for value in stain.vectors[0]],
        "eosin": [round(float(value), 3) for value in stain.vectors[1]],
        "angles": [round(angle, 1) for angle in stain.angles],
        "looks_like_he": stain.looks_like_he,
    }
