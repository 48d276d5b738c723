"""A doctor's measurement beyond the page: rows that stay, the draft, FHIR, the printed sheet, and whose eyes it reaches."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import select

from api.draft_sentences import draft_of
from api.ecg_measuring import holding_values, measurements_of
from api.ecg_sheets import ecg_sheets
from api.house import House
from core.audit import verify
from core.tables import EcgMeasurement, PreRead, Role, User
from tests.api.conftest import add_person
from tests.api.ecg_house import PR, QT, RR, receive_ecg
from tests.api.film_house import FilmHouse, house, quick_hashes, study_of
from tests.api.test_fhir_results import empties, faults_of_npm

__all__ = ["house", "quick_hashes"]

JSON = {"Accept": "application/json"}


def measure(house: FilmHouse, uid: str, sop: str, **moved: float | None) -> None:
    """Move lines by ms, or take a wave away, as the signed-in doctor ``doctor``, and save; nothing moved takes it back."""
    token = house.sign_in(house.county.doctor)
    address = f"/studies/{uid}/ecg/{sop}"
    lines = house.client.get(f"{address}.json", headers=JSON).json()["lines"]
    for name, by in moved.items():
        lines[name] = None if by is None else lines[name] + by
    headers = {**JSON, "X-Form-Token": token}
    answer = house.client.post(f"{address}/measurement", json={"lines": lines if moved else None}, headers=headers)
    assert answer.status_code == 200, answer.text


def observations(house: FilmHouse, uid: str) -> list[dict[str, Any]]:
    house.sign_in(house.county.doctor)
    return [entry["resource"] for entry in house.client.get(f"/fhir/Observation?study={uid}").json()["entry"]]


def doctors(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the doctor's Observations by LOINC code."""
    return {one["code"]["coding"][0]["code"]: one for one in resources if "performer" in one}


