"""STOW-RS (PS3.18 10.5): instances by HTTPS, from devices with a token and from edge nodes, into the same custody as C-STORE."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, ClassVar, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.house import House, house_of
from api.refusals import N_, Refusal
from api.signing_in import address_of
from api.stow_answer import OUT_OF_RESOURCES, RETRY_AFTER, answer
from api.stow_body import PulledBody, pieces_of
from api.stow_door import MOST_AT_ONCE, Busy, StowDoor
from api.stow_multipart import boundary_of
from api.stow_part import prediction_in
from api.stow_pieces import Pieces, UnderWay
from api.stow_sender import MayNotForward, Sender, sender_of
from core.clock import now
from core.errors import SumuError
from pacs_bridge.edge import words
from pacs_bridge.edge.prediction import NAME, restored
from pacs_bridge.rates import TooMany
from pacs_bridge.receiving import TooLarge
from pacs_bridge.spool import SpoolFull

log = structlog.get_logger("stow")

Given = TypeVar("Given")

#: How often silent associations and forgotten pieces are looked for.
_LOOK_EVERY_SECONDS = 15
_OPENING = threading.Lock()
_STATUS: dict[type[SumuError], int] = {TooLarge: 413, TooMany: 503, SpoolFull: 503}
_STUDY = re.compile(r"[0-9.]{1,64}")
_OPENAPI_BODY = {
    "requestBody": {
        "required": True,
        "content": {'multipart/related; type="application/dicom"': {"schema": {"type": "string", "format": "binary"}}},
    }
}


class NoStudyUid(Refusal):
    """The address names no study."""

    status: ClassVar[int] = 400
    message_id = N_("'%(value)s' is no Study Instance UID.")
    remedy_id = N_("Send to /dicom-web/studies, or to /dicom-web/studies/ and the UID of the instances' study.")


class NoOffset(Refusal):
    """A piece without its place."""

    status: ClassVar[int] = 400
    message_id = N_("The header %(name)s is missing or no number.")
    remedy_id = N_("Say where the piece begins in the file, and how many bytes the file has.")


class DiskFailed(Refusal):
    """The disk does not take what came."""

    status: ClassVar[int] = 503
    message_id = N_("The disk does not take what came.")
    remedy_id = N_("Send it again later; the administrator looks at the disk of the data folder.")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    try:  # at once, so that what a predecessor left open ends even if nobody calls any more
        await to_thread.run_sync(_open, app)
    except OSError as error:
        log.error("door_not_open", error=str(error), remedy="Check the disk of the data folder.")
    tidying = asyncio.create_task(_tidy(app))
    yield
    tidying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tidying
    if (door := getattr(app.state, "stow_door", None)) is not None:
        door.close()


async def _tidy(app: FastAPI) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        door: StowDoor | None = getattr(app.state, "stow_door", None)
        if door is not None:
            try:
                await to_thread.run_sync(door.associations.end_silent)
                await to_thread.run_sync(Pieces(door).forget)
            except OSError as error:
                log.warning("tidying_failed", error=str(error))


def door_of(request: Request) -> StowDoor:
    """Return the application's door: a FastAPI dependency."""
    return _open(request.app)


def _open(app: FastAPI) -> StowDoor:
    with _OPENING:
        if not hasattr(app.state, "stow_door"):
            house: House = app.state.house
            app.state.stow_door = StowDoor(house.settings, house.database)
            app.state.stow_limiter = CapacityLimiter(MOST_AT_ONCE)
    door: StowDoor = app.state.stow_door
    return door


OurHouse = Annotated[House, Depends(house_of)]
OurDoor = Annotated[StowDoor, Depends(door_of)]

router = APIRouter(lifespan=_lifespan)


@router.post(
    words.STORE,
    tags=["DICOMweb"],
    operation_id="store_instances",
    summary="Store instances (STOW-RS)",
    openapi_extra=_OPENAPI_BODY,
)
async def store(request: Request, house: OurHouse, door: OurDoor) -> Response:
    """Take instances of any study; the answer names each with what became of it.

    Every instance that the answer names as stored lies synced on the disk. ``Accept: application/json`` asks for receipts
    with the SHA-256 of each data set as we hold it.
    """
    return await _store(request, house, door, "")


@router.post(
    words.STORE + "/{study}",
    tags=["DICOMweb"],
    operation_id="store_instances_of_study",
    summary="Store instances of one study (STOW-RS)",
    openapi_extra=_OPENAPI_BODY,
)
async def store_in_study(study: str, request: Request, house: OurHouse, door: OurDoor) -> Response:
    """Take instances of the study that the address names; others are refused with failure reason A901."""
    if not _STUDY.fullmatch(study):
        return _refused(NoStudyUid(value=study[:64]))
    return await _store(request, house, door, study)


