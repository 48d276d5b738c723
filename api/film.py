"""The patient's side of a film (云胶片): the question, the page with report and images, the originals.

A link alone opens nothing. After the second check the browser carries a visit's token in a cookie; every address below
``/film`` belongs to that visit and ends with it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.dicomweb import door_of
from api.film_grants import Answer, CheckKind, grant_of, open_film, present_state
from api.film_images import content_of, picture
from api.film_route import FilmRoute
from api.house import House, house_of
from api.image_access import FILM_COOKIE, FilmVisitor, Looks, Onlooker, VisitOver, film_visitor, looks_of
from api.images_of_study import fetch_ecg
from api.pages import language_of, render
from api.refusals import NoSuchPage
from api.reports import NoReport, pdf_path, signed_report
from api.web.ecg_paper import ecg_paper_svg
from core import audit
from core.lifecycles.film_grant import FilmGrantState
from core.tables import Door, FilmGrant, FilmVisit, Instance, Study
from pacs_bridge.archive import ArchiveDoor, ArchiveRefused

router = APIRouter(include_in_schema=False, route_class=FilmRoute)

#: The visit's address is its own, so what a browser keeps of one visit shows in no other.
_CACHED = {"Cache-Control": "private, max-age=1800"}


def visitor(
    request: Request, house: Annotated[House, Depends(house_of)], looks: Annotated[Looks, Depends(looks_of)]
) -> FilmVisitor:
    """Return whose film is open in this browser: a FastAPI dependency.

    Raises
    ------
    VisitOver
        If none is, or its link was taken back meanwhile.
    """
    found = film_visitor(house.database, request.cookies.get(FILM_COOKIE, ""))
    if found is None or request.path_params.get("visit_id", str(found.visit_id)) != str(found.visit_id):
        raise VisitOver
    looks.must_see(Onlooker(person=None, film=found), found.study_instance_uid)
    return found


Visitor = Annotated[FilmVisitor, Depends(visitor)]


@router.get("/f/{token}")
def question(token: str, request: Request, house: Annotated[House, Depends(house_of)]) -> Response:
    """Ask the second check; an unknown link asks like any other, so that nobody learns which links exist."""
    with house.database.reading() as session:
        grant = grant_of(session, token)
        state = present_state(grant) if grant else FilmGrantState.ACTIVE
        kind = CheckKind(grant.check_kind) if grant else CheckKind.BIRTH_DATE
    answer = None if state is FilmGrantState.ACTIVE else Answer(state.value)
    return _ask(request, kind, answer, 410 if answer else 200)


@router.post("/f/{token}")
def check(
    token: str,
    request: Request,
    house: Annotated[House, Depends(house_of)],
    check: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Open the film, or ask again with the reason."""
    address = request.client.host if request.client else "unknown"
    browser = request.headers.get("user-agent", "")
    opening = open_film(house.database, token, check, address=address, browser=browser, settings=house.settings)
    with house.database.reading() as session:
        grant = grant_of(session, token)
        kind = CheckKind(grant.check_kind) if grant else CheckKind.BIRTH_DATE
    if opening.visit_token is None:
        return _ask(request, kind, opening.answer, 403 if opening.answer is Answer.WRONG else 410)
    answer = RedirectResponse("/film", status_code=303, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        FILM_COOKIE,
        opening.visit_token,
        max_age=round(house.settings.film.visit_minutes * 60),
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https" or house.settings.web_address.startswith("https:"),
    )
    return answer


@router.get("/film")
def film(request: Request, who: Visitor, house: Annotated[House, Depends(house_of)], image: int = 1) -> Response:
    """Show the film: who, what, the report, the images, and who looked."""
    with house.database.reading() as session:
        grant = session.get_one(FilmGrant, who.grant_id)
        visits = select(FilmVisit).where(FilmVisit.grant_id == grant.id).order_by(FilmVisit.id.desc()).limit(20)
        content = content_of(session, grant.study)
        return render(
            request,
            "film.html",
            study=grant.study,
            grant=grant,
            visit_id=who.visit_id,
            content=content,
            shown=content.series_of(image),
            number=image if content.series_of(image) else 1,
            report=signed_report(session, grant.study),
            visits=session.scalars(visits).all(),
        )


