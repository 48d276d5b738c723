"""The staff's side of a film: give a link and print its slip, see who looked, take it back, extend it, unlock it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Annotated

import segno
from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import film_grants
from api.film_images import content_of
from api.house import House, house_of
from api.pages import render
from api.refusals import N_, NoSuchPage, Refusal
from api.reports import signed_report
from api.signing_in import require
from api.studies import visible_study
from core.access import Permission, Person
from core.tables import FilmGrant, User

router = APIRouter(prefix="/studies/{study_uid}/film", include_in_schema=False)

Granter = Annotated[Person, Depends(require(Permission.GRANT_FILM))]


class NoReportYet(Refusal):
    """A film was asked for before a doctor signed, and nobody said that images alone are meant."""

    status = 409
    message_id = N_("This study has no signed report yet.")
    remedy_id = N_("Wait until its doctor has signed, or give a film with the images alone by the box on the film page.")


class NothingToShow(Refusal):
    """The study holds no image, ECG or slide in the archive."""

    status = 409
    message_id = N_("This study holds nothing that a film could show yet.")
    remedy_id = N_("Wait until its images are in the archive, then try again.")


@router.get("")
def film_page(study_uid: str, request: Request, person: Granter, house: Annotated[House, Depends(house_of)]) -> Response:
    """Show every link to the study and its visits."""
    with house.database.reading() as session:
        study = visible_study(session, person, study_uid)
        grants = session.scalars(select(FilmGrant).where(FilmGrant.study_id == study.id).order_by(FilmGrant.id.desc())).all()
        granters = {grant.id: session.get_one(User, grant.created_by_id).display_name for grant in grants}
        return render(
            request,
            "film_desk.html",
            study=study,
            grants=grants,
            granters=granters,
            states={grant.id: film_grants.present_state(grant).value for grant in grants},
            report=signed_report(session, study),
        )


@router.post("")
def give_film(
    study_uid: str,
    request: Request,
    person: Granter,
    house: Annotated[House, Depends(house_of)],
    images_only: Annotated[bool, Form()] = False,
) -> Response:
    """Give a link and show its slip: the answer itself, because nobody can ever read the token again."""
    with house.database.writing() as session:
        study = visible_study(session, person, study_uid)
        if signed_report(session, study) is None and not images_only:
            raise NoReportYet
        content = content_of(session, study)
        if not (content.series or content.ecgs or content.slides):
            raise NothingToShow
        link = film_grants.grant_film(session, person, study, settings=house.settings)
        session.flush()
        with_report = signed_report(session, study) is not None
        return render(request, "film_slip.html", study=study, link=link, qr=qr_svg(link.url), with_report=with_report)


@router.post("/{grant_id}/revoke")
def revoke(study_uid: str, grant_id: int, person: Granter, house: Annotated[House, Depends(house_of)]) -> Response:
    """Take a link back."""
    return _change(house, person, study_uid, grant_id, lambda session, grant: film_grants.revoke(session, person, grant))


@router.post("/{grant_id}/extend")
def extend(study_uid: str, grant_id: int, person: Granter, house: Annotated[House, Depends(house_of)]) -> Response:
    """Let a link open for another full term."""
    return _change(
        house,
        person,
        study_uid,
        grant_id,
        lambda session, grant: film_grants.extend(session, person, grant, settings=house.settings),
    )


@router.post("/{grant_id}/unlock")
def unlock(study_uid: str, grant_id: int, person: Granter, house: Annotated[House, Depends(house_of)]) -> Response:
    """Give a locked link its tries back."""
    return _change(house, person, study_uid, grant_id, lambda session, grant: film_grants.unlock(session, person, grant))


def qr_svg(address: str) -> Markup:
    """Return a QR code as inline SVG; error correction M survives a crease in the paper."""
    drawing = io.BytesIO()
    segno.make(address, error="m", micro=False).save(drawing, kind="svg", xmldecl=False, svgns=True, border=2, omitsize=True)
    return Markup(drawing.getvalue().decode())  # segno draws it; the address is only its data


def _change(house: House, person: Person, study_uid: str, grant_id: int, step: Callable[[Session, FilmGrant], None]) -> Response:
    with house.database.writing() as session:
        study = visible_study(session, person, study_uid)
        grant = session.scalar(select(FilmGrant).where(FilmGrant.id == grant_id, FilmGrant.study_id == study.id))
        if grant is None:
            raise NoSuchPage
        step(session, grant)
    return RedirectResponse(f"/studies/{study_uid}/film", status_code=303)
