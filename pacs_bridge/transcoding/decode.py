"""One coded frame to the native form that PS3.5 8.1.1 describes: little endian, colour by pixel, values as stored."""

from __future__ import annotations

import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pacs_bridge.transcoding.codestream import (
    Claim,
    jpeg_2000_claim,
    jpeg_2000_is_whole,
    jpeg_claim,
    jpeg_colours,
    jpeg_is_whole,
    jpeg_xl_claim,
)
from pacs_bridge.transcoding.description import PixelDescription
from pacs_bridge.transcoding.syntaxes import CODINGS, JPEG_XL_LOSSLESS, Coding

#: What decoders of colour transforms give back is RGB (PS3.5 8.2.4, 8.2.14).
_BECOMES_RGB = ("YBR_RCT", "YBR_ICT", "XYB")
#: Luma and chroma in a JPEG (PS3.5 8.2.1), which its decoder turns into RGB.
_LUMA_AND_CHROMA = ("YBR_FULL", "YBR_FULL_422")
_UNCHANGED = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB")


class Undecodable(Exception):
    """A frame is not what its header says, or no decoder reads it; the message is the end of a sentence."""


def decoded_photometric(syntax: str, photometric: str) -> str:
    """Return the photometric interpretation of decoded frames.

    Raises
    ------
    Undecodable
        If it cannot be told whether the decoder's output is luma and chroma or already red, green and blue.
    """
    if photometric in (_LUMA_AND_CHROMA if CODINGS[syntax] is Coding.JPEG else _BECOMES_RGB):
        return "RGB"
    # A JPEG XL bitstream may convert by itself, except where the encoder had to keep every value.
    keeps_luma = CODINGS[syntax] not in (Coding.JPEG_XL, Coding.JPEG) or syntax == JPEG_XL_LOSSLESS
    if photometric in _UNCHANGED or (photometric == "YBR_FULL" and keeps_luma):
        return photometric
    raise Undecodable(f"colours as {photometric or 'nothing'} do not belong to its transfer syntax")


def unwrapped(stream: bytes, syntax: str, pixels: PixelDescription) -> bytes:
    """Return a frame that was never coded as a picture: as it is, or inflated (PS3.5 A.4.12, RFC 1951).

    Raises
    ------
    Undecodable
        If it is not exactly as long as its header says; a deflate bomb is not inflated any further.
    """
    if CODINGS[syntax] is Coding.NONE:
        frame = stream[: pixels.frame_bytes]
    else:
        try:
            frame = (inflater := zlib.decompressobj(-zlib.MAX_WBITS)).decompress(stream, pixels.frame_bytes + 1)
        except zlib.error as error:
            raise Undecodable(f"a frame cannot be inflated ({error})") from error
        # The frame may have been padded to even length before it was deflated.
        if len(frame) == pixels.frame_bytes + 1 and pixels.frame_bytes % 2 and not inflater.unconsumed_tail:
            frame = frame[:-1]
    if len(frame) != pixels.frame_bytes or (len(stream) > len(frame) + 1 and CODINGS[syntax] is Coding.NONE):
        raise Undecodable(f"a frame has not the {pixels.frame_bytes} bytes that its header says")
    return frame


def decoded(stream: bytes, syntax: str, pixels: PixelDescription) -> NDArray[Any]:
    """Return a picture (rows, columns) or (rows, columns, 3) in the type that its header allots.

    Raises
    ------
    Undecodable
        If the bitstream claims another size than the header (before it is decoded), or cannot be decoded.
    """
    coding = CODINGS[syntax]
    try:
        claim = jpeg_xl_claim(stream) if coding is Coding.JPEG_XL else jpeg_2000_claim(stream)
        _agree(claim, pixels)
        if coding is not Coding.JPEG_XL and not jpeg_2000_is_whole(stream):
            raise Undecodable("a frame ends before its time")
        if coding is Coding.HTJ2K:
            picture = imagecodecs.htj2k_decode(stream)
        elif coding is Coding.JPEG_2000:
            picture = imagecodecs.jpeg2k_decode(stream, numthreads=1)
        else:
            picture = imagecodecs.jpegxl_decode(stream, index=0, keeporientation=True, numthreads=1)
    except Undecodable:
        raise
    # Decoders raise whatever their libraries raise.
    except Exception as error:
        raise Undecodable(f"{coding.value} cannot be decoded ({error})") from error
    return _as_stored(picture, pixels)


def decoded_jpeg(stream: bytes, photometric: str, pixels: PixelDescription) -> NDArray[Any]:
    """Return the picture of a lossy JPEG, its luma and chroma as RGB, in the type that its header allots.

    Parameters
    ----------
    photometric
        As its header says; ``pixels`` is named by what it becomes.

    Raises
    ------
    Undecodable
        If it claims another size or other colours than the header, is cut short, or cannot be decoded.
    """
    coded = "YCBCR" if photometric in _LUMA_AND_CHROMA else "RGB"
    try:
        _, claim = jpeg_claim(stream)
        _agree(claim, pixels)
        if not jpeg_is_whole(stream):
            raise Undecodable("a frame ends before its time")
        if pixels.samples == 1:
            return _as_stored(imagecodecs.jpeg8_decode(stream), pixels)
        said = jpeg_colours(stream)
        if said not in (coded, None):
            raise Undecodable(f"its header says {photometric} and its JPEG {said}")
        return _as_stored(imagecodecs.jpeg8_decode(stream, colorspace=coded, outcolorspace="RGB"), pixels)
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(f"the JPEG cannot be decoded ({error})") from error


def original_jpeg(stream: bytes, pixels: PixelDescription) -> tuple[int, bytes]:
    """Return the JPEG from which a JPEG XL bitstream was made, bit for bit, and the kind of its frame header.

    Raises
    ------
    Undecodable
        If it holds none, or one of another size than the header says.
    """
    try:
        _agree(jpeg_xl_claim(stream), pixels)
        jpeg = bytes(imagecodecs.jpegxl_decode_jpeg(stream, numthreads=1))
        kind, claim = jpeg_claim(jpeg)
        _agree(claim, pixels)
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(f"it holds no JPEG ({error})") from error
    return kind, jpeg


def _agree(claim: Claim, pixels: PixelDescription) -> None:
    if (claim.rows, claim.columns, claim.samples or pixels.samples) != (pixels.rows, pixels.columns, pixels.samples):
        said = f"{pixels.rows} x {pixels.columns} x {pixels.samples}"
        raise Undecodable(f"its bitstream claims {claim} pixels and its header {said}")


def _as_stored(picture: NDArray[Any], pixels: PixelDescription) -> NDArray[Any]:
    """Return decoded values in the header's type.

    A bitstream without signs may carry signed values and the other way round (PS3.5 8.2.4): the header decides, the stored
    bits stay what they are.
    """
    shape = (pixels.rows, pixels.columns) if pixels.samples == 1 else (pixels.rows, pixels.columns, pixels.samples)
    if picture.shape != shape or picture.dtype.kind not in "iu" or pixels.bits_allocated not in (8, 16):
        raise Undecodable(f"{picture.dtype} values of the shape {picture.shape} are not what its header says")
    allotted = np.dtype(f"<{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")
    if picture.dtype == allotted:
        return picture
    if picture.dtype.itemsize > allotted.itemsize:
        raise Undecodable(f"{picture.dtype} values do not fit into {pixels.bits_allocated} bits")
    if (picture.dtype.kind == "i") == pixels.signed:
        return picture.astype(allotted)
    spare = pixels.bits_allocated - pixels.bits_stored
    return ((picture.astype(np.int64) << spare).astype(allotted)) >> spare
