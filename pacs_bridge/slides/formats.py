"""Names the format of a slide file by its first bytes, so that a refusal can say what was found and what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: What to do with a file of a scanner that only its maker's programs read.
_EXPORT = "Export the slide from the scanner's own program as SVS, pyramidal TIFF or DICOM, and convert that."
_SCAN = "A photograph has no pyramid and no scale; scan the slide with a slide scanner."
_TIFF = "Only pyramidal TIFF of Aperio, Hamamatsu, Philips, 3DHISTECH or OME carries what a slide needs; export one of these."


@dataclass(frozen=True, kw_only=True)
class FoundFormat:
    """What a file is, and what helps when it cannot be converted."""

    name: str
    remedy: str


#: By the first bytes of the file (the longest first) and where they stand.
_MAGIC: tuple[tuple[int, bytes, FoundFormat], ...] = (
    (128, b"DICM", FoundFormat(name="DICOM", remedy="It needs no conversion; send it to the node.")),
    (0, b"ZISRAWFILE", FoundFormat(name="Zeiss CZI", remedy="Export it from ZEN as OME-TIFF, and convert that.")),
    (0, b"II*\x00", FoundFormat(name="TIFF", remedy=_TIFF)),
    (0, b"MM\x00*", FoundFormat(name="TIFF", remedy=_TIFF)),
    (0, b"II+\x00", FoundFormat(name="BigTIFF", remedy=_TIFF)),
    (0, b"MM\x00+", FoundFormat(name="BigTIFF", remedy=_TIFF)),
    (0, b"\x89PNG", FoundFormat(name="PNG picture", remedy=_SCAN)),
    (0, b"\xff\xd8\xff", FoundFormat(name="JPEG picture", remedy=_SCAN)),
    (0, b"PK\x03\x04", FoundFormat(name="ZIP archive", remedy="Unpack it, and convert the slide file in it.")),
    (0, b"%PDF", FoundFormat(name="PDF document", remedy="It is no slide; attach it to the study as a document.")),
)

#: By extension, where the first bytes are not published.
_EXTENSION: dict[str, FoundFormat] = {
    ".kfb": FoundFormat(name="KFB (江丰生物)", remedy=_EXPORT),
    ".sdpc": FoundFormat(name="SDPC (生强科技)", remedy=_EXPORT),
    ".tmap": FoundFormat(name="TMAP (优纳科技)", remedy=_EXPORT),
    ".tron": FoundFormat(name="TRON (英特美迪)", remedy=_EXPORT),
    ".mdsx": FoundFormat(name="MDSX (麦克奥迪)", remedy=_EXPORT),
    ".mrxs": FoundFormat(name="MRXS (3DHISTECH)", remedy="Export it from SlideViewer as pyramidal TIFF, and convert that."),
    ".vsi": FoundFormat(name="VSI (Olympus)", remedy=_EXPORT),
    ".isyntax": FoundFormat(
        name="iSyntax (Philips)", remedy="Export it from the Philips system as pyramidal TIFF, and convert that."
    ),
}

_UNKNOWN = FoundFormat(name="unknown format", remedy="Export the slide as SVS, pyramidal TIFF or DICOM, and convert that.")
_EMPTY = FoundFormat(name="empty file", remedy="Copy the slide from the scanner again.")


def format_of(source: Path) -> FoundFormat:
    """Return what ``source`` is, as its extension and first bytes say."""
    with source.open("rb") as stream:
        head = stream.read(132)
    if not head:
        return _EMPTY
    if (found := _EXTENSION.get(source.suffix.lower())) is not None:
        return found
    return next((found for offset, magic, found in _MAGIC if head[offset:].startswith(magic)), _UNKNOWN)
