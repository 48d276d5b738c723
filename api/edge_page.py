"""The one page of an edge node: is the line up, what waits for the county, what was set aside."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.edge_queue import forwarder_is_silent, quarantined, waiting
from api.house import House, house_of
from api.pages import render
from api.refusals import SignInNeeded
from api.signing_in import COOKIE, current_person
from core.access import Person
from core.clock import now
from pacs_bridge.edge.line_state import read_line_state
from pacs_bridge.edge.timetable import Timetable, UnusableTimetable

OurHouse = Annotated[House, Depends(house_of)]

router = APIRouter()


class EdgeHealth(BaseModel):
    """What works at the edge and what does not."""

    ok: bool = Field(description="Whether the database answers and the forwarder runs; a line that is down is no fault of ours.")
    database: bool = Field(description="Whether the database answers.")
    forwarder: bool = Field(description="Whether the forwarder runs.")
    line: bool = Field(description="Whether the county answered the last time.")


@router.get("/", include_in_schema=False)
@router.get("/worklist", include_in_schema=False)
def home() -> Response:
    """Lead to the queue: an edge has no worklist."""
    return RedirectResponse("/edge", status_code=303)


@router.get("/edge", include_in_schema=False)
def edge_page(request: Request, house: OurHouse) -> Response:
    """Show the queue. Who is not signed in sees no names and no reasons that may hold them."""
    person = _person(request, house)
    settings, line = house.settings, read_line_state(house.settings.data)
    try:
        limit, timetable_broken = Timetable(settings.edge.timetable, settings.county.timezone).at(now()), False
    except UnusableTimetable:
        limit, timetable_broken = None, True
    with house.database.reading() as session:
        aside, latest = quarantined(session)
        return render(
            request,
            "edge.html",
            line=line,
            silent=forwarder_is_silent(line.written_at),
            limit=limit,
            timetable_broken=timetable_broken,
            waiting=waiting(session, settings.machine, person),
            aside=aside,
            latest=latest if person is not None else [],
        )


@router.get(
    "/api/health",
    tags=["service"],
    operation_id="edge_health",
    summary="Is the edge able to work?",
    responses={503: {"model": EdgeHealth}},
)
def edge_health(response: Response, house: OurHouse) -> EdgeHealth:
    """Ask the database and look for the forwarder; 503 when one of them is silent."""
    line = read_line_state(house.settings.data)
    try:
        with house.database.reading() as session:
            session.execute(text("SELECT 1"))
        database = True
    except SQLAlchemyError:
        database = False
    forwarder = not forwarder_is_silent(line.written_at)
    if not (database and forwarder):
        response.status_code = 503
    return EdgeHealth(ok=database and forwarder, database=database, forwarder=forwarder, line=bool(line.up))


def _person(request: Request, house: House) -> Person | None:
    if COOKIE not in request.cookies:
        return None
    try:
        return current_person(request, house, "")
    except SignInNeeded:
        return None
