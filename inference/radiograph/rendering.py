"""From stored pixels to the grey values that a radiologist sees (PS3.3 C.11, PS3.4 N.2): air black, bone bright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_rescale, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from core.errors import SumuError

#: A radiograph of more pixels than this is a mistake or an attack.
MOST_PIXELS = 200_000_000


class UnreadablePixels(SumuError):
    """The pixels of an instance cannot be shown as one grey image."""

    def __init__(self, sop_instance_uid: str, problem: str) -> None:
        super().__init__(
            f"The image {sop_instance_uid} cannot be read: {problem}.",
            remedy="Look at it in the viewer; if it is damaged there too, ask the device to send it again.",
        )
        self.sop_instance_uid, self.problem = sop_instance_uid, problem


def displayed(file: Path) -> NDArray[np.float32]:
    """Return the grey values (rows, columns) of a single-frame image as displayed.

    Raises
    ------
    UnreadablePixels
        If the image is coloured, has several frames, lacks pixels, or no decoder reads its transfer syntax.
    """
    try:
        image = dcmread(file)
    except InvalidDicomError as error:
        raise UnreadablePixels(file.name, "it is not a DICOM Part 10 file") from error
    uid = str(image.get("SOPInstanceUID", file.name))
    _check(image, uid)
    try:
        stored = pixel_array(image)
        if stored.ndim != 2:
            raise UnreadablePixels(uid, f"its pixels have the shape {stored.shape}")
        grey = _windowed(apply_rescale(stored, image), image)
    except UnreadablePixels:
        raise
    # Decoders raise whatever their libraries raise; the reader needs one kind of answer.
    except Exception as error:
        syntax = image.file_meta.get("TransferSyntaxUID")
        name = syntax.name if syntax is not None else "unknown transfer syntax"
        raise UnreadablePixels(uid, f"{name}: {error}") from error
    if not np.isfinite(grey).all():
        raise UnreadablePixels(uid, "its rescaled values are not finite")
    shown = grey.max() + grey.min() - grey if shown_inverted(image) else grey
    padding = _padding(image, stored)
    if padding.any() and not padding.all():
        shown[padding] = shown[~padding].min()
    return shown


def shown_inverted(image: Dataset) -> bool:
    """Return whether the lowest value is shown white.

    Presentation LUT Shape says so where it is present (PS3.3 C.11.6); it and MONOCHROME1 name the same inversion,
    never two. Without it, Photometric Interpretation decides (C.7.6.3.1.2).
    """
    shape = str(image.get("PresentationLUTShape", "") or "").upper()
    if shape in ("IDENTITY", "INVERSE"):
        return shape == "INVERSE"
    return str(image.get("PhotometricInterpretation", "")) == "MONOCHROME1"


def _windowed(values: NDArray[Any], image: Dataset) -> NDArray[np.float32]:
    """Return the values after the device's VOI LUT or window, where it has one that can be applied."""
    try:
        return np.asarray(apply_voi_lut(values, image), np.float32)
    # Devices write windows of width 0 and empty tables; the preprocessing's percentiles then set the contrast.
    except (ValueError, TypeError, AttributeError):
        return np.asarray(values, np.float32)


def _check(image: Dataset, uid: str) -> None:
    if "PixelData" not in image:
        raise UnreadablePixels(uid, "it holds no pixels")
    photometric = str(image.get("PhotometricInterpretation", ""))
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadablePixels(uid, f"its photometric interpretation is {photometric or 'missing'}, not MONOCHROME1 or 2")
    frames = int(image.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise UnreadablePixels(uid, f"it has {frames} frames")
    if int(image.get("Rows", 0) or 0) * int(image.get("Columns", 0) or 0) > MOST_PIXELS:
        raise UnreadablePixels(uid, f"it has {image.Rows} x {image.Columns} pixels")


def _padding(image: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the device filled up the rectangle (PS3.3 C.7.5.1.1.2): not part of the picture."""
    value = image.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(stored.shape, np.bool_)
    limit = image.get("PixelPaddingRangeLimit")
    other = limit if isinstance(limit, int) else value
    return np.asarray((stored >= min(value, other)) & (stored <= max(value, other)), np.bool_)
