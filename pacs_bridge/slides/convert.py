"""Turns a scanner's slide file into DICOM VL Whole Slide Microscopy: one instance a level, label and overview beside them.

Compressed tiles of the file are kept as they are wherever DICOM knows their compression; nothing is encoded twice.
Tiles that a format stores as strips need the system library libturbojpeg.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom.config
from pydicom import Dataset
from pydicom.uid import generate_uid

from core.errors import SumuError
from pacs_bridge.slides.description import SlidePatient, slide_metadata
from pacs_bridge.slides.edges import fill_edge_tiles
from pacs_bridge.slides.formats import format_of

_DEFAULT_TILE = 512


class UnknownSlideFormat(SumuError):
    """The file is not a slide that can be converted."""

    def __init__(self, source: Path, found: str, remedy: str) -> None:
        super().__init__(f"{source.name} cannot be converted: {found}.", remedy=remedy)
        self.source, self.found = source, found


class SlideDamaged(SumuError):
    """The file is a slide of a known format, but reading it failed."""

    def __init__(self, source: Path, found: str, why: str) -> None:
        super().__init__(
            f"{source.name} ({found}) could not be read to its end: {why}.",
            remedy="Compare its size with the scanner's copy and copy it again; if it is the same there, scan the slide again.",
        )
        self.source, self.found, self.why = source, found, why


class SlideWithoutScale(SumuError):
    """The file does not say how large its pixels are; DICOM and every measurement need it."""

    def __init__(self, source: Path, found: str) -> None:
        super().__init__(
            f"{source.name} ({found}) does not say how many micrometres a pixel is (MPP).",
            remedy="Export it again from the scanner's own program with its scale; a picture from a camera has none.",
        )
        self.source, self.found = source, found


class TurboJpegMissing(SumuError):
    """The system library that cuts JPEG without decoding it is not installed."""

    def __init__(self) -> None:
        super().__init__("The library libturbojpeg is missing.", remedy="Run: apt-get install libturbojpeg0")


def convert_slide(source: Path, folder: Path, patient: SlidePatient, *, workers: int = 1) -> list[Path]:
    """Convert ``source`` into DICOM files in ``folder`` and return them.

    Either all files of the slide appear in ``folder`` or none.

    Raises
    ------
    UnknownSlideFormat
        If the file is of no format that can be converted.
    SlideWithoutScale
        If it does not say how large its pixels are.
    SlideDamaged
        If its format is known but its content is not readable.
    TurboJpegMissing
        If libturbojpeg is not installed.
    ValueError
        If ``patient`` names a stain, a fixative or a medium that DICOM's context groups do not hold.
    """
    found = format_of(source)
    metadata = slide_metadata(patient)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".slide-", dir=folder) as place, _pydicom_left_alone():
        # Here, not above: this import changes pydicom for the whole process.
        from wsidicomizer import WsiDicomizer

        try:
            written = WsiDicomizer.convert(
                source,
                Path(place),
                metadata=metadata,
                tile_size=_DEFAULT_TILE,
                # 2.25 and a UUID (PS3.5 B.2): no other root could make the same.
                uid_generator=lambda: generate_uid(prefix=None),
                add_missing_levels=True,
                metadata_post_processor=_in_unicode(patient),
                workers=workers,
            )
        except NotImplementedError as error:
            raise UnknownSlideFormat(source, found.name, found.remedy) from error
        except FileNotFoundError as error:
            if "turbojpeg" in str(error):
                raise TurboJpegMissing from error
            raise
        except Exception as error:
            if _is_about_scale(error):
                raise SlideWithoutScale(source, found.name) from error
            # The readers below raise whatever a broken file makes their parsers trip over.
            raise SlideDamaged(source, found.name, str(error) or type(error).__name__) from error
        for file in written:
            fill_edge_tiles(Path(file))
        return [_moved(Path(file), folder) for file in written]


def _is_about_scale(error: Exception) -> bool:
    """Return whether a reader failed for want of the scale: opentile by the missing word, tiffslide in prose."""
    return "pixel spacing" in str(error) or (isinstance(error, KeyError) and error.args == ("MPP",))


def _in_unicode(patient: SlidePatient) -> Dataset:
    """Return what is added to every instance: the character set and the zone of its times."""
    extra = Dataset()
    extra.SpecificCharacterSet = "ISO_IR 192"
    extra.TimezoneOffsetFromUTC = patient.studied_at.strftime("%z")
    return extra


def _moved(file: Path, folder: Path) -> Path:
    target = folder / file.name
    shutil.move(file, target)
    return target


@contextmanager
def _pydicom_left_alone() -> Iterator[None]:
    """Undo what importing wsidicomizer does to pydicom: devices send invalid values, and the node must read them."""
    config: Any = pydicom.config
    names = ("enforce_valid_values", "_use_future", "INVALID_KEYWORD_BEHAVIOR")
    before = {name: getattr(config, name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)
