"""A digitised slide as a pyramid of tiles: which frame of which instance holds the tile in a row and a column.

Whole slide images (PS3.3 A.32.8) keep one instance a level. With the organisation TILED_FULL (PS3.3 C.7.6.17.3) frames run
row by row from the top left, so a tile's frame follows from its place alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from api.refusals import N_, NoSuchPage, Refusal
from core.tables import Instance
from pacs_bridge.archive import Archive

_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
#: Adobe's marker (APP14) that says: three components, no transformation, so red, green and blue as they are.
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


class NoPyramid(Refusal):
    """The series holds no level that can be cut into tiles."""

    status = 415
    message_id = N_("This slide is not stored as full tiles, so it cannot be shown here.")
    remedy_id = N_("Convert it again with `sumu import slide`, or download the original.")


@dataclass(frozen=True, kw_only=True)
class Level:
    """One magnification."""

    archive_id: str
    #: Of the whole level, in pixels.
    width: int
    height: int
    tile_width: int
    tile_height: int
    #: Tiles in a row and in a column.
    columns: int
    rows: int
    jpeg: bool
    #: Whether the JPEG's components are red, green and blue, which its own bytes may not say.
    rgb: bool

    def tile(self, archive: Archive, column: int, row: int) -> bytes:
        """Return a tile as JPEG; tiles on the right and lower edge are as large as all others.

        Raises
        ------
        NoSuchPage
            If the level has no such tile.
        """
        if not (0 <= column < self.columns and 0 <= row < self.rows):
            raise NoSuchPage
        frame = row * self.columns + column
        if not self.jpeg:
            return archive.preview(self.archive_id, frame=frame, rendered=False)
        tile = archive.frame(self.archive_id, frame)
        if self.rgb and b"Adobe" not in tile:
            tile = tile[:2] + _ADOBE_RGB + tile[2:]
        on_edge = column == self.columns - 1 or row == self.rows - 1
        return self._padded(tile) if on_edge else tile

    def _padded(self, tile: bytes) -> bytes:
        """Return an edge tile in full size: some converters cut it, against PS3.3 C.7.6.17.3, and viewers would stretch it."""
        picture = Image.open(io.BytesIO(tile))
        if picture.size == (self.tile_width, self.tile_height):
            return tile
        whole = Image.new("RGB", (self.tile_width, self.tile_height), "white")
        whole.paste(picture.convert("RGB"))
        out = io.BytesIO()
        whole.save(out, "JPEG", quality=90)
        return out.getvalue()


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """All magnifications of one slide, from the smallest to the largest."""

    levels: tuple[Level, ...]
    #: Width of a pixel of the largest level; None when the scanner did not say.
    micrometres_per_pixel: float | None
    #: Archive's identifier of a small picture of the whole slide, if there is one.
    thumbnail: str | None
    container: str

    def preview(self, archive: Archive) -> bytes:
        """Return a small picture of the whole slide."""
        if self.thumbnail is not None:
            return archive.preview(self.thumbnail)
        smallest = self.levels[0]
        return smallest.tile(archive, 0, 0)


def read_pyramid(archive: Archive, instances: Sequence[Instance]) -> Pyramid:
    """Read the headers of a slide's instances out of the archive.

    Raises
    ------
    NoPyramid
        If none of them is a level in full tiles.
    """
    headers = [(one, archive.header(one.archive_id)) for one in instances if one.archive_id]
    volumes = [(one, header) for one, header in headers if _flavour(header) == "VOLUME" and _is_full(header)]
    if not volumes:
        raise NoPyramid
    levels = sorted((_level(one, header) for one, header in volumes), key=lambda level: level.width)
    largest = max((header for _, header in volumes), key=lambda header: int(header["TotalPixelMatrixColumns"]))
    thumbnails = [one.archive_id for one, header in headers if _flavour(header) == "THUMBNAIL"]
    return Pyramid(
        levels=tuple(levels),
        micrometres_per_pixel=_micrometres(largest),
        thumbnail=thumbnails[0] if thumbnails else None,
        container=str(largest.get("ContainerIdentifier", "")),
    )


def _flavour(header: dict[str, Any]) -> str:
    """Return the third value of Image Type (0008,0008): VOLUME, THUMBNAIL, LABEL or OVERVIEW."""
    values = str(header.get("ImageType", "")).split("\\")
    return values[2] if len(values) > 2 else ""


def _is_full(header: dict[str, Any]) -> bool:
    return header.get("DimensionOrganizationType") == "TILED_FULL" and "ConcatenationUID" not in header


def _level(instance: Instance, header: dict[str, Any]) -> Level:
    width, height = int(header["TotalPixelMatrixColumns"]), int(header["TotalPixelMatrixRows"])
    tile_width, tile_height = int(header["Columns"]), int(header["Rows"])
    return Level(
        archive_id=str(instance.archive_id),
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        columns=-(-width // tile_width),
        rows=-(-height // tile_height),
        jpeg=instance.transfer_syntax_uid == _JPEG_BASELINE,
        rgb=header.get("PhotometricInterpretation") == "RGB",
    )


def _micrometres(header: dict[str, Any]) -> float | None:
    """Return the column spacing: Pixel Spacing (0028,0030) holds the rows' first, in millimetres."""
    try:
        measures = header["SharedFunctionalGroupsSequence"][0]["PixelMeasuresSequence"][0]
        return float(str(measures["PixelSpacing"]).split("\\")[1]) * 1000
    except (KeyError, IndexError, ValueError):
        return None