async def _store(request: Request, house: House, door: StowDoor, study: str) -> Response:
    try:
        sender = await run_in_threadpool(sender_of, request.headers, address_of(request), door.devices, house.settings)
        boundary = boundary_of(request.headers.get("content-type", ""))
        with door.turn(sender):
            await run_in_threadpool(door.spool.check_space)
            body = PulledBody(aiter(request.stream()))
            pieces = pieces_of(body, request.headers.get("content-encoding", ""))
            outcomes = await _in_thread(request, partial(door.receive, pieces, boundary, sender, study))
    except (SumuError, OSError) as error:
        return _refused(error)
    return answer(outcomes, request.headers.get("accept", ""))


# --- for edges ----------------------------------------------------------------------------------------------------------


class Line(BaseModel):
    """What the county tells an edge that asks whether the line is up."""

    county: str = Field(description="The county's name.")
    device: str = Field(description="AE title by which the county knows the edge.")
    time: str = Field(description="The county's clock.")
    predictions: list[str] = Field(description="Predictions of pixels that the county can restore.")


class EndedAssociation(BaseModel):
    """An association that has ended at the edge, with everything of it forwarded."""

    id: str = Field(max_length=64)
    outcome: str = Field(pattern="^(released|aborted|lost)$")


@router.get(words.LINE, include_in_schema=False)
def line(request: Request, house: OurHouse, door: OurDoor) -> Response:
    """Tell an edge that we are here and know it."""
    try:
        sender = _edge(request, house, door)
    except SumuError as error:
        return _refused(error)
    told = Line(county=house.settings.county.name_zh, device=sender.device.ae_title, time=now().isoformat(), predictions=[NAME])
    return JSONResponse(told.model_dump(), headers={"Cache-Control": "no-store"})


@router.post(words.ENDED, include_in_schema=False)
def associations_ended(
    ended: list[EndedAssociation],
    request: Request,
    house: OurHouse,
    door: OurDoor,
) -> Response:
    """Hear which associations an edge has nothing more of: their studies may settle."""
    try:
        sender = _edge(request, house, door)
    except SumuError as error:
        return _refused(error)
    for association in ended:
        door.associations.ended(sender, association.id, association.outcome)
    return Response(status_code=204)


@router.get(words.PIECES + "/{sha256}", include_in_schema=False)
def pieces_held(sha256: str, request: Request, house: OurHouse, door: OurDoor) -> Response:
    """Tell how many bytes of a large instance are here."""
    try:
        return JSONResponse({"held": Pieces(door).held(_edge(request, house, door), sha256)})
    except SumuError as error:
        return _refused(error)


@router.put(words.PIECES + "/{sha256}", include_in_schema=False)
async def add_piece(sha256: str, request: Request, house: OurHouse, door: OurDoor) -> Response:
    """Take a piece; the one that makes the instance whole is answered with its receipt."""
    try:
        sender = await run_in_threadpool(_edge, request, house, door)
        offset, whole = (_number(request, name) for name in (words.OFFSET, words.WHOLE))
        with door.turn(sender):
            body = PulledBody(aiter(request.stream()))
            pieces: Iterator[bytes | memoryview] = pieces_of(body, request.headers.get("content-encoding", ""))
            if words.PREDICTION in request.headers:
                pieces = restored(pieces, prediction_in(request.headers[words.PREDICTION]))
            told = (words.DEVICE, words.RECEIVED, words.ASSOCIATION)
            named = {name.lower(): request.headers[name] for name in told if name in request.headers}
            add = partial(Pieces(door).add, sender, sha256, pieces, offset=offset, whole=whole, headers=named)
            outcome = await _in_thread(request, add)
            held = Pieces(door).held(sender, sha256)
    except (SumuError, OSError) as error:
        return _refused(error)
    return JSONResponse({"held": held}, status_code=202) if outcome is None else answer([outcome], words.RECEIPTS)


async def _in_thread(request: Request, work: Callable[[], Given]) -> Given:
    """Run ``work`` in a thread that is not one of the pages' own: an upload over a thin line takes hours."""
    return await to_thread.run_sync(work, limiter=request.app.state.stow_limiter)


def _edge(request: Request, house: House, door: StowDoor) -> Sender:
    sender = sender_of(request.headers, address_of(request), door.devices, house.settings)
    if not sender.device.may_forward:
        raise MayNotForward(ae=sender.device.ae_title)
    return sender


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise NoOffset(name=name)
    return int(text)


def _refused(error: SumuError | OSError) -> Response:
    """Return a refusal of the whole request as a program reads it."""
    if isinstance(error, OSError):
        log.error("store_failed", error=str(error))
        error = DiskFailed()
    status = error.status if isinstance(error, Refusal) else _STATUS.get(type(error), 400)
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Busy | UnderWay | SpoolFull | DiskFailed):
        headers["Retry-After"] = str(RETRY_AFTER)
    log.warning("request_refused", status=status, reason=str(error.args[0]), remedy=error.remedy)
    told = {"message": str(error.args[0]), "remedy": error.remedy}
    if isinstance(error, SpoolFull):
        told["failure"] = f"{OUT_OF_RESOURCES:04X}"
    return JSONResponse(told, status_code=status, headers=headers)
