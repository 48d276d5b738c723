"""The page to which people bring files of ECG machines, CDs and sticks: dropped or chosen, taken in, each told of.

A form's files stream into a folder of the data folder, which is gone afterwards; then the same door as for ``sumu import``
takes them in. Works without JavaScript: the answer is the page with its table.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from api.forms import check_form_token
from api.house import House, house_of
from api.import_upload import LARGEST_BYTES, MOST_FILES, Upload, receive
from api.pages import language_of, render
from api.refusals import N_, Refusal, SignInNeeded
from api.signing_in import COOKIE, current_person
from api.translations import translate
from core.access import Person
from core.errors import NotAllowed
from core.tables import Organisation, Role
from pacs_bridge.import_door import ImportDoor
from pacs_bridge.import_files import ImportLimits, ImportTooLarge, NothingToImport
from pacs_bridge.import_outcomes import ImportedFile, Outcome
from pacs_bridge.import_words import in_chinese
from pacs_bridge.spool import Spool

router = APIRouter(include_in_schema=False)

_WHO = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
OUTCOMES = {
    Outcome.NEW: N_("taken in"),
    Outcome.REPEAT: N_("was here already"),
    Outcome.PASSED_OVER: N_("passed over"),
    Outcome.REFUSED: N_("not taken"),
}


#: What the page's script shows; places stay as ``%(name)s`` for the script to fill.
_SCRIPT_WORDS = {
    "chosen": N_("%(count)s files, %(size)s MB"),
    "sending": N_("Sending: %(percent)s %%"),
    "taking": N_("Everything has arrived; it is being taken in."),
    "remove": N_("Remove"),
    "lost": N_("The server does not answer. Check the network and upload the files again; nothing was taken."),
}


class NothingChosen(Refusal):
    """A form without a file."""

    status = 422
    message_id = N_("No file was chosen.")
    remedy_id = N_("Choose files or a folder, or drop them on the page.")


class NotYourOrganisation(Refusal):
    """The organisation is none of those that the person sees."""

    status = 403
    message_id = N_("You may not bring files to this organisation.")
    remedy_id = N_("Choose your own organisation or one below it.")


class NoRoomForUpload(Refusal):
    """The disk is nearly full."""

    status = 507
    message_id = N_("The server's disk is nearly full, so nothing was taken.")
    remedy_id = N_("Call the person who runs the service; upload again when there is room.")


@dataclass(frozen=True, kw_only=True)
class Told:
    """One file as the page shows it."""

    name: str
    outcome: Outcome
    format: str
    study_instance_uid: str
    reason: str
    remedy: str


def importer(request: Request, house: Annotated[House, Depends(house_of)]) -> Person:
    """Return the signed-in person who may bring files: a FastAPI dependency of the page."""
    return _must_import(current_person(request, house, ""))


@router.get("/import")
def import_page(
    request: Request, house: Annotated[House, Depends(house_of)], person: Annotated[Person, Depends(importer)]
) -> Response:
    """Show the form."""
    return render(request, "import.html", told=None, **_form(house, person, language_of(request)))


@router.post("/import")
async def import_files(request: Request, house: Annotated[House, Depends(house_of)]) -> Response:
    """Take files in and tell what became of each."""
    if COOKIE not in request.cookies:
        raise SignInNeeded
    header = request.headers.get("x-form-token", "")
    person: Person | None = None

    async def check(fields: dict[str, str]) -> None:
        """Refuse strangers, forged forms and foreign organisations before a byte of a file is kept."""
        nonlocal person
        sent = header or fields.get("form_token", "")
        person = _must_import(await run_in_threadpool(current_person, request, house, sent))
        check_form_token(request, request.state.form_token, sent)
        if fields.get("organisation") and _organisation(fields, person) not in person.organisations:
            raise NotYourOrganisation
        if shutil.disk_usage(house.settings.data).free < house.settings.node.free_bytes:
            raise NoRoomForUpload

    with tempfile.TemporaryDirectory(prefix=".upload-", dir=house.settings.data) as place:
        folder = Path(place) / "upload"
        folder.mkdir()
        upload = await receive(request, folder, check)
        assert person is not None, "the check comes before the end of a form"
        if not upload.files:
            raise NothingChosen
        told = await run_in_threadpool(_take_in, house, person, upload, language_of(request))
    template = "parts/import_results.html" if "hx-request" in request.headers else "import.html"
    return render(request, template, **told, **_form(house, person, language_of(request)))


def _must_import(person: Person) -> Person:
    if not person.roles & _WHO:
        raise NotAllowed(person.display_name, "import_files")
    return person


def _form(house: House, person: Person, language: str) -> dict[str, Any]:
    with house.database.reading() as session:
        query = select(Organisation).where(Organisation.id.in_(person.organisations))
        places = session.scalars(query.order_by(Organisation.level, Organisation.id)).all()
    return {
        "places": places,
        "own": person,
        "outcomes": OUTCOMES,
        "most_files": MOST_FILES,
        "megabytes": LARGEST_BYTES >> 20,
        "words": {name: translate(language, message) for name, message in _SCRIPT_WORDS.items()},
    }


def _organisation(fields: dict[str, str], person: Person) -> int:
    chosen = fields.get("organisation", "")
    return int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 10 else person.organisation_id


def _take_in(house: House, person: Person, upload: Upload, language: str) -> dict[str, Any]:
    spool = Spool(house.settings.spool, free_bytes=house.settings.node.free_bytes)
    door = ImportDoor(house.settings, house.database, spool)
    archives = [file for file in upload.files if zipfile.is_zipfile(file)]
    files: list[ImportedFile] = []
    for number, archive in enumerate(archives):
        shown = archive.relative_to(upload.folder).as_posix()
        alone = upload.folder.parent / str(number) / archive.name
        alone.parent.mkdir()
        archive.rename(alone)
        files += [replace(file, name=_inside(shown, file.name)) for file in _through(door, alone, person, upload)]
        alone.unlink()
    if len(archives) < len(upload.files):
        files += _through(door, upload.folder, person, upload)
    told = [_told(file, language) for file in files]
    return {"told": told, "counts": Counter(one.outcome for one in told)}


def _inside(archive: str, name: str) -> str:
    return archive if name == archive.rpartition("/")[2] else f"{archive}/{name}"


def _through(door: ImportDoor, source: Path, person: Person, upload: Upload) -> Sequence[ImportedFile]:
    limits = ImportLimits(files=MOST_FILES, total_bytes=2 * LARGEST_BYTES)
    try:
        return door.take_in(source, organisation_id=_organisation(upload.fields, person), actor=person.actor, limits=limits)
    except (NothingToImport, ImportTooLarge) as error:
        reason = str(error.args[0]).replace(str(source), source.name)
        return [ImportedFile(name=source.name, outcome=Outcome.REFUSED, remark=reason, remedy=error.remedy)]


def _told(file: ImportedFile, language: str) -> Told:
    words = in_chinese if language == "zh" else str
    return Told(
        name=file.name,
        outcome=file.outcome,
        format=file.format,
        study_instance_uid=file.study_instance_uid,
        reason=words(file.remark),
        remedy=words(file.remedy),
    )
