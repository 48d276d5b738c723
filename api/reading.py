"""The reading page: images on the left, what the engines say and what the doctor writes on the right."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from api.house import House, house_of
from api.judging import judge
from api.pages import language_of, render
from api.reading_desk import Desk, desk_of, pre_reads_of
from api.reading_image import instance_of
from api.reading_image import router as images
from api.reading_pictures import Picture, pictures_of
from api.signing_in import require
from api.studies import visible_study
from core import audit
from core.access import Permission, Person
from core.lifecycles.preread import END_STATES
from core.tables import Verdict

router = APIRouter(include_in_schema=False)
router.include_router(images)

OurHouse = Annotated[House, Depends(house_of)]
Looker = Annotated[Person, Depends(require(Permission.SEE_IMAGES))]
Judge = Annotated[Person, Depends(require(Permission.JUDGE_FINDINGS))]


@router.get("/studies/{study_instance_uid}")
def reading(
    request: Request, house: OurHouse, person: Looker, study_instance_uid: str, view: int = 1, picture: int = 0
) -> Response:
    """Open a study; every opening leaves its trace. ``picture`` shows what the pre-read draws over one of its images."""
    with house.database.writing() as session:
        visible_study(session, person, study_instance_uid)
        audit.record(session, person.actor, "study_opened", f"study:{study_instance_uid}")
    desk = _desk(request, house, person, study_instance_uid)
    shown = desk.views[min(max(view, 1), len(desk.views)) - 1]
    pictures = _pictures(request, house, person, study_instance_uid) if picture > 0 else []
    number = min(picture, len(pictures))
    return render(
        request,
        "reading.html",
        desk=desk,
        study=desk.study,
        shown=shown,
        waiting=_waiting(desk),
        pictures=pictures,
        number=number,
        picture=pictures[number - 1] if pictures else None,
    )


@router.get("/studies/{study_instance_uid}/pre-read")
def pre_read_panel(request: Request, house: OurHouse, person: Looker, study_instance_uid: str) -> Response:
    """Return the pre-read alone; a page asks for it while an engine is still reading."""
    desk = _desk(request, house, person, study_instance_uid)
    return render(request, "parts/preread_panel.html", desk=desk, study=desk.study, waiting=_waiting(desk))


@router.post("/studies/{study_instance_uid}/findings/{finding_id}/verdict")
def judge_finding(
    request: Request,
    house: OurHouse,
    person: Judge,
    study_instance_uid: str,
    finding_id: int,
    verdict: Annotated[str, Form(max_length=16)] = "",
) -> Response:
    """Accept or strike a finding, or take the verdict back, and show the panel anew."""
    kept = {one.value: one for one in Verdict}.get(verdict)
    with house.database.writing() as session:
        judge(session, person, visible_study(session, person, study_instance_uid, for_change=True), finding_id, kept)
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/studies/{study_instance_uid}", status_code=303)
    return pre_read_panel(request, house, person, study_instance_uid)


def _desk(request: Request, house: House, person: Person, study_instance_uid: str) -> Desk:
    with house.database.reading() as session:
        study = visible_study(session, person, study_instance_uid)
        return desk_of(session, person, study, house.settings, language_of(request))


def _pictures(request: Request, house: House, person: Person, study_instance_uid: str) -> list[Picture]:
    with house.database.reading() as session:
        study = visible_study(session, person, study_instance_uid)

        def size(sop_instance_uid: str) -> tuple[int, int] | None:
            instance = instance_of(session, study.id, sop_instance_uid)
            if instance is None or instance.archive_id is None:
                return None
            header = house.archive.header(instance.archive_id)
            return int(header["Columns"]), int(header["Rows"])

        return pictures_of(pre_reads_of(session, study), study_instance_uid, person, language_of(request), size)


def _waiting(desk: Desk) -> bool:
    """Return whether an engine may still say something."""
    return not desk.pre_reads or any(one.state not in END_STATES for one in desk.pre_reads)
