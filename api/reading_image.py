"""A radiograph as a picture for the reading page: grey as its header says, small enough for a page."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.film_images import NoPicture, smaller
from api.house import House, house_of
from api.images_of_study import NotInArchiveYet
from api.refusals import NoSuchPage
from api.signing_in import require
from api.studies import visible_study
from core.access import Permission, Person
from core.tables import Door, Instance
from pacs_bridge.archive import Archive, ArchiveRefused

router = APIRouter(include_in_schema=False)

#: Longest side: two device pixels for each of the page's half of a wide screen.
PAGE_PIXELS = 2048


@router.get("/studies/{study_instance_uid}/radiographs/{sop_instance_uid}.jpg")
def radiograph(
    house: Annotated[House, Depends(house_of)],
    person: Annotated[Person, Depends(require(Permission.SEE_IMAGES))],
    study_instance_uid: str,
    sop_instance_uid: str,
) -> Response:
    """Return one image of a study as JPEG, in the proportions of the stored image."""
    with house.database.reading() as session:
        study = visible_study(session, person, study_instance_uid)
        instance = instance_of(session, study.id, sop_instance_uid)
        if instance is None:
            raise NoSuchPage
        archive_id = instance.archive_id
    if archive_id is None:
        raise NotInArchiveYet
    return Response(
        picture_of(house.archive, archive_id), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"}
    )


def instance_of(session: Session, study_id: int, sop_instance_uid: str) -> Instance | None:
    """Return an instance that a device sent for a study."""
    query = select(Instance).where(Instance.study_id == study_id, Instance.door != Door.OURS)
    return session.scalar(query.where(Instance.sop_instance_uid == sop_instance_uid))


def picture_of(archive: Archive, archive_id: str) -> bytes:
    """Return an image as JPEG: rendered as the networks see it, or as the archive can where that fails.

    Raises
    ------
    NoPicture
        If the archive cannot decode it either.
    """
    # Imported here: what stands around it loads the networks' runtime, which no other page needs.
    from inference.radiograph.rendering import UnreadablePixels, grey_levels

    with TemporaryDirectory(prefix="sumu-radiograph-") as folder:
        try:
            grey = grey_levels(archive.fetch(archive_id, Path(folder) / "image.dcm"))
        except UnreadablePixels:
            return _as_the_archive_can(archive, archive_id)
    image = Image.fromarray(grey)
    image.thumbnail((PAGE_PIXELS, PAGE_PIXELS), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def _as_the_archive_can(archive: Archive, archive_id: str) -> bytes:
    try:
        return smaller(archive.preview(archive_id), PAGE_PIXELS)
    except ArchiveRefused as error:
        raise NoPicture from error
