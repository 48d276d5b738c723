"""What an instance's header says of its pixels (PS3.3 C.7.6.3), checked before any of them is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydicom import Dataset

from pacs_bridge.transcoding.errors import CannotTranscode

#: One frame of more bytes than this is a mistake or an attack.
MOST_FRAME_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class PixelDescription:
    """Shape and meaning of the frames."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    frames: int

    @property
    def frame_bits(self) -> int:
        """Bits of one frame in the native form (PS3.5 8.1.1); two of three chroma samples are left out of a 4:2:2 frame."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame in the native form."""
        return (self.frame_bits + 7) // 8

    @property
    def suits_jpeg_ls(self) -> bool:
        """Return whether every reader gets these values back from JPEG-LS.

        The stream knows no sign and no more than its own bits: viewers do not extend the sign of 12 bits, and
        give 8-bit samples where the header says 16.
        """
        if self.samples not in (1, 3) or self.bits_allocated not in (8, 16):
            return False
        least = 2 if self.bits_allocated == 8 else 9
        return least <= self.bits_stored and (not self.signed or self.bits_stored == self.bits_allocated)

    def named(self, photometric: str) -> PixelDescription:
        """Return the same under another photometric interpretation."""
        return replace(self, photometric=photometric)


def described(header: Dataset, name: str) -> PixelDescription:
    """Return the description of a header's pixels.

    Raises
    ------
    CannotTranscode
        If the header contradicts itself, or claims a frame larger than a picture can be.
    """
    try:
        description = PixelDescription(
            rows=int(header.Rows),
            columns=int(header.Columns),
            samples=int(header.get("SamplesPerPixel", 1)),
            bits_allocated=int(header.BitsAllocated),
            bits_stored=int(header.get("BitsStored", header.BitsAllocated)),
            signed=int(header.get("PixelRepresentation", 0)) == 1,
            photometric=str(header.get("PhotometricInterpretation", "")),
            frames=int(header.get("NumberOfFrames", 1) or 1),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise CannotTranscode(name, f"its header does not describe its pixels ({error})") from error
    if min(description.rows, description.columns, description.samples, description.frames) < 1:
        raise CannotTranscode(name, "its header says that it has no pixels")
    if description.bits_allocated not in (1, 8, 16, 32, 64) or not 1 <= description.bits_stored <= description.bits_allocated:
        raise CannotTranscode(name, f"{description.bits_stored} of {description.bits_allocated} bits are no pixel")
    if description.frame_bytes > MOST_FRAME_BYTES:
        raise CannotTranscode(name, f"a frame of {description.rows} x {description.columns} pixels is too large")
    return description
