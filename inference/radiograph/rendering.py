"""From stored pixels to the grey values that a radiologist sees (PS3.3 C.11, PS3.4 N.2): air black, bone bright.

Overlay planes are left out: letters and lines are no anatomy. DCMTK shows the same within two grey levels; see the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from highdicom.pixels import apply_lut, apply_voi_window
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from core.errors import SumuError

#: A radiograph of more pixels than this is a mistake or an attack.
MOST_PIXELS = 200_000_000
#: Stored values of 16 bits are fewer than pixels: each is transformed once and then looked up.
MOST_TABLE_ENTRIES = 1 << 16
#: How far a table may be from a straight line, as a share of its range.
STRAIGHT = 1e-6
#: Faster than the plugins of pydicom (libjpeg-turbo four times, CharLS twice), which lack lossy JPEG of 12 bits altogether.
DECODERS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), imagecodecs.jpeg8_decode),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), imagecodecs.jpegls_decode),
}


class UnreadablePixels(SumuError):
    """The pixels of an instance cannot be shown as one grey image."""

    def __init__(self, sop_instance_uid: str, problem: str) -> None:
        super().__init__(
            f"The image {sop_instance_uid} cannot be read: {problem}.",
            remedy="Look at it in the viewer; if it is damaged there too, ask the device to send it again.",
        )
        self.sop_instance_uid, self.problem = sop_instance_uid, problem


@dataclass(frozen=True, kw_only=True)
class _Greys:
    """Values on their way to the screen, with those that would be black and white there."""

    values: NDArray[Any]
    black: float
    white: float


def displayed(file: Path) -> NDArray[np.float32]:
    """Return the grey values (rows, columns) of a single-frame image as displayed, in the units of its last transformation.

    Raises
    ------
    UnreadablePixels
        If the image is coloured, has several frames, lacks pixels, or no decoder reads its transfer syntax.
    """
    return np.asarray(_rendered(file).values, np.float32)


def grey_levels(file: Path) -> NDArray[np.uint8]:
    """Return a single-frame image (rows, columns) as an 8-bit screen shows it; without a window its whole range is spread.

    Raises
    ------
    UnreadablePixels
        As for ``displayed``.
    """
    greys = _rendered(file)
    spread = (greys.values - greys.black) / ((greys.white - greys.black) or 1)
    return np.rint(np.clip(spread, 0, 1) * 255).astype(np.uint8)


def _rendered(file: Path) -> _Greys:
    try:
        image = dcmread(file)
    except InvalidDicomError as error:
        raise UnreadablePixels(file.name, "it is not a DICOM Part 10 file") from error
    uid = str(image.get("SOPInstanceUID", file.name))
    _check(image, uid)
    try:
        stored = _stored(image)
        if stored.ndim != 2:
            raise UnreadablePixels(uid, f"its pixels have the shape {stored.shape}")
        greys = _shown(stored, image, uid)
    except UnreadablePixels:
        raise
    # Decoders raise whatever their libraries raise; the reader needs one kind of answer.
    except Exception as error:
        syntax = image.file_meta.get("TransferSyntaxUID")
        name = syntax.name if syntax is not None else "unknown transfer syntax"
        raise UnreadablePixels(uid, f"{name}: {error}") from error
    return greys


def _shown(stored: NDArray[Any], image: Dataset, uid: str) -> _Greys:
    """Return how the stored values are shown."""
    lowest, highest = int(stored.min()), int(stored.max())
    if stored.itemsize > 2 or highest - lowest >= MOST_TABLE_ENTRIES:
        return _transformed(stored, image, uid, lambda: np.ones(stored.shape, np.bool_))
    unsigned = np.dtype(f"u{stored.itemsize}")
    # In modular arithmetic this is right for signed values as well.
    entries = stored.view(unsigned) - unsigned.type(lowest % (1 << 8 * stored.itemsize)) if lowest else stored.view(unsigned)

    def occurring() -> NDArray[np.bool_]:
        found = np.zeros(highest - lowest + 1, np.bool_)
        found[entries] = True
        return found

    table = _transformed(np.arange(lowest, highest + 1).astype(stored.dtype), image, uid, occurring)
    return replace(table, values=_looked_up(table.values, entries))


def _looked_up(table: NDArray[Any], entries: NDArray[Any]) -> NDArray[np.float32]:
    """Return ``table[entries]``; a straight line between two levels is computed instead, which takes a third of the time."""
    low, high = float(table.min()), float(table.max())
    between = np.flatnonzero((table > low) & (table < high))
    if len(between) > 1:
        first, last = int(between[0]), int(between[-1])
        slope = (float(table[last]) - float(table[first])) / (last - first)
        offset = float(table[first]) - slope * first
        line = np.clip(slope * np.arange(len(table)) + offset, low, high)
        if np.abs(line - table).max() <= STRAIGHT * (high - low):
            values = entries.astype(np.float32)
            np.multiply(values, np.float32(slope), out=values)
            np.add(values, np.float32(offset), out=values)
            np.clip(values, low, high, out=values)
            return values
    found: NDArray[np.float32] = np.asarray(table, np.float32)[entries]
    return found


def _transformed(values: NDArray[Any], image: Dataset, uid: str, occurring: Callable[[], NDArray[np.bool_]]) -> _Greys:
    """Return what stored values are shown as; ``occurring`` tells which of them the image holds."""
    padding = _padding(image, values)
    greys = _windowed(_modality_values(values, image), image, lambda: _preferred(occurring(), ~padding))
    if not np.isfinite(greys.values).all():
        raise UnreadablePixels(uid, "its rescaled values are not finite")
    if shown_inverted(image):
        greys = replace(greys, values=greys.black + greys.white - greys.values)
    if padding.any():
        greys.values[padding] = greys.values[_preferred(occurring(), ~padding)].min()
    return greys


def _preferred(occurring: NDArray[np.bool_], picture: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what occurs in the picture, or what occurs at all where everything is padding."""
    both = occurring & picture
    return both if both.any() else occurring


