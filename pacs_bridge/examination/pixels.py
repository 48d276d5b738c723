"""Whether the pixels that an image claims can be in the bytes that it has (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass

from pacs_bridge.examination.fragments import Fragments
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Malformed
from pacs_bridge.examination.transfer_syntaxes import TransferSyntax

#: Share of the samples that a native image of this photometric interpretation holds (PS3.3 C.7.6.3.1.2).
_SUBSAMPLED = {"YBR_FULL_422": (2, 3), "YBR_PARTIAL_422": (2, 3), "YBR_PARTIAL_420": (1, 2)}
_MOST_BITS = 64
_MOST_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Image:
    """The elements that tell how many pixels there are; None where one is missing."""

    rows: int | None
    columns: int | None
    samples: int | None
    bits: int | None
    frames: int
    photometric: str
    #: Length of (7FE0,0010), (7FE0,0008) or (7FE0,0009); None where there are no native pixels.
    native_bytes: int | None
    fragments: Fragments | None


def check_pixels(image: Image, syntax: TransferSyntax, limits: Limits) -> list[str]:
    """Return what is odd and harmless about an image's pixels.

    Raises
    ------
    Malformed
        If more pixels are claimed than there are bytes, or the elements contradict each other.
    BeyondLimit
        If a decoder would need more than the limits allow.
    """
    if image.frames > limits.frames:
        raise BeyondLimit(f"NumberOfFrames (0028,0008) is {image.frames}; {limits.frames} are allowed.")
    if image.fragments is None and not image.native_bytes:
        described = image.rows and image.columns and image.bits and syntax.holds_pixels
        return ["Rows, Columns and BitsAllocated describe an image, and there are no pixel data."] if described else []
    if image.rows is None or image.columns is None or image.bits is None:
        raise Malformed("There are pixel data without Rows (0028,0010), Columns (0028,0011) or BitsAllocated (0028,0100).")
    samples = 1 if image.samples is None else image.samples
    if not image.rows or not image.columns or not 0 < image.bits <= _MOST_BITS or not 0 < samples <= _MOST_SAMPLES:
        raise Malformed(
            f"No image has {image.rows} rows, {image.columns} columns, {samples} samples a pixel, {image.bits} bits allocated."
        )
    if image.fragments is None:
        return _native(image, image.native_bytes or 0, image.rows * image.columns * samples * image.bits, syntax)
    return _compressed(image, image.fragments, image.rows * image.columns, samples * -(-image.bits // 8), syntax, limits)


def _native(image: Image, there: int, frame_bits: int, syntax: TransferSyntax) -> list[str]:
    if syntax.encapsulated:
        raise Malformed(f"The pixel data are not compressed, against the transfer syntax {syntax.uid}.")
    kept, of = _SUBSAMPLED.get(image.photometric, (1, 1))
    needed = -(-frame_bits * image.frames * kept // (8 * of))
    if there < needed:
        raise Malformed(
            f"The pixel data (7FE0,0010) hold {there} bytes; "
            f"{image.frames} frames of {image.rows} × {image.columns} need {needed}."
        )
    return [f"The pixel data hold {there - needed} bytes more than the image needs."] if there > needed + 1 else []


def _compressed(
    image: Image, fragments: Fragments, pixels: int, pixel_bytes: int, syntax: TransferSyntax, limits: Limits
) -> list[str]:
    if not fragments.count or (fragments.count < image.frames and not syntax.video):
        raise Malformed(f"The pixel data come in {fragments.count} fragments, too few for {image.frames} frames.")
    frame_bytes = max(pixels * pixel_bytes, fragments.frame_bytes)
    if frame_bytes > limits.frame_bytes:
        raise BeyondLimit(f"A frame decodes to {frame_bytes} bytes; {limits.frame_bytes} are allowed.")
    if frame_bytes * image.frames > limits.decoded_bytes and not syntax.video:
        raise BeyondLimit(f"The frames decode to {frame_bytes * image.frames} bytes; {limits.decoded_bytes} are allowed.")
    if fragments.frame_pixels > limits.frame_excess * pixels:
        raise Malformed(
            f"A compressed frame holds {fragments.frame_pixels} pixels by its own header, and Rows × Columns are {pixels}."
        )
    if fragments.frame_pixels not in {0, pixels}:
        return [f"A compressed frame holds {fragments.frame_pixels} pixels by its own header, not {pixels}."]
    return []
