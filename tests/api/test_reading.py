"""The reading page: who opens it, what it shows, and a doctor's verdict on what engines say."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi import FastAPI
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from api.app import create_app
from core.clock import now
from core.database import Database
from core.lifecycles.preread import PreReadState
from core.lifecycles.study import StudyState
from core.settings import Settings
from core.tables import AuditEvent, Door, Finding, Instance, Role, Study, Verdict
from tests.api.conftest import Browser, actions, add_person, add_pre_read, add_study
from tests.conftest import County, RunningArchive
from tests.inference.ecg.hearts import ecg_dataset, heart, regular

SignedIn = Callable[[str], Browser]


def test_every_opening_leaves_a_trace(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    assert "王建国" in signed_in("doctor").get(f"/studies/{uid}").text
    with database.reading() as session:
        event = session.query(AuditEvent).order_by(AuditEvent.id.desc()).first()
        assert event is not None
        assert (event.action, event.actor, event.subject) == ("study_opened", "user:doctor", f"study:{uid}")


def test_a_township_gets_404_for_a_foreign_study(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.other_township)
    operator = signed_in("operator")
    for path in ("", "/pre-read", "/report.pdf", "/ecg/1.2.3.svg"):
        assert operator.get(f"/studies/{uid}{path}").status_code == 404, path
    assert operator.get("/studies/1.2.3").status_code == 404
    assert "study_opened" not in actions(database)


def test_an_administrator_sees_no_images(signed_in: SignedIn, database: Database, county: County) -> None:
    assert signed_in("administrator").get(f"/studies/{add_study(database, county.township)}").status_code == 403


def test_the_pre_read_names_its_model_its_numbers_and_what_is_beyond_limits(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    uid = add_study(database, county.township, modality="ECG")
    add_pre_read(database, uid, ("ecg_critical_pause", 0.91), measurements={"ecg_qtc_bazett": 489.0, "ecg_heart_rate": 72.0})
    page = signed_in("doctor").get(f"/studies/{uid}").text
    for words in ("test model 1.0", "ab" * 5, "长 RR 间期（危急值）", "91%", "489", "↑", "次/分", "不是诊断"):
        assert words in page, words
    assert page.count('class="beyond"') == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (PreReadState.NO_MODEL, "没有适用于此类图像的模型。"),
        (PreReadState.DECLINED, "模型未作判读。"),
        (PreReadState.FAILED, "out of memory"),
        (PreReadState.READING, "AI预读中…"),
    ],
)
def test_silence_has_a_reason(signed_in: SignedIn, database: Database, county: County, state: PreReadState, words: str) -> None:
    uid = add_study(database, county.township)
    add_pre_read(database, uid, state=state, reason="no_engine", error="RuntimeError: out of memory")
    page = signed_in("doctor").get(f"/studies/{uid}").text
    assert words in page
    assert ('hx-trigger="every 5s"' in page) == (state is PreReadState.READING), "only a page that waits asks again"


def test_a_doctor_accepts_strikes_and_takes_back(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    [finding] = add_pre_read(database, uid, ("ecg_sinus_tachycardia", None))
    doctor, path = signed_in("doctor"), f"/studies/{uid}/findings/{finding}/verdict"
    for verdict, kept in (("accepted", Verdict.ACCEPTED), ("struck", Verdict.STRUCK), ("", None)):
        answer = doctor.http.post(
            path, data={"verdict": verdict}, headers={"X-Form-Token": doctor.form_token, "HX-Request": "true"}
        )
        assert answer.status_code == 200
        with database.reading() as session:
            row = session.get_one(Finding, finding)
            assert row.verdict is kept
            assert row.verdict_by_id == (county.doctor if kept else None)
    assert actions(database)[-3:] == ["finding_judged"] * 3


def test_an_operator_judges_nothing_and_nobody_judges_through_another_study(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    uid, other = add_study(database, county.township), add_study(database, county.township)
    [finding] = add_pre_read(database, uid, ("ecg_sinus_tachycardia", None))
    assert signed_in("operator").post(f"/studies/{uid}/findings/{finding}/verdict", verdict="struck").status_code == 403
    assert signed_in("doctor").post(f"/studies/{other}/findings/{finding}/verdict", verdict="struck").status_code == 404


def test_the_suggestion_leaves_struck_findings_out(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    struck, _ = add_pre_read(
        database, uid, ("ecg_critical_pause", None), ("ecg_sinus_tachycardia", None), measurements={"ecg_heart_rate": 118.0}
    )
    doctor = signed_in("doctor")
    assert 'data-impression="1. 长 RR 间期（危急值）' in doctor.get(f"/studies/{uid}").text
    doctor.post(f"/studies/{uid}/findings/{struck}/verdict", verdict="struck")
    page = doctor.get(f"/studies/{uid}").text
    assert 'data-impression="窦性心动过速"' in page
    assert "心室率 118 次/分" in page


def test_an_engine_of_an_earlier_revision_is_not_shown(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    add_pre_read(database, uid, ("ecg_critical_pause", None))
    with database.writing() as session:
        session.query(Study).filter_by(study_instance_uid=uid).one().revision = 2
    add_pre_read(database, uid, ("ecg_sinus_rhythm", None))
    page = signed_in("doctor").get(f"/studies/{uid}").text
    assert "窦性心律" in page
    assert "长 RR 间期" not in page


def test_the_page_speaks_the_readers_language(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township, state=StudyState.ARRIVING)
    page = signed_in(add_person(database, county.county, "smith", Role.DOCTOR, language="en")).get(f"/studies/{uid}").text
    assert "The AI reads when all images have arrived." in page
    assert "M 67 y" in page


def test_an_ecg_is_drawn_on_paper(
    settings: Settings, database: Database, county: County, running_archive: RunningArchive
) -> None:
    uid = add_study(database, county.township, modality="ECG")
    sop = add_ecg(database, uid, running_archive)
    app = create_app_on(running_archive, settings)
    doctor = Browser(app)
    doctor.enter(database, "doctor")
    assert f"/studies/{uid}/ecg/{sop}.svg" in doctor.get(f"/studies/{uid}").text
    answer = doctor.get(f"/studies/{uid}/ecg/{sop}.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.text.count('data-lead="') == 13
    assert doctor.get(f"/studies/{uid}/ecg/1.2.3.svg").status_code == 404


def create_app_on(running: RunningArchive, settings: Settings) -> FastAPI:
    """Return an application on the test's database and the session's archive."""
    app = create_app(settings)
    app.state.house = replace(app.state.house, archive=running.archive)
    return app


def add_ecg(database: Database, study_uid: str, running: RunningArchive) -> str:
    """Store a recording in the archive and its row in the database."""
    recording: Dataset = ecg_dataset(heart(regular(0.8)))
    recording.StudyInstanceUID = study_uid
    file = io.BytesIO()
    recording.save_as(file, enforce_file_format=True)
    file.seek(0)
    archive_id = running.archive.store(file)
    with database.writing() as session:
        study = session.query(Study).filter_by(study_instance_uid=study_uid).one()
        session.add(
            Instance(
                study_id=study.id,
                sop_instance_uid=str(recording.SOPInstanceUID),
                sop_class_uid=str(recording.SOPClassUID),
                series_instance_uid=str(recording.SeriesInstanceUID),
                transfer_syntax_uid=str(ExplicitVRLittleEndian),
                modality="ECG",
                size=len(file.getvalue()),
                sha256="0" * 64,
                door=Door.C_STORE,
                machine="here",
                received_at=now(),
                next_try_at=now(),
                archive_id=archive_id,
            )
        )
    return str(recording.SOPInstanceUID)
