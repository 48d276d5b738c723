"""The images of a study as a film shows them: series after series, frame after frame, numbered from 1."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from pydicom.uid import UID
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.images_of_study import SLIDE_SOP_CLASS, ecgs_of
from api.refusals import N_, NoSuchPage, Refusal
from core.tables import Door, Instance, Study
from pacs_bridge.archive import Archive, ArchiveRefused

#: Longest side on a phone: three device pixels for each of 390, rounded.
PHONE_PIXELS = 1200


class NoPicture(Refusal):
    """The archive holds the image in a compression that it cannot turn into a picture."""

    status = 415
    message_id = N_("This image cannot be shown as a picture.")
    remedy_id = N_("Open the full viewer, or download the originals.")


@dataclass(frozen=True, kw_only=True)
class FilmFrame:
    """One picture of a film."""

    archive_id: str
    #: Counted from 0, as the archive does.
    frame: int


@dataclass(frozen=True, kw_only=True)
class FilmSeries:
    """One series of pictures that a finger scrolls through."""

    series_instance_uid: str
    modality: str
    #: Number of its first picture in the film.
    first: int
    frames: tuple[FilmFrame, ...]

    @property
    def last(self) -> int:
        """Number of its last picture in the film."""
        return self.first + len(self.frames) - 1


@dataclass(frozen=True, kw_only=True)
class FilmContent:
    """Everything that a film can show."""

    series: tuple[FilmSeries, ...]
    #: ECG recordings, in the device's order.
    ecgs: tuple[Instance, ...]
    #: Series of digitised slides.
    slides: tuple[str, ...]

    def series_of(self, number: int) -> FilmSeries | None:
        """Return the series that holds picture ``number``, counted from 1 through all series."""
        return next((series for series in self.series if series.first <= number <= series.last), None)

    def frame(self, number: int) -> FilmFrame:
        """Return picture ``number``.

        Raises
        ------
        NoSuchPage
            If there are fewer.
        """
        series = self.series_of(number)
        if series is None:
            raise NoSuchPage
        return series.frames[number - series.first]


def content_of(session: Session, study: Study) -> FilmContent:
    """Return what the devices sent of a study; our own result objects are a doctor's help and no part of a film."""
    query = (
        select(Instance)
        .where(Instance.study_id == study.id, Instance.door != Door.OURS, Instance.archive_id.is_not(None))
        .order_by(Instance.instance_number, Instance.id)
    )
    instances = session.scalars(query).all()
    slides = dict.fromkeys(one.series_instance_uid for one in instances if one.sop_class_uid == SLIDE_SOP_CLASS)
    ecgs = [one for one in ecgs_of(session, study) if one.archive_id is not None]
    return FilmContent(series=_series([one for one in instances if is_picture(one)]), ecgs=tuple(ecgs), slides=tuple(slides))


def is_picture(instance: Instance) -> bool:
    """Return whether an instance holds pixels to look at: PS3.6 Annex A calls such classes "… Image Storage"."""
    return "Image Storage" in UID(instance.sop_class_uid).name and instance.sop_class_uid != SLIDE_SOP_CLASS


def picture(archive: Archive, frame: FilmFrame, *, whole: bool = False) -> bytes:
    """Return a frame as JPEG, made small for a phone unless ``whole``.

    Raises
    ------
    NoPicture
        If the archive cannot decode it.
    """
    try:
        jpeg = archive.preview(frame.archive_id, frame=frame.frame)
    except ArchiveRefused as error:
        raise NoPicture from error
    return jpeg if whole else smaller(jpeg, PHONE_PIXELS)


def smaller(jpeg: bytes, longest: int) -> bytes:
    """Return a JPEG whose longer side has at most ``longest`` pixels."""
    image = Image.open(io.BytesIO(jpeg))
    if max(image.size) <= longest:
        return jpeg
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()


def _series(pictures: Sequence[Instance]) -> tuple[FilmSeries, ...]:
    grouped: dict[str, list[Instance]] = {}
    for one in pictures:
        grouped.setdefault(one.series_instance_uid, []).append(one)
    # A localiser of two images should not be what a patient sees first: long series lead, in the order they came.
    ordered = sorted(grouped.values(), key=lambda series: sum(one.frames for one in series) < 4)
    found: list[FilmSeries] = []
    first = 1
    for series in ordered:
        frames = tuple(FilmFrame(archive_id=str(one.archive_id), frame=number) for one in series for number in range(one.frames))
        found.append(
            FilmSeries(series_instance_uid=series[0].series_instance_uid, modality=series[0].modality, first=first, frames=frames)
        )
        first += len(frames)
    return tuple(found)
