"""Results over FHIR: who may ask, what a report's status says, which codes a number has, and what HL7's own tool thinks of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.fhir_codes import tables
from core.clock import now
from core.database import Database
from core.lifecycles.report import ReportState
from core.passwords import new_token, token_hash
from core.tables import AuditEvent, Device, Finding, Report, ReportVersion, Study, Verdict
from inference.vocabulary.terms import vocabulary
from tests.api.conftest import Browser, add_pre_read, add_study
from tests.conftest import County

NUMBERS = {"ecg_heart_rate": 131.0, "ecg_pr": 162.0, "ecg_qrs": 92.0, "ecg_qtc_bazett": 424.4, "ecg_sokolow_lyon": 2.113}
SignedIn = Callable[[str], Browser]


@pytest.fixture
def ecg(database: Database, county: County) -> str:
    """A township's ECG with its pre-read."""
    uid = add_study(database, county.township, modality="ECG")
    add_pre_read(database, uid, ("ecg_sinus_tachycardia", None), ("ecg_atrial_fibrillation", 0.834), measurements=NUMBERS)
    return uid


def sign(database: Database, county: County, uid: str, *impressions: str, state: ReportState = ReportState.FINAL) -> None:
    """Sign one version after the other."""
    with database.writing() as session:
        study = session.query(Study).filter_by(study_instance_uid=uid).one()
        report = Report(study_id=study.id, state=state, created_at=now())
        report.versions = [
            ReportVersion(
                number=number,
                author_id=county.doctor,
                findings="P < QRS & T",
                impression=impression,
                saved_at=now(),
                signed_at=now(),
                signed_by_id=county.doctor,
                pdf_sha256="cd" * 32,
            )
            for number, impression in enumerate(impressions, start=1)
        ]
        session.add(report)


def report_of(browser: Browser, uid: str) -> dict[str, Any]:
    """Return the one report that a search by study finds."""
    found = browser.json("/fhir/DiagnosticReport", study=uid)
    assert (found["type"], found["total"]) == ("searchset", 1)
    resource: dict[str, Any] = found["entry"][0]["resource"]
    return resource


def observations_of(browser: Browser, uid: str) -> dict[str, dict[str, Any]]:
    """Return a study's observations by the first code of their value or their name."""
    found = browser.json("/fhir/Observation", study=uid)
    resources = [entry["resource"] for entry in found["entry"]]
    assert found["total"] == len(resources)
    return {one.get("valueCodeableConcept", one["code"])["coding"][0]["code"]: one for one in resources}


def test_a_study_that_only_machines_have_read_is_preliminary(signed_in: SignedIn, ecg: str) -> None:
    doctor = signed_in("doctor")
    report = report_of(doctor, ecg)
    assert report["status"] == "preliminary"
    assert "conclusion" not in report
    assert len(report["result"]) == len(NUMBERS) + 2
    assert report["code"]["coding"][0] == {"system": "http://loinc.org", "code": "11524-6", "display": "EKG study"}
    assert doctor.json(f"/fhir/DiagnosticReport/{report['id']}") == report


