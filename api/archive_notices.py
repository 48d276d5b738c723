"""What Orthanc's plugin tells: which instances the archive keeps, so that none stands there without a custody row."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from api.house import House, house_of
from api.refusals import N_, Refusal
from core.errors import SumuError
from core.tables import ArchiveCursor
from pacs_bridge.archive import NotInArchive
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.other_doors import Found, Notice, Unreadable, in_custody, look, quarantine, take_in, unowned
from pacs_bridge.registrar import Unregistrable

router = APIRouter(prefix="/internal/archive", include_in_schema=False)


class NotTheArchive(Refusal):
    """A notice came without the archive's token."""

    status = 403
    message_id = N_("Only the archive's own plugin may tell of changes.")
    remedy_id = N_("Restart the archive, so that it reads its configuration again.")


class ChangedInstance(BaseModel):
    """One new instance, as the plugin lists it."""

    archive_id: str = Field(max_length=64)
    origin: str = Field("", max_length=64)
    address: str = Field("", max_length=64)


class Changes(BaseModel):
    """A batch of changes after ``after`` up to and with ``upto``."""

    archive: str = Field(max_length=64)
    after: int = Field(ge=0)
    upto: int = Field(ge=0)
    instances: list[ChangedInstance] = Field(max_length=10_000)


class Heard(BaseModel):
    """The last change that we have taken in; the plugin goes on from there."""

    last: int


def must_be_the_archive(house: Annotated[House, Depends(house_of)], authorization: Annotated[str, Header()] = "") -> None:
    """Pass when the plugin's token came along: a FastAPI dependency."""
    expected = f"Bearer {archive_credentials(house.settings.secrets).notice_token}"
    if not secrets.compare_digest(authorization.encode(), expected.encode()):
        raise NotTheArchive


@router.post("/changes", dependencies=[Depends(must_be_the_archive)])
def changes(batch: Changes, house: Annotated[House, Depends(house_of)]) -> Heard:
    """Take in a batch: the archive is read first, then all rows and the cursor are written together or not at all.

    A batch that does not begin where we are changes nothing; the answer says where to begin.
    """
    with house.database.reading() as session:
        cursor = session.get(ArchiveCursor, batch.archive)
        if (cursor.last_change if cursor else 0) != batch.after:
            return Heard(last=cursor.last_change if cursor else 0)
    findings = [finding for instance in batch.instances if (finding := _look(house, instance)) is not None]
    with house.database.writing() as session:
        cursor = session.get(ArchiveCursor, batch.archive)
        if cursor is None:
            cursor = ArchiveCursor(archive=batch.archive, last_change=0)
            session.add(cursor)
        if cursor.last_change == batch.after:
            for finding in findings:
                _write(session, house, finding)
            cursor.last_change = max(batch.after, batch.upto)
        return Heard(last=cursor.last_change)


def _look(house: House, instance: ChangedInstance) -> Found | Unreadable | None:
    """Return what has no custody row yet; most of what is told was delivered by ourselves."""
    with house.database.reading() as session:
        if in_custody(session, archive_id=instance.archive_id):
            return None
    try:
        sop_instance_uid = house.archive.sop_instance_uid(instance.archive_id)
    except NotInArchive:
        return None
    with house.database.reading() as session:
        if in_custody(session, sop_instance_uid=sop_instance_uid):
            return None
    notice = Notice(archive_id=instance.archive_id, origin=instance.origin, address=instance.address)
    return look(house.archive, notice, house.settings)


def _write(session: Session, house: House, finding: Found | Unreadable) -> None:
    if isinstance(finding, Unreadable):
        quarantine(session, finding)
        return
    try:
        with session.begin_nested():
            take_in(session, finding, settings=house.settings)
    except SumuError as error:
        quarantine(session, unowned(finding, error))
    except DataError as error:
        quarantine(session, unowned(finding, Unregistrable(error)))
