"""Fills up the tiles at a slide's right and lower edge that a converter left smaller than the frames around them.

Every frame of a multi-frame image has the same rows and columns (PS3.3 C.7.6.3 and C.7.6.17.3); a viewer stretches one that
has not. Only levels that the converter made itself are affected, never the scanner's own tiles.
"""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import JPEGBaseline8Bit

#: Empty glass.
GLASS = (255, 255, 255)
QUALITY = 90


def fill_edge_tiles(file: Path) -> int:
    """Fill up the small tiles of one DICOM slide level in place and return how many there were."""
    level = pydicom.dcmread(file)
    if level.file_meta.TransferSyntaxUID != JPEGBaseline8Bit or "NumberOfFrames" not in level:
        return 0
    wanted = (int(level.Columns), int(level.Rows))
    frames = list(generate_frames(level.PixelData, number_of_frames=int(level.NumberOfFrames)))
    filled = [_filled(frame, wanted, level) for frame in frames]
    small = sum(new is not old for new, old in zip(filled, frames, strict=True))
    if small:
        if "ExtendedOffsetTable" in level:
            level.PixelData, level.ExtendedOffsetTable, level.ExtendedOffsetTableLengths = encapsulate_extended(filled)
        else:
            level.PixelData = encapsulate(filled)
        level.save_as(file, enforce_file_format=True)
    return small


def _filled(frame: bytes, wanted: tuple[int, int], level: Dataset) -> bytes:
    """Return the frame itself where it has the wanted size, else a new one with its pixels at the top left."""
    with Image.open(io.BytesIO(frame)) as tile:
        if tile.size == wanted:
            return frame
        whole = Image.new("RGB", wanted, GLASS)
        whole.paste(tile.convert("RGB"), (0, 0))
    coded = io.BytesIO()
    subsampling = "4:2:2" if str(level.PhotometricInterpretation) == "YBR_FULL_422" else "4:4:4"
    whole.save(coded, "JPEG", quality=QUALITY, subsampling=subsampling, keep_rgb=str(level.PhotometricInterpretation) == "RGB")
    data = coded.getvalue()
    return data + b"\0" * (len(data) % 2)
