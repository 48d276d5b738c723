"""The report editor's requests: claim, save, sign, amend, and the signed paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from sqlalchemy.orm import Session

from api.claims import claim, release
from api.house import House, house_of
from api.pages import render
from api.report_signing import sign_report
from api.reports import NoReport, ReportText, amend, pdf_path, report_of, save, signed_report, withdraw
from api.signing_in import address_of, require
from api.studies import visible_study
from core import audit
from core.access import Permission, Person
from core.tables import Study

router = APIRouter(include_in_schema=False, prefix="/studies/{study_instance_uid}")

OurHouse = Annotated[House, Depends(house_of)]
Looker = Annotated[Person, Depends(require(Permission.SEE_IMAGES))]
Writer = Annotated[Person, Depends(require(Permission.WRITE_REPORT))]
Signer = Annotated[Person, Depends(require(Permission.SIGN_REPORT))]


def report_text(
    findings: Annotated[str, Form(max_length=20_000)] = "",
    impression: Annotated[str, Form(max_length=20_000)] = "",
    critical: Annotated[bool, Form()] = False,
) -> ReportText:
    """Return the words of the editor's form: a FastAPI dependency."""
    return ReportText(findings=_lines(findings), impression=_lines(impression), critical=critical)


Text = Annotated[ReportText, Depends(report_text)]


@router.post("/claim")
def claim_study(house: OurHouse, person: Writer, study_instance_uid: str) -> Response:
    """Take the study to write its report."""
    minutes = house.settings.web.claim_minutes
    return _change(house, person, study_instance_uid, lambda session, study: claim(session, person, study, minutes))


@router.post("/release")
def release_study(house: OurHouse, person: Writer, study_instance_uid: str) -> Response:
    """Give the study back."""
    return _change(house, person, study_instance_uid, lambda session, study: release(session, person, study), "/worklist")


@router.post("/report")
def save_report(request: Request, house: OurHouse, person: Writer, study_instance_uid: str, text: Text) -> Response:
    """Keep the draft; the page calls this while the doctor types."""
    with house.database.writing() as session:
        study = visible_study(session, person, study_instance_uid, for_change=True)
        version = save(session, person, study, text)
        saved_at = version.saved_at
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/studies/{study_instance_uid}", status_code=303)
    return render(request, "parts/saved.html", saved_at=saved_at)


@router.post("/report/sign")
def sign_study(
    request: Request,
    house: OurHouse,
    person: Signer,
    study_instance_uid: str,
    text: Text,
    password: Annotated[str, Form(max_length=256)] = "",
) -> Response:
    """Sign what the editor holds; the password is asked for again."""
    sign_report(house, person, study_instance_uid, text, password=password, address=address_of(request))
    target = f"/studies/{study_instance_uid}"
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, status_code=303)


@router.post("/report/amend")
def amend_report(house: OurHouse, person: Writer, study_instance_uid: str) -> Response:
    """Begin an addendum."""
    minutes = house.settings.web.claim_minutes

    def begin(session: Session, study: Study) -> None:
        amend(session, person, study, minutes)

    return _change(house, person, study_instance_uid, begin)


@router.post("/report/withdraw")
def withdraw_amendment(house: OurHouse, person: Writer, study_instance_uid: str) -> Response:
    """Give an addendum up."""
    return _change(house, person, study_instance_uid, lambda session, study: withdraw(session, person, study))


@router.get("/report.pdf")
def report_pdf(house: OurHouse, person: Looker, study_instance_uid: str, version: int | None = None) -> Response:
    """Return the signed paper: the valid one, or an earlier version by its number."""
    with house.database.writing() as session:
        study = visible_study(session, person, study_instance_uid)
        report = report_of(session, study)
        signed = {one.number: one for one in report.versions if one.signed_at} if report else {}
        chosen = signed.get(version) if version else signed_report(session, study)
        if chosen is None:
            raise NoReport
        file = pdf_path(house.settings, chosen)
        audit.record(session, person.actor, "report_opened", f"study:{study_instance_uid}", {"version": chosen.number})
        name = f"report-{study.accession_number or study.id}-v{chosen.number}.pdf"
    headers = {"Cache-Control": "no-store"}
    return FileResponse(file, media_type="application/pdf", filename=name, content_disposition_type="inline", headers=headers)


def _change(
    house: House,
    person: Person,
    study_instance_uid: str,
    change: Callable[[Session, Study], None],
    target: str = "",
) -> Response:
    with house.database.writing() as session:
        change(session, visible_study(session, person, study_instance_uid, for_change=True))
    return RedirectResponse(target or f"/studies/{study_instance_uid}#report", status_code=303)


def _lines(text: str) -> str:
    """Browsers send CR LF; the report keeps plain lines."""
    return text.replace("\r\n", "\n").strip()
