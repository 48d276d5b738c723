"""The report as paper: one HTML template, printed by WeasyPrint, sealed, and kept under its own hash."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session
from weasyprint import HTML
from weasyprint.urls import URLFetcher

from api.draft_sentences import words_from_engines
from api.ecg_sheets import EcgSheet, ecg_sheets
from api.house import House
from api.pages import render_text
from api.preread_words import latest
from api.refusals import N_
from api.report_seal import seal
from api.reports import ReportText, reports_folder
from api.translations import translate
from core.access import Person
from core.lifecycles.preread import PreReadState
from core.tables import PreRead, ReportVersion, Study


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Everything that a printed report says; text only, so that it prints without a database."""

    study: Study
    version: ReportVersion
    doctor: str
    signed_at: datetime
    #: ``name version`` of the models whose sentences stand in the report.
    models: list[str]
    ecgs: list[EcgSheet]


def compose(session: Session, house: House, person: Person, study: Study, version: ReportVersion, signed_at: datetime) -> Sheet:
    """Gather what the report of ``version`` says when ``person`` signs it at ``signed_at``."""
    pre_reads = session.scalars(select(PreRead).where(PreRead.study_id == study.id)).all()
    text = ReportText(findings=version.findings, impression=version.impression)
    read = [one for one in latest(pre_reads) if one.state is PreReadState.READ] if words_from_engines(pre_reads, text) else []
    models = [f"{model.get('name', '')} {model.get('version', '')}".strip() for one in read for model in one.models]
    _ = (study.patient, study.organisation)  # loaded here: the sheet is printed after the session has ended
    return Sheet(
        study=study,
        version=version,
        doctor=person.display_name,
        signed_at=signed_at,
        models=list(dict.fromkeys(models)),
        ecgs=ecg_sheets(session, house, study),
    )


def sheet_html(house: House, sheet: Sheet) -> str:
    """Return a sheet as the page that is printed, in the county's language."""
    language, study = house.settings.county.language, sheet.study
    who = "  ".join((study.patient.name, study.patient.identifier, study.accession_number))
    pages = translate(language, N_("Page %(page)s of %(pages)s"), page="\x01", pages="\x02")
    foot = {
        "foot_left": Markup(_css_string(who)),
        "foot_right": Markup(_css_string(pages).replace("\x01", '" counter(page) "').replace("\x02", '" counter(pages) "')),
    }
    return render_text(house, language, "report_pdf.html", sheet=sheet, study=study, version=sheet.version, **foot)


def print_sheet(house: House, sheet: Sheet) -> bytes:
    """Return the sealed PDF of a sheet."""
    # A report shows only what it carries itself.
    page = HTML(string=sheet_html(house, sheet), url_fetcher=URLFetcher(allowed_protocols=["data"]))
    pdf = page.write_pdf()
    assert isinstance(pdf, bytes)
    reason = f"{sheet.study.study_instance_uid} v{sheet.version.number}"
    return seal(pdf, house.settings, signer_name=sheet.doctor, reason=reason)


def keep(house: House, pdf: bytes) -> str:
    """Write ``pdf`` durably into the folder of reports and return its SHA-256, which is its name."""
    digest = hashlib.sha256(pdf).hexdigest()
    folder = reports_folder(house.settings)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft, final = folder / f".{secrets.token_hex(8)}", folder / f"{digest}.pdf"
    with draft.open("xb") as file:
        file.write(pdf)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(final)
    _sync_folder(folder)
    return digest


def _css_string(text: str) -> str:
    """Return ``text`` as a string of a style sheet that stands in a page: nothing in it can end the string or the style."""
    return '"' + "".join(f"\\{ord(letter):x} " if letter in '\\"<>&\n\r' else letter for letter in text) + '"'


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
