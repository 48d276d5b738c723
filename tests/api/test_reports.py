"""A report's way from a claim to a signature, and what nobody can do to it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from api.claims import ClaimedByAnother, NotClaimed, claim
from api.reports import NothingToSign, ReportText, pdf_path, report_of, save, sign, signed_report
from api.studies import visible_study
from core.access import Person, person_of
from core.clock import now
from core.database import Database
from core.errors import ForbiddenTransition, NotAllowed
from core.lifecycles.report import ReportState
from core.lifecycles.study import StudyState
from core.settings import Settings
from core.tables import ReportVersion, Study, User
from tests.api.conftest import Browser, actions, add_pre_read, add_study
from tests.conftest import PASSWORD, County

SignedIn = Callable[[str], Browser]
WORDS = {"findings": "双肺野清晰。", "impression": "未见异常。"}


@pytest.fixture
def uid(database: Database, county: County) -> str:
    """A settled study of the township."""
    return add_study(database, county.township)


def person(database: Database, username: str) -> Person:
    with database.reading() as session:
        return person_of(session, session.query(User).filter_by(username=username).one())


def state_of(database: Database, uid: str) -> ReportState | None:
    with database.reading() as session:
        report = report_of(session, session.query(Study).filter_by(study_instance_uid=uid).one())
        return report.state if report else None


def test_a_report_is_claimed_saved_and_signed(signed_in: SignedIn, database: Database, settings: Settings, uid: str) -> None:
    doctor = signed_in("doctor")
    assert doctor.post(f"/studies/{uid}/claim").status_code == 303
    assert 'id="report-form"' in doctor.get(f"/studies/{uid}").text
    assert doctor.post(f"/studies/{uid}/report", **WORDS).status_code == 303
    assert doctor.post(f"/studies/{uid}/report", **WORDS, critical="true").status_code == 303
    answer = doctor.post(f"/studies/{uid}/report/sign", **WORDS, critical="true", password=PASSWORD)
    assert answer.status_code == 303, answer.text
    with database.reading() as session:
        study = session.query(Study).filter_by(study_instance_uid=uid).one()
        version = signed_report(session, study)
        assert version is not None
        assert (version.number, version.impression, version.critical) == (1, "未见异常。", True)
        assert version.signed_by is not None
        assert version.signed_by.username == "doctor"
        assert pdf_path(settings, version).read_bytes().startswith(b"%PDF")
        assert study.claimed_by_id is None
    trace = [action for action in actions(database) if action.startswith(("study", "report"))]
    assert trace == ["study_claimed", "study_opened", "report_saved", "report_signed"], "a draft's later saves leave no trace"


def test_signing_needs_the_claim_and_the_password(signed_in: SignedIn, database: Database, uid: str) -> None:
    doctor, sign_path = signed_in("doctor"), f"/studies/{uid}/report/sign"
    assert doctor.post(sign_path, **WORDS, password=PASSWORD).status_code == 409
    doctor.post(f"/studies/{uid}/claim")
    for wrong in ("", "wrong"):
        answer = doctor.post(sign_path, **WORDS, password=wrong)
        assert answer.status_code == 403
        assert "未签发" in answer.text
    assert state_of(database, uid) is None, "a wrong password does not even save"


def test_an_empty_impression_is_not_signed(signed_in: SignedIn, database: Database, uid: str) -> None:
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    answer = doctor.post(f"/studies/{uid}/report/sign", findings="双肺", impression="  ", password=PASSWORD)
    assert (answer.status_code, "印象为空" in answer.text) == (409, True)
    assert state_of(database, uid) is ReportState.DRAFT, "the words are kept"


def test_a_study_that_still_arrives_is_not_signed(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township, state=StudyState.ARRIVING)
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    answer = doctor.post(f"/studies/{uid}/report/sign", **WORDS, password=PASSWORD)
    assert (answer.status_code, "仍在接收" in answer.text) == (409, True)


def test_a_final_report_cannot_be_changed(signed_in: SignedIn, database: Database, uid: str) -> None:
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    doctor.post(f"/studies/{uid}/report/sign", **WORDS, password=PASSWORD)
    doctor.post(f"/studies/{uid}/claim")
    for path in ("report", "report/sign"):
        answer = doctor.post(f"/studies/{uid}/{path}", findings="别的", impression="别的", password=PASSWORD)
        assert answer.status_code == 409, path
    with database.reading() as session:
        version = session.query(ReportVersion).one()
        assert (version.findings, version.impression) == (WORDS["findings"], WORDS["impression"])
    with database.writing() as session:
        doctor_person = person(database, "doctor")
        study = visible_study(session, doctor_person, uid)
        claim(session, doctor_person, study, 30)
        with pytest.raises(ForbiddenTransition):
            save(session, doctor_person, study, ReportText(impression="别的"))


def test_an_addendum_leaves_the_signed_version_valid_until_it_is_signed(
    signed_in: SignedIn, database: Database, settings: Settings, uid: str
) -> None:
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    doctor.post(f"/studies/{uid}/report/sign", **WORDS, password=PASSWORD)
    assert doctor.post(f"/studies/{uid}/report/amend").status_code == 303
    doctor.post(f"/studies/{uid}/report", findings="双肺野清晰。", impression="左侧少量胸腔积液。")
    with database.reading() as session:
        valid = signed_report(session, session.query(Study).filter_by(study_instance_uid=uid).one())
        assert valid is not None
        assert valid.number == 1
    doctor.post(f"/studies/{uid}/report/sign", findings="双肺野清晰。", impression="左侧少量胸腔积液。", password=PASSWORD)
    with database.reading() as session:
        valid = signed_report(session, session.query(Study).filter_by(study_instance_uid=uid).one())
        assert valid is not None
        assert (valid.number, valid.impression) == (2, "左侧少量胸腔积液。")
        first = session.query(ReportVersion).filter_by(number=1).one()
        assert first.impression == WORDS["impression"]
        assert pdf_path(settings, first).exists()
    assert doctor.get(f"/studies/{uid}/report.pdf?version=1").content != doctor.get(f"/studies/{uid}/report.pdf").content
    assert {"report_amended", "report_opened"} <= set(actions(database))


def test_a_withdrawn_addendum_leaves_the_report_as_it_was(signed_in: SignedIn, database: Database, uid: str) -> None:
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    doctor.post(f"/studies/{uid}/report/sign", **WORDS, password=PASSWORD)
    doctor.post(f"/studies/{uid}/report/amend")
    assert doctor.post(f"/studies/{uid}/report/withdraw").status_code == 303
    assert state_of(database, uid) is ReportState.FINAL
    with database.reading() as session:
        assert session.query(ReportVersion).count() == 1


def test_a_claimed_study_is_another_doctors_until_the_claim_runs_out(
    signed_in: SignedIn, database: Database, uid: str, second_doctor: str
) -> None:
    doctor, second = signed_in("doctor"), signed_in(second_doctor)
    doctor.post(f"/studies/{uid}/claim")
    doctor.post(f"/studies/{uid}/report", **WORDS)
    refused = second.post(f"/studies/{uid}/claim")
    assert (refused.status_code, "王医生" in refused.text) == (409, True)
    assert second.post(f"/studies/{uid}/report", **WORDS).status_code == 409
    assert "王医生正在阅读此检查" in second.get(f"/studies/{uid}").text

    with database.writing() as session:
        session.execute(update(Study).values(claimed_at=now() - timedelta(minutes=31)))
    assert "接手并书写" in second.get(f"/studies/{uid}").text
    assert second.post(f"/studies/{uid}/claim").status_code == 303
    assert "双肺野清晰。" in second.get(f"/studies/{uid}").text, "the draft stays"
    assert doctor.post(f"/studies/{uid}/report", **WORDS).status_code == 409


def test_a_claim_that_ran_out_is_kept_until_somebody_takes_it(
    database: Database, county: County, uid: str, second_doctor: str
) -> None:
    first, second = person(database, "doctor"), person(database, second_doctor)
    with database.writing() as session:
        study = visible_study(session, first, uid)
        claim(session, first, study, 30)
        study.claimed_at = now() - timedelta(minutes=45)
        save(session, first, study, ReportText(impression="一"))
        with pytest.raises(ClaimedByAnother):
            claim(session, second, study, 30)
        with pytest.raises(NotClaimed):
            save(session, second, study, ReportText(impression="二"))


def test_a_signature_fits_only_the_words_that_were_printed(database: Database, uid: str) -> None:
    doctor, printed = person(database, "doctor"), ReportText(impression="未见异常。")
    with database.writing() as session:
        study = visible_study(session, doctor, uid)
        claim(session, doctor, study, 30)
        save(session, doctor, study, printed)
        save(session, doctor, study, ReportText(impression="左侧气胸。"))
        with pytest.raises(NothingToSign):
            sign(session, doctor, study, printed, signed_at=now(), pdf_sha256="0" * 64)


def test_an_operator_reads_reports_and_writes_none(signed_in: SignedIn, database: Database, uid: str) -> None:
    operator = signed_in("operator")
    for path in ("claim", "report", "report/sign", "report/amend"):
        assert operator.post(f"/studies/{uid}/{path}", **WORDS).status_code == 403
    assert operator.get(f"/studies/{uid}/report.pdf").status_code == 404
    someone = person(database, "operator")
    with database.writing() as session:
        study = visible_study(session, someone, uid)
        with pytest.raises(NotAllowed):
            save(session, someone, study, ReportText())
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    doctor.post(f"/studies/{uid}/report/sign", **WORDS, password=PASSWORD)
    answer = operator.get(f"/studies/{uid}/report.pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert "未见异常。" in operator.get(f"/studies/{uid}").text


def test_what_an_engine_suggests_is_saved_by_nobody(signed_in: SignedIn, database: Database, uid: str) -> None:
    add_pre_read(database, uid, ("ecg_sinus_tachycardia", None))
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    assert "窦性心动过速" in doctor.get(f"/studies/{uid}").text
    assert state_of(database, uid) is None


def test_a_saved_draft_answers_htmx_with_the_time(signed_in: SignedIn, uid: str) -> None:
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{uid}/claim")
    assert "已保存" in doctor.htmx(f"/studies/{uid}/report", **WORDS).text
    answer = doctor.htmx(f"/studies/{uid}/report/sign", **WORDS, password=PASSWORD)
    assert answer.headers["hx-redirect"] == f"/studies/{uid}"
