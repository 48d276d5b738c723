"""A doctor's report in its life: saved while it is a draft, signed once, corrected only by an addendum.

Functions over a session of ``Database.writing()``; they know nothing of HTTP. The life cycle decides what may happen, the
claim who may do it, and every change leaves its audit event in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.claims import claim, free, hold
from api.refusals import N_, Refusal
from core import audit
from core.access import Permission, Person
from core.clock import now
from core.lifecycles.report import REPORT, ReportEvent
from core.lifecycles.study import StudyState
from core.settings import Settings
from core.tables import Report, ReportVersion, Study


class NothingWritten(Refusal):
    """A report without an impression."""

    status = 409
    message_id = N_("The impression is empty.")
    remedy_id = N_("Write the impression, then sign.")


class StillArriving(Refusal):
    """Images of the study are still coming in."""

    status = 409
    message_id = N_("Images of this study are still arriving.")
    remedy_id = N_("Your draft is kept; look at the new images and sign when all have arrived.")


class NothingToSign(Refusal):
    """There is no open version."""

    status = 409
    message_id = N_("There is no draft to sign.")
    remedy_id = N_("Write the report first.")


class NoReport(Refusal):
    """Nobody has signed a report of this study."""

    status = 404
    message_id = N_("This study has no signed report yet.")
    remedy_id = N_("Wait until its doctor has signed, or claim the study and write it.")


@dataclass(frozen=True, kw_only=True)
class ReportText:
    """What a doctor writes."""

    #: 检查所见
    findings: str = ""
    #: 印象
    impression: str = ""
    #: The doctor's own word that this is a critical value (危急值).
    critical: bool = False


def report_of(session: Session, study: Study) -> Report | None:
    """Return the report of ``study``, or None when nobody has begun one."""
    return session.scalar(select(Report).where(Report.study_id == study.id))


def open_version(report: Report | None) -> ReportVersion | None:
    """Return the version that may still be written."""
    return next((version for version in report.versions if version.signed_at is None), None) if report else None


def text_of(version: ReportVersion) -> ReportText:
    """Return the words of a version."""
    return ReportText(findings=version.findings, impression=version.impression, critical=version.critical)


def signed_report(session: Session, study: Study) -> ReportVersion | None:
    """Return the signed version that is valid now: the newest, also while an addendum is being written."""
    report = report_of(session, study)
    signed = [version for version in report.versions if version.signed_at is not None] if report else []
    return signed[-1] if signed else None


def pdf_path(settings: Settings, version: ReportVersion) -> Path:
    """Return where the signed PDF of a signed version lies."""
    if version.pdf_sha256 is None:
        raise NoReport
    return reports_folder(settings) / f"{version.pdf_sha256}.pdf"


def reports_folder(settings: Settings) -> Path:
    """Return the folder of signed PDFs, named by their SHA-256."""
    return settings.data / "reports"


def save(session: Session, person: Person, study: Study, text: ReportText) -> ReportVersion:
    """Keep a draft.

    Raises
    ------
    NotClaimed
        If the study is not theirs.
    ForbiddenTransition
        If the report is signed and nobody amends it.
    """
    person.must(Permission.WRITE_REPORT)
    hold(person, study)
    report = report_of(session, study) or _begin(session, study)
    report.state = REPORT.next(report.state, ReportEvent.SAVE)
    version = open_version(report)
    # A draft is saved every few seconds: the trace names the first save of each version, and each change of its author.
    traced = version is not None and version.author_id == person.user_id
    version = version or _new_version(session, person, report)
    version.author_id, version.saved_at = person.user_id, now()
    version.findings, version.impression, version.critical = text.findings, text.impression, text.critical
    session.flush()
    if not traced:
        _trace(session, person, study, "report_saved", version)
    return version


def sign(
    session: Session, person: Person, study: Study, text: ReportText, *, signed_at: datetime, pdf_sha256: str
) -> ReportVersion:
    """Make the open version final; ``text`` is what its PDF says.

    Raises
    ------
    NothingToSign
        If there is no open version, or its words have changed since.
    StillArriving
        If images are still coming in.
    """
    person.must(Permission.SIGN_REPORT)
    hold(person, study)
    report = report_of(session, study)
    version = must_be_signable(study, report)
    if report is None or text_of(version) != text:
        raise NothingToSign
    report.state = REPORT.next(report.state, ReportEvent.SIGN)
    version.signed_at, version.signed_by_id, version.pdf_sha256 = signed_at, person.user_id, pdf_sha256
    study.reported_at = signed_at
    free(study)
    _trace(session, person, study, "report_signed", version, pdf_sha256=pdf_sha256, critical=version.critical)
    return version


def must_be_signable(study: Study, report: Report | None) -> ReportVersion:
    """Return the version that a signature would make final, or refuse with the reason."""
    version = open_version(report)
    if version is None:
        raise NothingToSign
    if not version.impression.strip():
        raise NothingWritten
    if study.state is not StudyState.SETTLED:
        raise StillArriving
    return version


def amend(session: Session, person: Person, study: Study, claim_minutes: float) -> ReportVersion:
    """Begin an addendum: a new version that starts from the signed words. The signed version stays valid meanwhile."""
    claim(session, person, study, claim_minutes)
    report, signed = report_of(session, study), signed_report(session, study)
    if report is None or signed is None:
        raise NoReport
    report.state = REPORT.next(report.state, ReportEvent.AMEND)
    version = _new_version(session, person, report)
    version.findings, version.impression, version.critical = signed.findings, signed.impression, signed.critical
    session.flush()
    _trace(session, person, study, "report_amended", version, amends=signed.number)
    return version


def withdraw(session: Session, person: Person, study: Study) -> None:
    """Give up an addendum: its words go, the signed version stands as it was."""
    person.must(Permission.WRITE_REPORT)
    hold(person, study)
    report = report_of(session, study)
    version = open_version(report)
    if report is None or version is None:
        raise NothingToSign
    report.state = REPORT.next(report.state, ReportEvent.WITHDRAW)
    _trace(session, person, study, "report_withdrawn", version)
    report.versions.remove(version)
    session.delete(version)
    free(study)


def _begin(session: Session, study: Study) -> Report:
    report = Report(study_id=study.id, state=REPORT.start, created_at=now(), versions=[])
    session.add(report)
    session.flush()
    return report


def _new_version(session: Session, person: Person, report: Report) -> ReportVersion:
    number = max((version.number for version in report.versions), default=0) + 1
    version = ReportVersion(report=report, number=number, author_id=person.user_id, saved_at=now())
    session.add(version)
    return version


def _trace(session: Session, person: Person, study: Study, action: str, version: ReportVersion, **more: object) -> None:
    audit.record(session, person.actor, action, f"study:{study.study_instance_uid}", {"version": version.number, **more})