def test_every_measurement_stays_and_the_newest_counts(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P70")
    measure(house, uid, sop, t_off=40)
    measure(house, uid, sop, t_off=60)
    with house.database.reading() as session:
        rows = session.scalars(select(EcgMeasurement).order_by(EcgMeasurement.id)).all()
        assert [row.values["ecg_qt"] for row in rows] == [pytest.approx(QT * 1000 + 40), pytest.approx(QT * 1000 + 60)]
        assert {(row.sop_instance_uid, row.rr_ms, row.measured_by_id) for row in rows} == {(sop, RR * 1000, house.county.doctor)}
        assert measurements_of(session, study_of(session, uid))[sop].id == rows[1].id
        assert verify(session)
    measure(house, uid, sop)
    with house.database.reading() as session:
        assert session.query(EcgMeasurement).count() == 3, "taking back removes nothing"
        assert measurements_of(session, study_of(session, uid)) == {}


def test_another_doctor_sees_who_measured(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P71")
    measure(house, uid, sop, t_off=40)
    add_person(house.database, house.county.county, "second", Role.DOCTOR)
    with house.database.reading() as session:
        second = session.scalars(select(User.id).where(User.username == "second")).one()
    house.sign_in(second)
    kept = house.client.get(f"/studies/{uid}/ecg/{sop}.json", headers=JSON).json()["doctor"]
    assert (kept["by"], kept["values"]["ecg_qt"]) == ("王医生", pytest.approx(QT * 1000 + 40))


def test_a_doctors_numbers_displace_the_machines_also_where_nothing_could_be_measured() -> None:
    machine = {"ecg_heart_rate": 75.0, "ecg_pr": 160.0, "ecg_qrs": 90.0, "ecg_qt": 380.0, "ecg_qtc_bazett": 425.0}
    row = EcgMeasurement(values={"ecg_qrs": 100.0, "ecg_qt": 400.0})
    assert holding_values(machine, row) == {"ecg_heart_rate": 75.0, "ecg_qrs": 100.0, "ecg_qt": 400.0}
    assert holding_values(machine, None) == machine


def test_the_draft_has_the_doctors_intervals(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P72")
    measure(house, uid, sop, t_off=40, p_on=None, p_off=None)
    with house.database.reading() as session:
        study = study_of(session, uid)
        pre_reads = session.scalars(select(PreRead)).all()
        measured: Mapping[str, EcgMeasurement] = measurements_of(session, study)
        assert draft_of(pre_reads, "zh").findings == (
            "心室率 75 次/分，PR 间期 160 ms，QRS 时限 90 ms，QT 间期 380 ms，QTc（Bazett） 425 ms。"
        )
        assert draft_of(pre_reads, "en", measured).findings.splitlines() == [
            "Ventricular rate 75 /min, QRS duration 90 ms, QT interval 420 ms, QTc (Bazett) 470 ms.",
            "Prolonged QTc interval.",
        ]


def test_the_empty_editor_starts_from_the_doctors_intervals(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P73")
    measure(house, uid, sop, t_off=40)
    token = house.sign_in(house.county.doctor)
    house.client.post(f"/studies/{uid}/claim", data={"form_token": token})
    page = house.client.get(f"/studies/{uid}", headers={"Accept": "text/html"}).text
    assert "QT 间期 420 ms" in page
    assert "QT 间期 380 ms" not in page


def test_the_printed_sheet_says_who_measured(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P74")
    measure(house, uid, sop, t_off=40)
    web: House = house.client.app.state.house  # type: ignore[attr-defined]
    with house.database.reading() as session:
        (sheet,) = ecg_sheets(session, web, study_of(session, uid))
    assert sheet.numbers[:4] == ["心室率 75 次/分", "PR 间期 160 ms", "QRS 时限 90 ms", "QT 间期 420 ms"]
    assert (sheet.measured_by, sheet.model) == ("王医生", "test model 1.0")
    assert base64.b64decode(sheet.picture.split(",")[1]).startswith(b"<svg")


def test_fhir_gives_the_doctors_intervals_with_performer_and_method(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P75")
    measure(house, uid, sop, t_off=40)
    found = doctors(observations(house, uid))
    assert set(found) == {"8625-6", "8633-0", "8634-8", "76635-2", "8636-3"}
    qt = found["8634-8"]
    assert (qt["status"], qt["valueQuantity"]["value"]) == ("preliminary", 420)
    assert qt["method"]["coding"][0]["code"] == "87982008"
    assert qt["performer"] == [{"reference": "#doctor"}]
    assert qt["contained"][1] == {"resourceType": "Practitioner", "id": "doctor", "name": [{"text": "王医生"}]}
    assert qt["derivedFrom"][0]["identifier"]["value"] == f"urn:oid:{sop}"
    assert qt["id"].isascii()
    assert "_" not in qt["id"], "R4 datatypes: letters, digits, - and . only"
    assert house.client.get(f"/fhir/Observation/{qt['id']}").json() == qt
    assert house.client.get(f"/fhir/Observation/{qt['id']}x").status_code == 404
    assert empties(found) == []
    assert faults_of_npm(list(found.values())) == []


def test_a_report_refers_to_the_doctors_intervals_and_not_to_the_machines(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P76")
    measure(house, uid, sop, t_off=40)
    house.sign_report(uid)
    found = observations(house, uid)
    assert {one["status"] for one in doctors(found).values()} == {"final"}, "signed after it was measured"
    (entry,) = house.client.get(f"/fhir/DiagnosticReport?study={uid}").json()["entry"]
    referred = {one["reference"].removeprefix("Observation/") for one in entry["resource"]["result"]}
    machine = {one["id"]: one["code"]["coding"][0]["code"] for one in found if "device" in one}
    assert {machine[one] for one in referred & machine.keys()} == {"8867-4", "8637-1"}, "rate and RR alone"
    assert {one["id"] for one in doctors(found).values()} <= referred


def test_what_was_measured_again_or_taken_back_is_entered_in_error(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P77")
    measure(house, uid, sop, t_off=40)
    first = doctors(observations(house, uid))["8634-8"]
    measure(house, uid, sop, t_off=60)
    second = doctors(observations(house, uid))["8634-8"]
    assert house.client.get(f"/fhir/Observation/{first['id']}").json()["status"] == "entered-in-error"
    assert house.client.get(f"/fhir/Observation/{second['id']}").json()["status"] == "preliminary"
    measure(house, uid, sop)
    assert doctors(observations(house, uid)) == {}
    assert house.client.get(f"/fhir/Observation/{second['id']}").json()["status"] == "entered-in-error"


def test_a_foreign_township_gets_no_doctors_interval(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P78")
    measure(house, uid, sop, t_off=40)
    qt = doctors(observations(house, uid))["8634-8"]
    house.sign_in(house.county.operator)
    assert house.client.get(f"/fhir/Observation/{qt['id']}").status_code == 404


def test_a_measured_pr_is_of_the_lines(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P79")
    measure(house, uid, sop, p_on=-20)
    assert doctors(observations(house, uid))["8625-6"]["valueQuantity"]["value"] == round(PR * 1000 + 20)
