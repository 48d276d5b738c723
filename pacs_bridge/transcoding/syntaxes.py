"""Which transfer syntaxes (PS3.6 table A-1) Orthanc 1.10.1 keeps but does not show to a viewer, and what undoes each."""

from __future__ import annotations

from enum import Enum

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
#: Of these the whole data set is written otherwise, not only the frames.
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"

#: By the first frame header of a JPEG (ITU-T T.81 table B.1): baseline, extended, full progression.
JPEG_BY_FRAME_HEADER = {
    0xC0: "1.2.840.10008.1.2.4.50",
    0xC1: "1.2.840.10008.1.2.4.51",
    0xC2: "1.2.840.10008.1.2.4.55",
}


class Coding(Enum):
    """How the frames of a transfer syntax are coded."""

    NONE = "Encapsulated Uncompressed"
    DEFLATE = "Deflated Image Frame"
    JPEG_2000 = "JPEG 2000 Part 2"
    HTJ2K = "High-Throughput JPEG 2000"
    JPEG_XL = "JPEG XL"
    JPEG = "progressive JPEG"


#: Transfer syntaxes in which frames are coded so.
CODINGS = {
    "1.2.840.10008.1.2.4.53": Coding.JPEG,
    "1.2.840.10008.1.2.4.55": Coding.JPEG,
    "1.2.840.10008.1.2.1.98": Coding.NONE,
    "1.2.840.10008.1.2.8.1": Coding.DEFLATE,
    "1.2.840.10008.1.2.4.92": Coding.JPEG_2000,
    "1.2.840.10008.1.2.4.93": Coding.JPEG_2000,
    "1.2.840.10008.1.2.4.110": Coding.JPEG_XL,
    "1.2.840.10008.1.2.4.111": Coding.JPEG_XL,
    "1.2.840.10008.1.2.4.112": Coding.JPEG_XL,
    "1.2.840.10008.1.2.4.201": Coding.HTJ2K,
    "1.2.840.10008.1.2.4.202": Coding.HTJ2K,
    "1.2.840.10008.1.2.4.203": Coding.HTJ2K,
}

JPEG_XL_RECOMPRESSION = "1.2.840.10008.1.2.4.111"
JPEG_XL_LOSSLESS = "1.2.840.10008.1.2.4.110"


def needs_transcoding(transfer_syntax_uid: str) -> bool:
    """Return whether instances of this transfer syntax have to be written again before the archive can show them."""
    return transfer_syntax_uid in CODINGS or transfer_syntax_uid in (DEFLATED, BIG_ENDIAN)
