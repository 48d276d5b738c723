"""DICOMweb (PS3.18) for viewers: Orthanc's, behind our own question of who may see which study. Reading only.

Orthanc is asked under the study of the path, and answers 404 when a series or an instance belongs to another; so the study
is all that has to be checked here. Bodies stream through; only the addresses in JSON answers are rewritten on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import select

from api.dicomweb_bodies import gzipped, only_part, part_type, replaced
from api.house import House, house_of
from api.image_access import FilmVisitor, Looks, Onlooker, looks_of, onlooker
from api.refusals import N_, NoSuchPage, Refusal
from core.access import visible_studies
from core.errors import SumuError
from core.tables import Door, Instance, Patient, Study
from pacs_bridge.archive import ArchiveDoor, NotInArchive, Passing
from pacs_bridge.credentials import archive_credentials

#: ``studies/{study}`` and what may follow. Segments are plain, so that no ``..`` reaches the archive.
_PATH = re.compile(
    r"studies/(?P<study>[0-9.]{1,64})(?:/series/(?P<series>[0-9.]{1,64}))?(?P<rest>(?:/[A-Za-z0-9][A-Za-z0-9.,_-]*)*)"
)
#: The two ways to write the filter that every top-level query needs.
_STUDY_KEYS = ("StudyInstanceUID", "0020000D")
_PATIENT_KEYS = ("PatientID", "00100020")
#: A patient's latest studies are enough to compare with.
_MOST_STUDIES = 50
_IMMUTABLE = re.compile(r"/(frames|rendered|thumbnail|bulk)(/|$)")
_PASSED_HEADERS = ("content-type", "content-length", "content-disposition", "content-location", "warning")


class StudyFilterNeeded(Refusal):
    """A query over all studies: lists of patients come from the worklist alone."""

    status = 400
    message_id = N_("This query names neither one study nor one patient.")
    remedy_id = N_("Add ?StudyInstanceUID= with one study's UID; the worklist lists studies.")


class NotOfAFilm(Refusal):
    """A film's visitor asked for a form of the study that would also carry what is not theirs to read."""

    status: ClassVar[int] = 403
    message_id = N_("A film opens series by series only.")
    remedy_id = N_("Ask for /studies/{study}/series first, then for what belongs to one of those series.")


class ArchiveCannot(SumuError):
    """Orthanc holds the study but cannot give it in the form that was asked for."""

    def __init__(self, status: int, said: bytes) -> None:
        try:
            reason = json.loads(said).get("Details") or json.loads(said).get("Message", "")
        except (ValueError, AttributeError):
            reason = ""
        super().__init__(
            f"The archive answers {status}. {reason}".strip(),
            remedy="Ask for another media type or transfer syntax; the originals can always be downloaded.",
        )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = app.state.house.settings
    app.state.archive_door = ArchiveDoor(
        settings.archive_address,
        archive_credentials(settings.secrets),
        timeout_seconds=settings.archive.timeout_seconds,
    )
    yield
    await app.state.archive_door.close()


def door_of(request: Request) -> ArchiveDoor:
    """Return the application's door to the archive: a FastAPI dependency."""
    door: ArchiveDoor = request.app.state.archive_door
    return door


router = APIRouter(prefix="/dicom-web", tags=["DICOMweb"], lifespan=_lifespan)


@router.get("/studies", operation_id="search_studies", summary="Describe one study (QIDO-RS)")
async def search_studies(
    request: Request,
    who: Annotated[Onlooker, Depends(onlooker)],
    looks: Annotated[Looks, Depends(looks_of)],
    house: Annotated[House, Depends(house_of)],
    door: Annotated[ArchiveDoor, Depends(door_of)],
) -> Response:
    """Answer ``?StudyInstanceUID=`` and, for earlier studies, ``?PatientID=``: no list of a county's patients leaves here."""
    query = parse_qsl(request.url.query)
    named = {value for key, value in query if key in _STUDY_KEYS}
    patients = {value for key, value in query if key in _PATIENT_KEYS}
    if len(named) == 1 and re.fullmatch(r"[0-9.]{1,64}", study := next(iter(named))):
        await run_in_threadpool(looks.must_see, who, study)
        studies = [study]
    elif not named and len(patients) == 1:
        studies = await run_in_threadpool(_studies_of_patient, house, who, next(iter(patients)))
    else:
        raise StudyFilterNeeded
    if not studies:
        return JSONResponse([], media_type="application/dicom+json", headers={"Cache-Control": "no-store"})
    kept = [(key, value) for key, value in query if key not in _STUDY_KEYS]
    # Orthanc reads a list of UIDs (PS3.4 C.2.2.2.2) with commas.
    answer = await door.dicomweb("studies", urlencode([("StudyInstanceUID", ",".join(studies)), *kept]), "application/dicom+json")
    return await _pass(request, house, answer, "studies")


@router.get("/series", include_in_schema=False)
@router.get("/instances", include_in_schema=False)
def search_everything(who: Annotated[Onlooker, Depends(onlooker)]) -> Response:
    """Refuse queries across studies."""
    raise StudyFilterNeeded