def test_a_study_that_nobody_has_read_is_registered(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    assert report_of(signed_in("doctor"), uid)["status"] == "registered"


def test_a_signed_report_is_final_and_an_addendum_makes_it_amended(
    signed_in: SignedIn, database: Database, county: County, ecg: str
) -> None:
    other = add_study(database, county.township, modality="ECG")
    sign(database, county, ecg, "窦性心动过速")
    sign(database, county, other, "窦性心律", "窦性心律，一度房室传导阻滞")
    doctor = signed_in("doctor")
    report, amended = report_of(doctor, ecg), report_of(doctor, other)
    assert (report["status"], report["conclusion"]) == ("final", "窦性心动过速")
    assert report["resultsInterpreter"] == [{"display": "王医生"}]
    assert "P &lt; QRS &amp; T" in report["text"]["div"]
    assert report["presentedForm"][0]["url"].endswith(f"/studies/{ecg}/report.pdf?version=1")
    assert (amended["status"], amended["conclusion"]) == ("amended", "窦性心律，一度房室传导阻滞")


def test_while_an_addendum_is_written_the_signed_words_stay(
    signed_in: SignedIn, database: Database, county: County, ecg: str
) -> None:
    sign(database, county, ecg, "窦性心动过速", state=ReportState.AMENDING)
    with database.writing() as session:
        report = session.query(Report).one()
        session.add(ReportVersion(report=report, number=2, author_id=county.doctor, impression="草稿", saved_at=now()))
    told = report_of(signed_in("doctor"), ecg)
    assert (told["status"], told["conclusion"]) == ("final", "窦性心动过速")
    assert "草稿" not in json.dumps(told, ensure_ascii=False)


def test_a_draft_that_nobody_signed_does_not_leave(signed_in: SignedIn, database: Database, county: County, ecg: str) -> None:
    with database.writing() as session:
        study = session.query(Study).filter_by(study_instance_uid=ecg).one()
        report = Report(study_id=study.id, state=ReportState.DRAFT, created_at=now())
        report.versions = [ReportVersion(number=1, author_id=county.doctor, impression="草稿", saved_at=now())]
        session.add(report)
    told = report_of(signed_in("doctor"), ecg)
    assert told["status"] == "preliminary"
    assert "草稿" not in json.dumps(told, ensure_ascii=False)


def test_a_final_report_refers_to_numbers_and_to_what_the_doctor_accepted(
    signed_in: SignedIn, database: Database, county: County, ecg: str
) -> None:
    sign(database, county, ecg, "窦性心动过速")
    with database.writing() as session:
        accepted, struck = session.query(Finding).order_by(Finding.id)
        accepted.verdict, struck.verdict = Verdict.ACCEPTED, Verdict.STRUCK
        names = {f"Observation/f{accepted.id}", f"Observation/f{struck.id}"}
    doctor = signed_in("doctor")
    referred = {one["reference"] for one in report_of(doctor, ecg)["result"]}
    assert referred & names == {f"Observation/f{accepted.id}"}
    assert len(referred) == len(NUMBERS) + 1
    observations = observations_of(doctor, ecg)
    assert observations["AFIB"]["status"] == "entered-in-error"
    assert observations["664624"]["status"] == "preliminary"


def test_a_number_has_its_loinc_code_its_unit_its_limits_and_both_names(signed_in: SignedIn, ecg: str) -> None:
    observations = observations_of(signed_in("doctor"), ecg)
    pr = observations["8625-6"]
    assert pr["status"] == "preliminary"
    assert pr["valueQuantity"] == {"value": 162, "unit": "ms", "system": "http://unitsofmeasure.org", "code": "ms"}
    assert {"system": "urn:iso:std:iso:11073:10101", "code": "146944", "display": "PR interval global"} in pr["code"]["coding"]
    assert pr["code"]["text"] == "PR 间期"
    english = pr["code"]["_text"]["extension"][0]["extension"]
    assert english == [{"url": "lang", "valueCode": "en"}, {"url": "content", "valueString": "PR interval"}]
    assert (pr["referenceRange"][0]["low"]["value"], pr["referenceRange"][0]["high"]["value"]) == (120, 200)
    assert pr["interpretation"][0]["coding"][0]["code"] == "N"
    assert observations["8867-4"]["interpretation"][0]["coding"][0]["code"] == "H"
    assert observations["ecg_sokolow_lyon"]["valueQuantity"]["value"] == 2.11


def test_a_finding_names_the_model_and_its_probability(signed_in: SignedIn, ecg: str) -> None:
    finding = observations_of(signed_in("doctor"), ecg)["AFIB"]
    assert finding["component"][0]["valueQuantity"]["value"] == 83.4
    device = next(one for one in finding["contained"] if one["resourceType"] == "Device")
    assert device["version"] == [{"type": {"text": "test model"}, "value": "1.0"}]
    assert {"text": "ab" * 32} in [value for one in device["property"] for value in one["valueCode"]]
    assert finding["device"] == {"reference": "#device"}
    assert "未经医师签发" in finding["note"][0]["text"]


def test_a_search_finds_by_study_accession_identifier_patient_and_code(signed_in: SignedIn, database: Database, ecg: str) -> None:
    with database.reading() as session:
        study = session.query(Study).filter_by(study_instance_uid=ecg).one()
        accession, patient = study.accession_number, study.patient.identifier
    doctor = signed_in("doctor")
    for asked in (
        {"study": f"urn:oid:{ecg}"},
        {"accession": accession},
        {"identifier": f"urn:dicom:uid|urn:oid:{ecg}"},
        {"identifier": accession},
        {"patient.identifier": f"http://hospital|{patient}"},
        {"study": ecg, "accession": accession},
    ):
        assert doctor.json("/fhir/DiagnosticReport", **asked)["total"] == 1, asked
    assert doctor.json("/fhir/DiagnosticReport", study=ecg, accession="another")["total"] == 0
    only = doctor.json("/fhir/Observation", study=ecg, code="http://loinc.org|8625-6")
    assert [entry["resource"]["valueQuantity"]["value"] for entry in only["entry"]] == [162]


def test_a_patients_many_studies_come_in_pages(signed_in: SignedIn, database: Database, county: County, ecg: str) -> None:
    with database.writing() as session:
        patient = session.query(Study).filter_by(study_instance_uid=ecg).one().patient
        identifier, key = patient.identifier, patient.id
    for _ in range(2):
        uid = add_study(database, county.township)
        with database.writing() as session:
            session.query(Study).filter_by(study_instance_uid=uid).one().patient_id = key
    doctor = signed_in("doctor")
    seen: list[str] = []
    address = f"/fhir/DiagnosticReport?patient.identifier={identifier}&_count=2"
    while address:
        page = doctor.http.get(address).json()
        assert page["total"] == 3
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        links = {link["relation"]: link["url"] for link in page["link"]}
        address = links.get("next", "").partition("/fhir")[2]
        address = address and "/fhir" + address
    assert len(set(seen)) == len(seen) == 3


def outcome(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Return the one issue of an OperationOutcome."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/fhir+json"
    assert answer.json()["resourceType"] == "OperationOutcome"
    (issue,) = answer.json()["issue"]
    assert (issue["severity"], issue["code"]) == ("error", code)
    assert issue["details"]["text"]
    assert issue["diagnostics"]
    return dict(issue)


def test_errors_are_operation_outcomes_with_remedies(signed_in: SignedIn, app: FastAPI) -> None:
    doctor = signed_in("doctor")
    outcome(doctor.get("/fhir/DiagnosticReport/99999"), 404, "not-found")
    outcome(doctor.get("/fhir/DiagnosticReport/x"), 404, "not-found")
    outcome(doctor.get("/fhir/Observation/z1"), 404, "not-found")
    issue = outcome(doctor.get("/fhir/Observation"), 400, "invalid")
    assert "accession=" in issue["diagnostics"]
    outcome(doctor.get("/fhir/Observation?study=1&_count=0"), 422, "invalid")
    outcome(TestClient(app).get("/fhir/DiagnosticReport?study=1"), 401, "login")
    outcome(TestClient(app).get("/fhir/Observation/m1", headers={"Authorization": "Bearer none"}), 401, "login")


def test_another_township_sees_nothing_and_the_answer_does_not_tell(
    signed_in: SignedIn, database: Database, county: County, ecg: str
) -> None:
    elsewhere = add_study(database, county.other_township, modality="ECG")
    add_pre_read(database, elsewhere, measurements={"ecg_pr": 170.0})
    doctor, operator = signed_in("doctor"), signed_in("operator")
    report = report_of(doctor, elsewhere)
    (number,) = observations_of(doctor, elsewhere).values()
    outcome(operator.get(f"/fhir/DiagnosticReport/{report['id']}"), 404, "not-found")
    outcome(operator.get(f"/fhir/Observation/{number['id']}"), 404, "not-found")
    assert operator.json("/fhir/DiagnosticReport", study=elsewhere)["total"] == 0
    assert operator.json("/fhir/Observation", study=elsewhere)["entry"] == []
    assert report_of(operator, ecg)["status"] == "preliminary"


@pytest.fixture
def his(app: FastAPI, database: Database, county: County) -> tuple[TestClient, dict[str, str]]:
    """The township's hospital information system, which has a device's token."""
    token = new_token()
    with database.writing() as session:
        session.get_one(Device, county.device).token_hash = token_hash(token)
        session.get_one(Device, county.device).may_query = True
    return TestClient(app), {"Authorization": f"Bearer {token}"}


def test_a_device_with_a_token_sees_its_organisation_if_it_may_query(
    his: tuple[TestClient, dict[str, str]], database: Database, county: County, ecg: str
) -> None:
    client, bearer = his
    elsewhere = add_study(database, county.other_township)
    assert client.get(f"/fhir/DiagnosticReport?study={ecg}", headers=bearer).json()["total"] == 1
    assert client.get(f"/fhir/DiagnosticReport?study={elsewhere}", headers=bearer).json()["total"] == 0
    with database.writing() as session:
        session.get_one(Device, county.device).may_query = False
    outcome(client.get(f"/fhir/DiagnosticReport?study={ecg}", headers=bearer), 403, "forbidden")
    with database.writing() as session:
        session.get_one(Device, county.device).may_query = True
        session.get_one(Device, county.device).dismissed_at = now()
    outcome(client.get(f"/fhir/DiagnosticReport?study={ecg}", headers=bearer), 401, "login")


def test_every_look_leaves_its_trace_under_the_study(
    his: tuple[TestClient, dict[str, str]], signed_in: SignedIn, database: Database, ecg: str
) -> None:
    client, bearer = his
    report = report_of(signed_in("doctor"), ecg)
    client.get(f"/fhir/DiagnosticReport/{report['id']}", headers=bearer)
    client.get("/fhir/Observation?accession=nothing", headers=bearer)
    with database.reading() as session:
        events = [
            (event.actor, event.action, event.detail["resource"])
            for event in session.query(AuditEvent).filter_by(subject=f"study:{ecg}").order_by(AuditEvent.id)
        ]
    assert events == [
        ("user:doctor", "fhir_searched", "DiagnosticReport"),
        ("device:TOWNSHIP_DR", "fhir_read", f"DiagnosticReport/{report['id']}"),
    ]


def test_every_loinc_code_is_of_a_measurement_and_has_its_check_digit() -> None:
    assert set(tables()["loinc"]) <= set(vocabulary().measurements)
    codes = [row["code"] for kind in ("loinc", "report") for row in tables()[kind].values()]
    assert codes
    for code in codes:
        number, _, check = code.partition("-")
        odd, even = number[::-1][::2], number[::-1][1::2]
        total = sum(int(digit) for digit in str(int(odd) * 2) + even)
        assert int(check) == -total % 10, code


def test_every_scheme_of_the_vocabulary_has_its_system() -> None:
    words = vocabulary()
    schemes = {term.concept.scheme for term in words.findings.values()}
    schemes |= {term.concept.scheme for term in words.measurements.values()}
    assert schemes <= set(tables()["system"])


def all_resources(browser: Browser, uid: str) -> list[dict[str, Any]]:
    """Return everything that is said of a study, and the bundles that say it."""
    bundles = [browser.json(f"/fhir/{kind}", study=uid) for kind in ("DiagnosticReport", "Observation")]
    refusal = browser.json("/fhir/DiagnosticReport/0")
    return [*bundles, *(entry["resource"] for found in bundles for entry in found["entry"]), refusal]


def empties(value: Any, path: str = "") -> list[str]:
    """Return where a resource holds what FHIR forbids: empty strings, lists and objects, and nulls (R4 json, 2.6.2)."""
    if value in ("", None, [], {}):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in inner for found in empties(one, f"{path}.{key}")]


def test_resources_have_no_empty_elements_and_all_that_r4_demands(
    signed_in: SignedIn, database: Database, county: County, ecg: str
) -> None:
    sign(database, county, ecg, "窦性心动过速")
    demanded = {
        "DiagnosticReport": {"id", "status", "code"},
        "Observation": {"id", "status", "code"},
        "Bundle": {"type"},
        "OperationOutcome": {"issue"},
    }
    for resource in all_resources(signed_in("doctor"), ecg):
        assert empties(resource) in ([], [".entry"])
        assert demanded[resource["resourceType"]] <= set(resource)
        if resource["resourceType"] == "Bundle":
            continue
        contained = {f"#{one['id']}" for one in resource.get("contained", [])}
        own = {one["reference"] for one in _references(resource) if one["reference"].startswith("#")}
        assert own == contained, "what is contained is referred to, and nothing else is (dom-3)"


def _references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "reference" in value:
            yield value
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


VALIDATE = """
const {Fhir} = require('fhir'); const fhir = new Fhir();
const resources = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const found = resources.flatMap(one => fhir.validate(one, {errorOnUnexpected: true}).messages
  .filter(message => message.severity === 'error' || message.severity === 'fatal')
  .map(message => `${one.resourceType} ${message.location}: ${message.message}`));
console.log(JSON.stringify(found));
"""


def faults_of_npm(resources: list[dict[str, Any]]) -> list[str]:
    """Return what the validator of the npm package ``fhir`` finds wrong; skip the test where it is not installed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    shared = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {**os.environ, "NODE_PATH": os.pathsep.join(filter(None, (os.environ.get("NODE_PATH"), shared)))}
    if subprocess.run([node, "-e", "require.resolve('fhir')"], env=environment, capture_output=True, check=False).returncode:
        pytest.skip("the npm package is not installed: npm install -g fhir@4.12")
    told = json.dumps(resources)
    said = subprocess.run([node, "-e", VALIDATE], input=told, env=environment, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(said.stdout)
    return found


def test_the_fhir_package_of_npm_finds_no_error(signed_in: SignedIn, database: Database, county: County, ecg: str) -> None:
    sign(database, county, ecg, "窦性心动过速")
    assert faults_of_npm(all_resources(signed_in("doctor"), ecg)) == []