@router.get("/film/{visit_id}/images/{number}.jpg")
def image(visit_id: int, number: int, who: Visitor, house: Annotated[House, Depends(house_of)], whole: bool = False) -> Response:
    """Return one picture; ``whole`` in all its pixels, for the one who zooms in."""
    with house.database.reading() as session:
        frame = content_of(session, _study(session, who)).frame(number)
    return Response(picture(house.archive, frame, whole=whole), media_type="image/jpeg", headers=_CACHED)


@router.get("/film/{visit_id}/ecg/{number}.svg")
def ecg(
    visit_id: int, number: int, request: Request, who: Visitor, house: Annotated[House, Depends(house_of)], layout: str = "3x4+1"
) -> Response:
    """Draw one ECG recording on paper."""
    with house.database.reading() as session:
        ecgs = content_of(session, _study(session, who)).ecgs
        session.expunge_all()
    if not 1 <= number <= len(ecgs):
        raise NoSuchPage
    drawing = ecg_paper_svg(fetch_ecg(house.archive, ecgs[number - 1]), layout=layout, language=language_of(request))
    return Response(drawing, media_type="image/svg+xml", headers=_CACHED)


@router.get("/film/{visit_id}/report.pdf")
def report(visit_id: int, who: Visitor, house: Annotated[House, Depends(house_of)]) -> Response:
    """Return the signed report as its doctor signed it."""
    with house.database.reading() as session:
        study = _study(session, who)
        version = signed_report(session, study)
        if version is None:
            raise NoReport
        file = pdf_path(house.settings, version)
        name = f"{study.patient.identifier}-{study.modality}.pdf"
    _trace(house, who, "report")
    return FileResponse(file, media_type="application/pdf", filename=name, headers={"Cache-Control": "no-store"})


@router.get("/film/{visit_id}/originals.zip")
async def originals(
    visit_id: int, who: Visitor, house: Annotated[House, Depends(house_of)], door: Annotated[ArchiveDoor, Depends(door_of)]
) -> Response:
    """Stream the originals as the devices sent them, with a DICOMDIR, so that any hospital can read them."""
    archive_ids = await run_in_threadpool(_originals, house, who)
    if not archive_ids:
        raise NoSuchPage
    answer = await door.media(archive_ids)
    if answer.status != 200:
        raise ArchiveRefused(answer.status, (b"".join([piece async for piece in answer.body])).decode(errors="replace"))
    await run_in_threadpool(_trace, house, who, "originals")
    headers = {"Content-Disposition": f'attachment; filename="film-{who.grant_id}.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(answer.body, media_type="application/zip", headers=headers)


@router.get("/film/{visit_id}/close")
def close(visit_id: int, who: Visitor) -> Response:
    """Forget the visit in this browser: on a phone that is not the patient's own."""
    answer = RedirectResponse("/film/closed", status_code=303)
    answer.delete_cookie(FILM_COOKIE, path="/")
    return answer


@router.get("/film/closed")
def closed(request: Request) -> Response:
    """Say that the film is closed."""
    return render(request, "film_closed.html")


def _ask(request: Request, kind: CheckKind, answer: Answer | None, status: int) -> Response:
    return render(request, "film_question.html", status_code=status, kind=kind.value, answer=answer.value if answer else None)


def _study(session: Session, who: FilmVisitor) -> Study:
    return session.scalars(select(Study).where(Study.study_instance_uid == who.study_instance_uid)).one()


def _originals(house: House, who: FilmVisitor) -> list[str]:
    with house.database.reading() as session:
        query = select(Instance.archive_id).where(Instance.study_id == _study(session, who).id, Instance.door != Door.OURS)
        return [archive_id for archive_id in session.scalars(query) if archive_id]


def _trace(house: House, who: FilmVisitor, what: str) -> None:
    detail = {"grant": who.grant_id, "visit": who.visit_id, "what": what}
    with house.database.writing() as session:
        audit.record(session, who.actor, "film_downloaded", f"study:{who.study_instance_uid}", detail)