def shown_inverted(image: Dataset) -> bool:
    """Return whether the lowest value is shown white.

    Presentation LUT Shape says so where it is present (PS3.3 C.11.6); it and MONOCHROME1 name the same inversion,
    never two. Without it, Photometric Interpretation decides (C.7.6.3.1.2).
    """
    shape = str(image.get("PresentationLUTShape", "") or "").upper()
    if shape in ("IDENTITY", "INVERSE"):
        return shape == "INVERSE"
    return str(image.get("PhotometricInterpretation", "")) == "MONOCHROME1"


def _stored(image: Dataset) -> NDArray[Any]:
    """Return the stored values: the bits up to High Bit, as many as Bits Stored (PS3.5 8.1.1)."""
    unused = int(image.get("HighBit", image.BitsStored - 1)) + 1 - int(image.BitsStored)
    if unused <= 0:
        return _decoded(image)
    image.BitsStored += unused
    values = _decoded(image) >> unused
    image.BitsStored -= unused
    return values


def _decoded(image: Dataset) -> NDArray[Any]:
    decoder = DECODERS.get(str(image.file_meta.get("TransferSyntaxUID")))
    if decoder and not image.PixelRepresentation:
        with suppress(RuntimeError):
            values = np.asarray(decoder(next(generate_frames(image.PixelData, number_of_frames=1))))
            if values.shape == (image.Rows, image.Columns):
                return values
    values = pixel_array(image, view_only=True, correct_unused_bits=False)
    if image.PixelRepresentation or int(values.max()) >> int(image.BitsStored):
        values = pixel_array(image)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _modality_values(stored: NDArray[Any], image: Dataset) -> NDArray[Any]:
    """Return the values after the modality LUT or rescaling (PS3.3 C.11.1)."""
    if image.get("ModalityLUTSequence"):
        table, first, _ = _table(image.ModalityLUTSequence[0], signed=bool(image.PixelRepresentation))
        return apply_lut(stored.astype(np.int64), table, first)
    slope, intercept = image.get("RescaleSlope"), image.get("RescaleIntercept")
    if slope is None or intercept is None:
        return stored
    return stored * float(slope) + float(intercept)


def _windowed(values: NDArray[Any], image: Dataset, picture: Callable[[], NDArray[np.bool_]]) -> _Greys:
    """Return the values after the first VOI LUT, else the first window, else as they are (PS3.3 C.11.2).

    Devices write windows of width 0 and empty tables; those are passed over.
    """
    if image.get("VOILUTSequence") and image.VOILUTSequence[0].get("LUTData"):
        signed = float(values.min()) < 0
        table, first, white = _table(image.VOILUTSequence[0], signed=signed)
        return _Greys(values=apply_lut(np.rint(values).astype(np.int64), table, first).astype(np.float32), black=0, white=white)
    centre, width = _first(image.get("WindowCenter")), _first(image.get("WindowWidth"))
    function = str(image.get("VOILUTFunction") or "LINEAR").upper()
    if centre is not None and width is not None and width >= (1 if function == "LINEAR" else np.finfo(np.float32).tiny):
        return _Greys(values=_in_window(values, centre, width, function), black=0, white=1)
    seen = values[picture()]
    return _Greys(values=values.astype(np.float32), black=float(seen.min()), white=float(seen.max()))


def _in_window(values: NDArray[Any], centre: float, width: float, function: str) -> NDArray[np.float32]:
    if function == "LINEAR" and width == 1:
        return np.asarray(values > centre - 0.5, np.float32)
    known = function if function in ("LINEAR", "LINEAR_EXACT", "SIGMOID") else "LINEAR"
    return np.asarray(apply_voi_window(values, centre, width, known), np.float32)


def _first(value: Any) -> float | None:
    """Return the first of several windows: viewers open with it."""
    chosen = (value[0] if value else None) if isinstance(value, MultiValue | list) else value
    return None if chosen in (None, "") else float(chosen)


def _table(item: Dataset, *, signed: bool) -> tuple[NDArray[Any], int, float]:
    """Return the entries of a LUT, the first value that it maps, and its white (PS3.3 C.11.1.1, C.11.2.1.1).

    A table may hold more bits than its descriptor says, or 8-bit entries two a word.
    """
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count, first = count or 1 << 16, first & 0xFFFF
    first -= 1 << 16 if signed and first >= 1 << 15 else 0
    data = item.LUTData
    if isinstance(data, bytes):
        narrow = len(data) < 2 * count
        table = np.frombuffer(data, np.uint8 if narrow else np.dtype(_word(item)))[:count]
    else:
        table = np.atleast_1d(np.asarray(data, np.uint16))
        if len(table) < count:
            table = table.view(np.uint8)[:count]
    return table.copy(), first, float(max((1 << bits) - 1, int(table.max())))


def _word(item: Dataset) -> str:
    """Return the type of a 16-bit word in the item's own byte order."""
    return "<u2" if item.original_encoding[1] in (True, None) else ">u2"


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
