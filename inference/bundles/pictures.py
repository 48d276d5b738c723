"""One picture as a bundle sees it: grey values as displayed; a coloured one by its luminance, where the bundle says so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from inference.engine import InstanceFile
from inference.radiograph.rendering import MOST_PIXELS, UnreadablePixels, displayed

#: Shares of red, green and blue (ITU-R BT.601).
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


class NoPicture(Exception):
    """The instance is no picture that the bundle could read; ``reason`` is a code of the vocabulary."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


def picture_of(instance: InstanceFile, *, luminance: bool) -> NDArray[np.float32]:
    """Return the grey values (rows, columns) of a single-frame image.

    Raises
    ------
    NoPicture
        If it is a loop, is coloured and ``luminance`` is not said, or cannot be decoded.
    """
    frames = int(instance.header.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise NoPicture("bundle_loop", f"it has {frames} frames")
    photometric = str(instance.header.get("PhotometricInterpretation", ""))
    try:
        if photometric.startswith("MONOCHROME"):
            return displayed(instance.path)
        if not luminance:
            raise NoPicture("bundle_coloured", f"its photometric interpretation is {photometric or 'missing'}")
        return _luminance(instance)
    except NoPicture:
        raise
    except UnreadablePixels as error:
        raise NoPicture("bundle_pixels_unreadable", error.problem) from error
    # Decoders raise whatever their libraries raise.
    except Exception as error:
        raise NoPicture("bundle_pixels_unreadable", f"{type(error).__name__}: {error}") from error


def _luminance(instance: InstanceFile) -> NDArray[np.float32]:
    image = dcmread(instance.path)
    if int(image.Rows) * int(image.Columns) > MOST_PIXELS:
        raise NoPicture("bundle_too_large", f"it has {image.Rows} x {image.Columns} pixels")
    colours = pixel_array(image)  # YBR comes as RGB
    if image.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(colours, image)[..., :3]
    return np.asarray(colours @ LUMINANCE, np.float32)
