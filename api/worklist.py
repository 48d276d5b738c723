"""The worklist as a page that keeps itself fresh, and the same as JSON."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from pydantic import BaseModel, Field
from sqlalchemy import select

from api.claims import holder_of
from api.house import House, house_of
from api.pages import language_of, render, render_text
from api.signing_in import current_person, require
from api.worklist_query import COUNT_LIMIT, Shelf, WorklistFilter, modalities_of, studies_of
from api.worklist_rows import Row, worklist_page
from core.access import Permission, Person
from core.lifecycles.preread import PreReadState
from core.lifecycles.report import ReportState
from core.lifecycles.study import StudyState
from core.tables import Organisation, Study, Urgency

router = APIRouter()

#: Studies at the head of the list that may all be held by other doctors.
_LOOKED_AT = 50

Reader = Annotated[Person, Depends(require(Permission.SEE_WORKLIST))]
OurHouse = Annotated[House, Depends(house_of)]
Wish = Annotated[WorklistFilter, Query()]


@router.get("/", include_in_schema=False)
def home(person: Annotated[Person, Depends(current_person)]) -> Response:
    """Lead to the worklist."""
    return RedirectResponse("/worklist", status_code=303)


@router.get("/worklist", include_in_schema=False)
def worklist(request: Request, house: OurHouse, person: Reader, wish: Wish) -> Response:
    """Show filters and one page of studies."""
    with house.database.reading() as session:
        places = session.scalars(
            select(Organisation).where(Organisation.id.in_(person.organisations)).order_by(Organisation.level, Organisation.id)
        ).all()
        modalities = modalities_of(session, person)
    live = _live(request, house, person, wish)
    return render(request, "worklist.html", places=places, modalities=modalities, wish=wish, Urgency=Urgency, **live)


@router.get("/worklist/rows", include_in_schema=False)
def worklist_rows(request: Request, house: OurHouse, person: Reader, wish: Wish, seen: str = "") -> Response:
    """Return tabs and rows alone; 204, which leaves the page as it is, when the reader has seen exactly these."""
    live = _live(request, house, person, wish)
    return Response(status_code=204) if seen == live["look"] else render(request, "worklist_live.html", **live)


@router.get("/worklist/next", include_in_schema=False)
def next_to_read(house: OurHouse, person: Reader, after: str = "") -> Response:
    """Lead to the next study that nobody holds, or to the worklist when all is read."""
    with house.database.reading() as session:
        waiting = studies_of(person, WorklistFilter.model_validate({}), house.settings.county.timezone)
        for study in session.scalars(waiting.where(Study.study_instance_uid != after).limit(_LOOKED_AT)):
            if holder_of(study, house.settings.web.claim_minutes) is None:
                return RedirectResponse(f"/studies/{study.study_instance_uid}", status_code=303)
    return RedirectResponse("/worklist", status_code=303)


class WorklistFinding(BaseModel):
    """One finding of a pre-read; not a diagnosis."""

    code: str = Field(description="Code of the vocabulary.")
    name: str = Field(description="Its name in the reader's language.")
    probability: float | None = Field(description="0 to 1; none for a rule over measurements.")
    urgency: Urgency


class WorklistPreRead(BaseModel):
    """What one engine has to say."""

    engine: str
    state: PreReadState
    reason: str = Field(description="Why nothing was read, in the reader's language; else empty.")
    findings: list[WorklistFinding] = Field(description="Abnormal findings that no doctor has struck, most urgent first.")


class WorklistStudy(BaseModel):
    """One study."""

    study_instance_uid: str
    accession_number: str
    patient_name: str
    patient_identifier: str
    patient_sex: str
    age_years: float | None
    modality: str
    body_part: str
    description: str
    organisation: str = Field(description="Code of the organisation that examined.")
    urgency: Urgency
    state: StudyState
    instance_count: int
    first_received_at: datetime
    report_state: ReportState | None = Field(description="None: nobody has written yet.")
    critical: bool = Field(description="Whether its doctor calls it a critical value.")
    claimed_by: str | None = Field(description="The doctor who holds it now.")
    pre_reads: list[WorklistPreRead]


class Worklist(BaseModel):
    """One page."""

    counts: dict[Shelf, int] = Field(description=f"Studies on each shelf; {COUNT_LIMIT} means that many or more.")
    page: int
    has_next: bool
    studies: list[WorklistStudy]


@router.get("/api/worklist", operation_id="worklist", summary="Studies that you may see", tags=["worklist"])
def worklist_json(request: Request, house: OurHouse, person: Reader, wish: Wish) -> Worklist:
    """Return one page of a shelf in its order: work most urgent first, what is signed newest first."""
    with house.database.reading() as session:
        page = worklist_page(session, person, wish, house.settings, language_of(request))
        return Worklist(
            counts=dict(page.counts), page=wish.page, has_next=page.has_next, studies=[_as_json(row) for row in page.rows]
        )


def _live(request: Request, house: House, person: Person, wish: WorklistFilter) -> dict[str, Any]:
    """Return the part that changes, and ``look``: its hash, by which a poll finds out that nothing is new."""
    language = language_of(request)
    with house.database.reading() as session:
        page = worklist_page(session, person, wish, house.settings, language)
    rows = render_text(
        house, language, "worklist_rows.html", page=page, wish=wish, Shelf=Shelf, count_limit=COUNT_LIMIT, address=_address
    )
    return {
        "rows": Markup(rows),  # the template has escaped it
        "look": hashlib.sha256(rows.encode()).hexdigest()[:16],
        "live_address": _address(wish, "/worklist/rows", page=wish.page),
    }


def _address(wish: WorklistFilter, path: str = "/worklist", **changes: Any) -> str:
    asked = urlencode(wish.asked(**changes))
    return f"{path}?{asked}" if asked else path


def _as_json(row: Row) -> WorklistStudy:
    study = row.study
    return WorklistStudy(
        study_instance_uid=study.study_instance_uid,
        accession_number=study.accession_number,
        patient_name=study.patient.name,
        patient_identifier=study.patient.identifier,
        patient_sex=study.patient.sex,
        age_years=study.age_years,
        modality=study.modality,
        body_part=study.body_part,
        description=study.description,
        organisation=study.organisation.code,
        urgency=study.urgency,
        state=study.state,
        instance_count=study.instance_count,
        first_received_at=study.first_received_at,
        report_state=row.report_state,
        critical=row.version.critical if row.version else False,
        claimed_by=row.holder.display_name if row.holder else None,
        pre_reads=[
            WorklistPreRead(
                engine=words.engine,
                state=words.state,
                reason=words.reason,
                findings=[
                    WorklistFinding(code=one.code, name=one.name, probability=one.probability, urgency=one.urgency)
                    for one in words.abnormal
                ],
            )
            for words in row.pre_reads
        ],
    )
