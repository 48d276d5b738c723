"""A corrected statement and a corrected interval on their whole way: page, draft, signature, paper, archive, FHIR, addendum."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from sqlalchemy import select

from api.house import House
from api.report_pdf import compose, sheet_html
from api.reports import signed_report
from core.audit import verify
from core.lifecycles.study import StudyState
from core.tables import Door, Finding, Instance, PreRead
from pacs_bridge.delivery import Courier
from tests.api.ecg_house import QT, RR, receive_ecg
from tests.api.film_house import FilmHouse, house, quick_hashes, study_of
from tests.conftest import PASSWORD, drain
from tests.inference.test_ecg_signed_object import below
from tests.inference.test_structured_report import errors_of, meaning, numbers_of, walk

__all__ = ["house", "quick_hashes"]


class Doctor:
    """The county's doctor at the reading page of one ECG."""

    def __init__(self, house: FilmHouse, uid: str, sop: str) -> None:
        self.house, self.uid, self.sop = house, uid, sop
        self.token = house.sign_in(house.county.doctor)

    def post(self, path: str, **fields: str) -> None:
        """Send a form of the page."""
        form = {"form_token": self.token, **fields}
        answer = self.house.client.post(f"/studies/{self.uid}{path}", data=form, follow_redirects=False)
        assert answer.status_code in (200, 303), answer.text

    def measure(self, **moved: float) -> None:
        """Move lines by ms and save."""
        address, headers = f"/studies/{self.uid}/ecg/{self.sop}", {"Accept": "application/json", "X-Form-Token": self.token}
        lines = self.house.client.get(f"{address}.json", headers=headers).json()["lines"]
        lines |= {name: lines[name] + by for name, by in moved.items()}
        assert self.house.client.post(f"{address}/measurement", json={"lines": lines}, headers=headers).status_code == 200

    def fhir(self, kind: str) -> list[dict[str, Any]]:
        """Return what a search by the study finds."""
        found = self.house.client.get(f"/fhir/{kind}?study={self.uid}").json()
        return [entry["resource"] for entry in found["entry"]]

    def documents(self, folder: Path) -> list[Dataset]:
        """Deliver what waits in the spool, and return our own documents as the archive gives them back, oldest first."""
        courier = Courier(self.house.settings, self.house.database, self.house.archive)
        drain(courier)
        with self.house.database.reading() as session:
            query = select(Instance).where(Instance.door == Door.OURS).order_by(Instance.id)
            rows = [(row.id, row.archive_id or "") for row in session.scalars(query)]
        return [pydicom.dcmread(self.house.archive.fetch(archive_id, folder / f"{key}.dcm")) for key, archive_id in rows]

    def paper(self) -> str:
        """Return the page that the signed paper was printed from."""
        web: House = self.house.client.app.state.house  # type: ignore[attr-defined]
        with self.house.database.reading() as session:
            doctor, study = self.house.person(session, self.house.county.doctor), study_of(session, self.uid)
            version = signed_report(session, study)
            assert version is not None
            assert version.signed_at is not None
            return sheet_html(web, compose(session, web, doctor, study, version, version.signed_at))


@pytest.fixture
def doctor(house: FilmHouse) -> Doctor:
    """A doctor before an ECG of which a machine says: sinus rhythm, long QTc."""
    uid, sop = receive_ecg(house, "P60")
    with house.database.writing() as session:
        study_of(session, uid).state = StudyState.SETTLED
        pre_read = session.scalars(select(PreRead)).one()
        for code, probability in (("ecg_sinus_rhythm", 0.97), ("ecg_prolonged_qtc", 0.61)):
            session.add(Finding(pre_read_id=pre_read.id, code=code, probability=probability))
    return Doctor(house, uid, sop)


