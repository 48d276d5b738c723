"""The recording as the page gets it, the earlier one beside it, a doctor's measurement, and the sheet on the report."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest
import weasyprint
from fastapi.testclient import TestClient

from api.ecg_comparison import changes
from api.ecg_evidence import LINES
from api.ecg_measuring import LinesOutOfOrder, values_of
from api.house import House
from api.report_pdf import compose, sheet_html
from api.reports import signed_report
from api.web.ecg_signal import PIECE_SECONDS, signal_of
from inference.ecg.leads import LEADS
from inference.ecg.waveform import Ecg, Filters
from inference.vocabulary.terms import vocabulary
from tests.api.ecg_house import PR, QRS, QT, RR, receive_ecg
from tests.api.film_house import FilmHouse, house, quick_hashes, study_of

__all__ = ["house", "quick_hashes"]

JSON = {"Accept": "application/json"}


def told(client: TestClient, uid: str, sop: str) -> Any:
    answer = client.get(f"/studies/{uid}/ecg/{sop}.json", headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


def recording(seconds: float, microvolts: float = 1000.0) -> Ecg:
    """Twelve leads whose samples are a slow ramp on an offset of 50 mV."""
    ramp = np.linspace(0, microvolts, round(seconds * 500), dtype=np.float32) + 50_000
    return Ecg(sop_instance_uid="1.2", leads=LEADS, microvolts=np.tile(ramp, (12, 1)), sampling_rate=500.0, filters=Filters())


def samples(signal: dict[str, Any]) -> Any:
    stored = np.frombuffer(base64.b64decode(signal["samples"]), dtype="<i2").reshape(len(signal["leads"]), -1)
    return stored.astype(float) * signal["microvolts_per_step"]


def test_the_page_gets_every_sample_to_the_microvolt_without_the_devices_offset() -> None:
    ecg = recording(10)
    got = samples(signal_of(ecg, "en"))
    assert got.shape == (12, 5000)
    assert np.abs(got - (ecg.microvolts - np.median(ecg.microvolts, axis=1, keepdims=True))).max() <= 0.5


def test_what_does_not_fit_sixteen_bits_gets_a_coarser_step_and_no_overflow() -> None:
    ecg = recording(10, microvolts=200_000)
    signal = signal_of(ecg, "en")
    assert signal["microvolts_per_step"] > 1
    assert np.ptp(samples(signal)) == pytest.approx(200_000, rel=1e-3)


def test_a_long_recording_comes_in_pieces() -> None:
    ecg = recording(300)
    first, second = signal_of(ecg, "en"), signal_of(ecg, "en", start=250)
    assert samples(first).shape[1] == PIECE_SECONDS * 500
    assert (second["start"], samples(second).shape[1], second["seconds"]) == (250, 50 * 500, 300)
    assert np.allclose(samples(second)[0, 0], 1000 * 250 / 300 - 500, atol=1)


def test_the_lines_say_the_stored_intervals(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P1")
    house.sign_in(house.county.doctor)
    page = told(house.client, uid, sop)
    assert list(page["lines"]) == list(LINES)
    said = values_of(page["lines"], page["rr_ms"])
    assert said == {code: pytest.approx(page["values"][code], abs=0.2) for code in said}
    assert said["ecg_pr"] == pytest.approx(PR * 1000, abs=0.2)
    assert page["rr_ms"] == pytest.approx(RR * 1000)
    assert len(page["beats"]) == 12
    assert page["paper"]["layouts"]["6x2"]["rows"][0] == ["I", "V1"]


def test_a_doctors_lines_are_kept_with_who_and_when_and_taken_back(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P2")
    token = house.sign_in(house.county.doctor)
    address = f"/studies/{uid}/ecg/{sop}/measurement"
    lines = {**told(house.client, uid, sop)["lines"]}
    lines["t_off"] += 40
    answer = house.client.post(address, json={"lines": lines}, headers={**JSON, "X-Form-Token": token})
    assert answer.status_code == 200, answer.text
    kept = told(house.client, uid, sop)["doctor"]
    assert kept["by"] == "王医生"
    assert kept["values"]["ecg_qt"] == pytest.approx(QT * 1000 + 40, abs=0.2)
    assert kept["values"]["ecg_qrs"] == pytest.approx(QRS * 1000, abs=0.2)
    assert kept["values"]["ecg_qtc_bazett"] == pytest.approx((QT * 1000 + 40) / RR**0.5, abs=0.3)
    [event] = house.events("ecg_measured")
    assert (event.actor, event.subject, event.detail["sop_instance_uid"]) == ("user:doctor", f"study:{uid}", sop)
    assert told(house.client, uid, sop)["values"]["ecg_qt"] == pytest.approx(QT * 1000), "the pre-read stays as it was"
    house.client.post(address, json={"lines": None}, headers={**JSON, "X-Form-Token": token})
    assert told(house.client, uid, sop)["doctor"] is None
    assert len(house.events("ecg_measurement_taken_back")) == 1


def test_nobody_measures_without_the_right_or_without_our_own_page(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P3")
    address, body = f"/studies/{uid}/ecg/{sop}/measurement", {"lines": None}
    assert house.client.post(address, json=body, headers=JSON).status_code == 401
    house.sign_in(house.county.doctor)
    assert house.client.post(address, json=body, headers=JSON).status_code == 403
    token = house.sign_in(house.county.operator)
    assert house.client.post(address, json=body, headers={**JSON, "X-Form-Token": token}).status_code == 403
    assert house.events("ecg_measurement_taken_back") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"qrs_on": 40, "qrs_off": -40},
        {"qrs_on": None},
        {"p_off": -20},
        {"t_off": 30},
        {"t_off": 5_000},
    ],
)
def test_lines_that_no_heart_draws_are_refused(wrong: dict[str, float | None]) -> None:
    lines = {"p_on": -200.0, "p_off": -100.0, "qrs_on": -40.0, "qrs_off": 40.0, "t_on": 150.0, "t_off": 340.0}
    assert values_of(lines, 1000)["ecg_qtc_bazett"] == 380
    with pytest.raises(LinesOutOfOrder):
        values_of({**lines, **wrong}, 1000)


def test_a_wave_that_the_doctor_does_not_see_measures_nothing() -> None:
    assert values_of({"qrs_on": -40.0, "qrs_off": 40.0}, None) == {"ecg_qrs": 80}


def test_the_patients_earlier_ecgs_are_offered_and_no_one_elses(house: FilmHouse) -> None:
    oldest, _ = receive_ecg(house, "P4", hours_ago=3000, pr=0.2)
    old, _ = receive_ecg(house, "P4", hours_ago=20)
    other, _ = receive_ecg(house, "P5", hours_ago=20)
    uid, sop = receive_ecg(house, "P4", hours_ago=1)
    later, _ = receive_ecg(house, "P4")
    house.sign_in(house.county.doctor)
    assert [one["study"] for one in told(house.client, uid, sop)["earlier"]] == [old, oldest]
    beside = house.client.get(f"/studies/{uid}/ecg/{sop}/beside/{oldest}", headers=JSON).json()
    assert beside["values"]["ecg_pr"] == pytest.approx(200)
    assert samples(beside["signal"]).shape == (12, 5000)
    [event] = house.events("ecg_compared")
    assert (event.subject, event.detail) == (f"study:{oldest}", {"beside": uid})
    for stranger in (other, later, uid):
        assert house.client.get(f"/studies/{uid}/ecg/{sop}/beside/{stranger}", headers=JSON).status_code == 404


def test_a_township_gets_no_samples_of_a_foreign_study(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P6")
    house.sign_in(house.county.operator)
    for path in (".json", ".svg", "/beside/1.2.3"):
        assert house.client.get(f"/studies/{uid}/ecg/{sop}{path}", headers=JSON).status_code == 404, path


def test_the_servers_drawing_takes_the_pages_layout_speed_and_gain(house: FilmHouse) -> None:
    uid, sop = receive_ecg(house, "P7", kinds=True)
    house.sign_in(house.county.doctor)
    drawn = house.client.get(f"/studies/{uid}/ecg/{sop}.svg?layout=12x1&speed=50&gain=20").text
    assert "50 mm/s 20 mm/mV</title>" in drawn
    assert ">V</text>" in drawn, "the fourth beat is annotated"
    assert ">800</text>" in drawn, "RR in ms"
    page = house.client.get(f"/studies/{uid}", headers={"Accept": "text/html"}).text
    assert f'<noscript><img src="/studies/{uid}/ecg/{sop}.svg"' in page


def test_every_number_that_can_change_is_one_of_the_vocabulary() -> None:
    assert changes().keys() <= vocabulary().measurements.keys()
    assert all(limit > 0 for limit in changes().values())


def test_the_reports_ecg_is_a_landscape_page_on_which_a_millimetre_is_a_millimetre(house: FilmHouse) -> None:
    uid, _ = receive_ecg(house, "P8")
    house.sign_report(uid)
    web: House = house.client.app.state.house  # type: ignore[attr-defined]
    with house.database.reading() as session:
        doctor, study = house.person(session, house.county.doctor), study_of(session, uid)
        version = signed_report(session, study)
        assert version is not None
        assert version.signed_at is not None
        paper = sheet_html(web, compose(session, web, doctor, study, version, version.signed_at))
    text, ecg = weasyprint.HTML(string=paper).render().pages
    millimetre = 96 / 25.4
    assert (round(text.width / millimetre), round(text.height / millimetre)) == (210, 297)
    assert (round(ecg.width / millimetre), round(ecg.height / millimetre)) == (297, 210)
    [sheet] = [box for box in ecg._page_box.descendants() if box.element_tag == "img"]
    drawn = base64.b64decode(sheet.element.get("src").split(",")[1]).decode()
    width, height = re.findall(r'(?:width|height)="([\d.]+)mm"', drawn)[:2]
    assert sheet.width / millimetre == pytest.approx(float(width))
    assert sheet.height / millimetre == pytest.approx(float(height))
    assert sheet.position_x >= 0
    assert sheet.position_x + sheet.width <= ecg.width