@router.get(
    "/{path:path}", operation_id="retrieve", summary="Series, metadata, frames, rendered images, bulk data (WADO-RS, QIDO-RS)"
)
async def retrieve(
    path: str,
    request: Request,
    who: Annotated[Onlooker, Depends(onlooker)],
    looks: Annotated[Looks, Depends(looks_of)],
    house: Annotated[House, Depends(house_of)],
    door: Annotated[ArchiveDoor, Depends(door_of)],
) -> Response:
    """Pass on everything under ``studies/{StudyInstanceUID}`` that PS3.18 10 and 11 name."""
    parts = _PATH.fullmatch(path.rstrip("/"))
    if parts is None:
        raise NoSuchPage
    in_whose_name = await run_in_threadpool(looks.must_see, who, parts["study"])
    hidden: frozenset[str] = frozenset()
    if isinstance(in_whose_name, FilmVisitor):
        hidden = await run_in_threadpool(_hidden_series, house, parts["study"])
        if parts["series"] in hidden:
            raise NoSuchPage
        if parts["series"] is None and parts["rest"] != "/series":
            raise NotOfAFilm
    # The path's study is the checked one; a filter that names another would not be.
    query = urlencode([(key, value) for key, value in parse_qsl(request.url.query) if key not in _STUDY_KEYS])
    answer = await door.dicomweb(path.rstrip("/"), query, _accept(request.headers.get("accept", ""), parts["rest"]))
    if hidden and answer.status == 200 and parts["rest"] == "/series" and parts["series"] is None:
        answer = await _without(answer, hidden)
    return await _pass(request, house, answer, path)


def _accept(asked: str, rest: str) -> str:
    """Return an Accept header that Orthanc's plugin understands: it answers 400 to wildcards that PS3.18 8.7.5 allows."""
    if rest.endswith(("/rendered", "/thumbnail")):
        return "image/png" if asked.startswith("image/png") else "image/jpeg"
    if "/frames/" in rest:
        return (
            asked
            if asked.startswith("multipart/related")
            else "multipart/related; type=application/octet-stream; transfer-syntax=*"
        )
    if "/bulk/" in rest:
        return "multipart/related; type=application/octet-stream"
    if rest.endswith(("/metadata", "/series", "/instances")):
        return "application/dicom+json"
    return 'multipart/related; type="application/dicom"; transfer-syntax=*'


def _wants_single_part(asked: str) -> bool:
    """Return whether one part without an envelope was asked for (PS3.18 8.7.3.2), as OHIF does for an ECG's waveform.

    Orthanc's plugin always sends an envelope.
    """
    return "multipart" not in asked and any(kind in asked for kind in ("application/octet-stream", "application/dicom"))


async def _pass(request: Request, house: House, answer: Passing, path: str) -> Response:
    if answer.status >= 400:
        said = b"".join([piece async for piece in answer.body])
        if answer.status == 404:
            raise NotInArchive(f"/{path}")
        raise ArchiveCannot(answer.status, said)
    headers = {name: value for name, value in answer.headers.items() if name in _PASSED_HEADERS}
    body = answer.body
    if "json" in headers.get("content-type", ""):
        headers.pop("content-length", None)
        body = replaced(body, f"{house.settings.archive_address}/dicom-web".encode(), _public_root(request, house).encode())
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"], headers["vary"] = "gzip", "Accept-Encoding"
            body = gzipped(body)
    if "multipart" in headers.get("content-type", "") and _wants_single_part(request.headers.get("accept", "")):
        headers.pop("content-length", None)
        body = only_part(body, headers["content-type"])
        headers["content-type"] = part_type(headers["content-type"])
    cached = answer.status == 200 and _IMMUTABLE.search(path)
    headers["cache-control"] = "private, max-age=3600" if cached else "no-store"
    return StreamingResponse(body, status_code=answer.status, headers=headers)


def _public_root(request: Request, house: House) -> str:
    """Return where the asking browser finds us; behind a TLS proxy that does not say so, by the public address's scheme."""
    base, public = urlsplit(str(request.base_url)), urlsplit(house.settings.web_address)
    scheme = public.scheme if public.netloc == base.netloc else base.scheme
    return f"{scheme}://{base.netloc}/dicom-web"


async def _without(answer: Passing, hidden: frozenset[str]) -> Passing:
    """Return a list of series without those in ``hidden``."""
    found = json.loads(b"".join([piece async for piece in answer.body]))
    kept = [series for series in found if series["0020000E"]["Value"][0] not in hidden]
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps(kept, ensure_ascii=False).encode()

    return Passing(status=answer.status, headers=headers, body=body())


def _studies_of_patient(house: House, who: Onlooker, identifier: str) -> list[str]:
    """Return the studies of one patient that may be seen.

    Two organisations may use one Patient ID for two people; then nobody's earlier studies are shown under another's name.
    """
    if who.person is None:
        return [who.film.study_instance_uid] if who.film else []
    query = visible_studies(who.person).join(Patient).where(Patient.identifier == identifier)
    query = query.order_by(Study.first_received_at.desc()).limit(_MOST_STUDIES)
    with house.database.reading() as session:
        found = session.execute(query.with_only_columns(Study.study_instance_uid, Study.patient_id)).all()
    return [row.study_instance_uid for row in found] if len({row.patient_id for row in found}) == 1 else []


def _hidden_series(house: House, study_instance_uid: str) -> frozenset[str]:
    """Return the series that we made: a pre-read is a doctor's help and no report, so no patient reads it."""
    with house.database.reading() as session:
        query = select(Instance.series_instance_uid).join(Study).where(Study.study_instance_uid == study_instance_uid)
        return frozenset(session.scalars(query.where(Instance.door == Door.OURS).distinct()))