def test_what_a_doctor_corrects_is_corrected_everywhere(doctor: Doctor, tmp_path: Path) -> None:
    house = doctor.house
    with house.database.reading() as session:
        rhythm, qtc = session.scalars(select(Finding.id).order_by(Finding.id))
    doctor.post(f"/findings/{rhythm}/verdict", verdict="accepted")
    doctor.post(f"/findings/{qtc}/verdict", verdict="struck")
    doctor.measure(t_off=-20)
    doctor.post("/claim")

    # The draft speaks with the doctor's verdicts and intervals.
    page = house.client.get(f"/studies/{doctor.uid}", headers={"Accept": "text/html"}).text
    assert "QT 间期 360 ms" in page
    doctor.post("/report/sign", password=PASSWORD, findings="窦性心律，QT 间期 360 ms。", impression="窦性心律，QTc 正常。")

    # The paper: the doctor's words, and under the curves the doctor's interval.
    pdf = house.client.get(f"/studies/{doctor.uid}/report.pdf").content
    assert pdf.startswith(b"%PDF")
    paper = doctor.paper()
    for words in ("窦性心律，QTc 正常。", "QT 间期 360 ms", "王医生在平均心搏上测量"):
        assert words in paper, words
    assert "QT 间期 380 ms" not in paper

    # The archive: a verified document with the same words and numbers.
    (document,) = doctor.documents(tmp_path)
    assert errors_of(document, tmp_path) == []
    assert (document.StudyInstanceUID, document.VerificationFlag, document.PreliminaryFlag) == (doctor.uid, "VERIFIED", "FINAL")
    numbers = numbers_of(document)
    assert numbers[("MDC", "2:16160")] == pytest.approx(QT * 1000 - 20)
    assert numbers[("MDC", "2:16168")] == pytest.approx(RR * 1000)
    assert below(document, "QT interval global")["Person Observer Name"].endswith("=王医生")
    assert below(document, "RR interval global")["Device Observer Name"] == "test model"
    items = list(walk(document.ContentSequence))
    coded = [item for item in items if item.ValueType == "CODE" and meaning(item) == "ECG Finding"]
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in coded] == ["Sinus Rhythm"], "what was struck is not there"
    assert "窦性心律，QTc 正常。" in [str(item.TextValue) for item in items if item.ValueType == "TEXT"]

    # FHIR: final, the doctor's interval in the place of the machine's, the struck statement in error.
    (report,) = doctor.fhir("DiagnosticReport")
    assert (report["status"], report["conclusion"]) == ("final", "窦性心律，QTc 正常。")
    assert hashlib.sha256(pdf).hexdigest() in report["presentedForm"][0]["title"]
    observations = {one["id"]: one for one in doctor.fhir("Observation")}
    referred = [observations[one["reference"].removeprefix("Observation/")] for one in report["result"]]
    qt = [one for one in referred if one["code"]["coding"][0]["code"] == "8634-8"]
    assert [(one["status"], one["valueQuantity"]["value"], "performer" in one) for one in qt] == [("final", 360, True)]
    assert f"f{qtc}" not in {one["id"] for one in referred}
    assert observations[f"f{qtc}"]["status"] == "entered-in-error"

    # An addendum corrects the correction; the document before stays, and the new one names it.
    doctor.post("/report/amend")
    doctor.measure(t_off=20)
    doctor.post("/report/sign", password=PASSWORD, findings="窦性心律，QT 间期 400 ms。", impression="窦性心律。")
    first, second = doctor.documents(tmp_path)
    assert first.SOPInstanceUID == document.SOPInstanceUID
    assert (second.SeriesInstanceUID, second.InstanceNumber) == (first.SeriesInstanceUID, 2)
    named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert numbers_of(second)[("MDC", "2:16160")] == pytest.approx(QT * 1000 + 20)
    assert errors_of(second, tmp_path) == []
    (report,) = doctor.fhir("DiagnosticReport")
    assert (report["status"], report["conclusion"]) == ("amended", "窦性心律。")
    with house.database.reading() as session:
        assert study_of(session, doctor.uid).reported_at is not None, "our own document is no news of the study"
        verify(session)


def test_a_signature_of_an_ecg_that_the_archive_has_lost_makes_no_document(doctor: Doctor, tmp_path: Path) -> None:
    with doctor.house.database.writing() as session:
        session.scalars(select(Instance).where(Instance.sop_instance_uid == doctor.sop)).one().archive_id = None
    doctor.post("/claim")
    doctor.post("/report/sign", password=PASSWORD, impression="窦性心律。")
    assert doctor.documents(tmp_path) == []
    (report,) = doctor.fhir("DiagnosticReport")
    assert report["status"] == "final"
