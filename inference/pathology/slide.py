"""One scanned slide of a study: opened from the files of its pyramid, read by scale instead of by level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wsidicom import WsiDicom  # type: ignore[import-untyped]
from wsidicom.errors import WsiDicomError  # type: ignore[import-untyped]

from core.errors import SumuError
from inference.engine import InstanceFile

Pixels = NDArray[np.uint8]

#: VL Whole Slide Microscopy Image Storage.
SLIDE_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
#: Value 3 of Image Type (PS3.3 C.8.12.4.1.1) of images of the tissue itself, not of the label or the whole glass.
TISSUE_FLAVOURS = ("VOLUME", "THUMBNAIL")
#: A level serves a scale that is this much finer than its own pixels.
_TOLERANCE = 1.1
#: Edge of the blocks in which an overview is read, pixels of the overview: a level of gigapixels must not be in memory.
_BLOCK = 256


class SlideUnreadable(SumuError):
    """The instances of a slide do not make a pyramid."""

    def __init__(self, series_instance_uid: str, why: str) -> None:
        super().__init__(
            f"The slide of series {series_instance_uid} cannot be opened: {why}.",
            remedy="Send the whole series again; if that does not help, scan or convert the slide again.",
        )
        self.series_instance_uid = series_instance_uid


class Slide:
    """The pyramid of one slide. Coordinates are micrometres from the top left corner of the image."""

    def __init__(self, opened: WsiDicom, instances: Sequence[InstanceFile]) -> None:
        self._opened = opened
        self._levels = sorted((float(level.mpp.width), int(level.level)) for level in opened.levels)
        self._size = {int(level.level): (int(level.size.width), int(level.size.height)) for level in opened.levels}
        finest = self._size[self._levels[0][1]]
        #: Scale of the finest level.
        self.um_per_px: float = self._levels[0][0]
        #: Width and height, micrometres.
        self.size_um: tuple[float, float] = (finest[0] * self.um_per_px, finest[1] * self.um_per_px)
        base = max(instances, key=lambda instance: int(instance.header.get("TotalPixelMatrixColumns", 0)))
        self.sop_instance_uid: str = base.sop_instance_uid
        self.series_instance_uid: str = base.series_instance_uid
        #: Number on the glass; empty when the scanner did not write it.
        self.container: str = str(base.header.get("ContainerIdentifier", ""))

    def read(self, x_um: float, y_um: float, pixels: tuple[int, int], um_per_px: float) -> Pixels:
        """Return ``pixels`` (width, height) at the given scale, RGB, white where the image ends."""
        level_scale, level = self._level_for(um_per_px)
        ratio = um_per_px / level_scale
        left, top = round(x_um / level_scale), round(y_um / level_scale)
        width, height = (max(1, round(edge * ratio)) for edge in pixels)
        whole_width, whole_height = self._size[level]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, whole_width), min(top + height, whole_height)
        canvas = Image.new("RGB", (width, height), (255, 255, 255))
        if x1 > x0 and y1 > y0:
            canvas.paste(self._opened.read_region((x0, y0), level, (x1 - x0, y1 - y0)).convert("RGB"), (x0 - left, y0 - top))
        if canvas.size != pixels:
            canvas = canvas.resize(pixels, Image.Resampling.BOX if ratio > 1 else Image.Resampling.BICUBIC)
        return np.asarray(canvas)

    def overview(self, um_per_px: float) -> Pixels:
        """Return the whole slide at the given scale."""
        width, height = (max(1, ceil(edge / um_per_px)) for edge in self.size_um)
        whole = np.full((height, width, 3), 255, dtype=np.uint8)
        for y in range(0, height, _BLOCK):
            for x in range(0, width, _BLOCK):
                block = (min(_BLOCK, width - x), min(_BLOCK, height - y))
                whole[y : y + block[1], x : x + block[0]] = self.read(x * um_per_px, y * um_per_px, block, um_per_px)
        return whole

    def _level_for(self, um_per_px: float) -> tuple[float, int]:
        fine_enough = [one for one in self._levels if one[0] <= um_per_px * _TOLERANCE]
        return fine_enough[-1] if fine_enough else self._levels[0]


@contextmanager
def open_slide(instances: Sequence[InstanceFile]) -> Iterator[Slide]:
    """Open the instances of one slide; close its files when the block ends.

    Raises
    ------
    SlideUnreadable
        If they hold no level of a pyramid, or do not fit together.
    """
    series = instances[0].series_instance_uid
    try:
        opened = WsiDicom.open([instance.path for instance in instances])
    except (WsiDicomError, ValueError, KeyError, AttributeError, OSError) as error:
        raise SlideUnreadable(series, str(error) or type(error).__name__) from error
    with opened:
        yield Slide(opened, instances)


def slides_of(instances: Sequence[InstanceFile]) -> list[list[InstanceFile]]:
    """Return the instances by slide: one series, one container (PS3.3 A.32.8: a series may hold more than one pyramid)."""
    slides: dict[tuple[str, str], list[InstanceFile]] = defaultdict(list)
    for instance in instances:
        slides[instance.series_instance_uid, str(instance.header.get("ContainerIdentifier", ""))].append(instance)
    return list(slides.values())
