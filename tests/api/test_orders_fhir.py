"""Orders over FHIR R4: what a hospital system sends, what it gets back, and that both are FHIR."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.database import Database
from core.lifecycles.order import OrderState
from core.passwords import new_token, token_hash
from core.tables import AuditEvent, Device, Order, OrderSource, Patient, Urgency
from tests.api.conftest import Browser, actions
from tests.conftest import County

SignedIn = Callable[[str], Browser]
DCM = "http://dicom.nema.org/resources/ontology/DCM"
REQUEST: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "priority": "urgent",
    "identifier": [{"type": {"coding": [{"code": "PLAC"}]}, "value": "HIS-1"}],
    "contained": [
        {
            "resourceType": "Patient", "id": "p", "identifier": [{"value": "P1"}], "gender": "male", "birthDate": "1958-03-02",
            "name": [{"text": "OUYANG ZHENHUA"}, {"text": "欧阳震华"}],
        }
    ],
    "subject": {"reference": "#p"},
    "code": {"text": "胸部CT平扫", "coding": [{"system": "http://example.org/items", "code": "CT01"}]},
    "orderDetail": [{"coding": [{"system": DCM, "code": "CT"}]}],
    "bodySite": [{"coding": [{"code": "CHEST"}]}],
    "reasonCode": [{"text": "咳嗽两周"}],
    "requester": {"display": "王医生"},
    "occurrenceDateTime": "2026-11-25T10:30:00+08:00",
    "performer": [{"type": "Device", "identifier": {"value": "TOWNSHIP_DR"}}],
}  # fmt: skip


class System:
    """A hospital system with a device's token."""

    def __init__(self, app: FastAPI, token: str) -> None:
        self.http = TestClient(app, headers={"Authorization": f"Bearer {token}"})

    def place(self, request: Any = REQUEST) -> httpx.Response:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.http.post("/fhir/ServiceRequest", content=body, headers={"Content-Type": "application/fhir+json"})

    def read(self, where: str) -> httpx.Response:
        return self.http.get(where[where.index("/fhir") :])


@pytest.fixture
def system(app: FastAPI, database: Database, county: County) -> System:
    """The township's own system, which may query."""
    token = new_token()
    with database.writing() as session:
        device = session.get_one(Device, county.device)
        device.token_hash, device.may_query = token_hash(token), True
    return System(app, token)


def only_order(database: Database) -> Order:
    with database.reading() as session:
        order = session.query(Order).one()
        _ = (order.patient, order.device)
        return order


def changed(**changes: Any) -> dict[str, Any]:
    request = {**deepcopy(REQUEST), **changes}
    return {key: value for key, value in request.items() if value is not None}


def test_an_order_is_placed_and_read_again(system: System, database: Database, county: County) -> None:
    answer = system.place()
    order = only_order(database)
    assert answer.status_code == 201, answer.text
    assert answer.headers["content-type"] == "application/fhir+json"
    assert answer.headers["location"].endswith(f"/fhir/ServiceRequest/{order.id}")
    assert (order.organisation_id, order.device_id, order.source) == (county.township, county.device, OrderSource.FHIR)
    assert (order.patient.identifier, order.patient.name, order.patient.name_latin) == ("P1", "欧阳震华", "ouyang zhenhua")
    assert (order.patient.sex, order.patient.birth_date) == ("M", date(1958, 3, 2))
    assert (order.modality, order.description, order.body_part, order.reason) == ("CT", "胸部CT平扫", "CHEST", "咳嗽两周")
    assert (order.urgency, order.requested_by, order.placer_number) == (Urgency.URGENT, "王医生", "HIS-1")
    assert order.scheduled_at == datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
    read = system.read(answer.headers["location"])
    assert read.json() == answer.json()
    values = [one["value"] for one in read.json()["identifier"]]
    assert values == [order.accession_number, "HIS-1", f"urn:oid:{order.study_instance_uid}"]
    assert actions(database) == ["order_placed", "order_read"]


@pytest.mark.parametrize(
    ("state", "status"),
    [(OrderState.IN_PROGRESS, "active"), (OrderState.COMPLETED, "completed"), (OrderState.CANCELLED, "revoked")],
)
def test_its_status_tells_what_became_of_it(system: System, database: Database, state: OrderState, status: str) -> None:
    location = system.place().headers["location"]
    with database.writing() as session:
        session.query(Order).one().state = state
    assert system.read(location).json()["status"] == status


def test_the_same_identifier_with_the_same_content_is_the_same_order(system: System, database: Database) -> None:
    first, second = system.place(), system.place()
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["location"] == second.headers["location"]
    third = system.place(changed(code={"text": "腹部CT平扫"}))
    assert (third.status_code, third.json()["issue"][0]["code"]) == (409, "conflict")
    only_order(database)


def test_a_patient_who_is_known_here_need_not_be_told_again(system: System, database: Database, county: County) -> None:
    by_identifier = changed(contained=None, subject={"type": "Patient", "identifier": {"value": "P9"}})
    unknown = system.place(by_identifier)
    assert (unknown.status_code, unknown.json()["issue"][0]["expression"]) == (422, ["ServiceRequest.subject"])
    with database.writing() as session:
        session.add(Patient(organisation_id=county.township, identifier="P9", name="李四", name_latin="li si"))
        session.add(Patient(organisation_id=county.other_township, identifier="P9", name="赵六", name_latin="zhao liu"))
    assert system.place(by_identifier).status_code == 201
    assert only_order(database).patient.name == "李四"


@pytest.mark.parametrize(
    ("request_", "status", "tells"),
    [
        (b"{", 422, "R4"),
        (b"[]", 422, "R4"),
        (b"\xff\xfe", 422, "R4"),
        (json.dumps({**REQUEST, "reasonCode": [{"text": "a\0b"}]}).encode(), 422, "NUL"),
        (changed(resourceType="Task"), 422, "resourceType"),
        (changed(subject=None), 422, "subject"),
        (changed(status="draft"), 422, "status 'active'"),
        (changed(intent="plan"), 422, "intent 'order'"),
        (changed(orderDetail=None), 422, "dicom.nema.org"),
        (changed(orderDetail=[{"coding": [{"system": DCM, "code": "QQ"}]}]), 422, "CT"),
        (changed(code=None), 422, "what is to be examined"),
        (changed(subject={"reference": "Patient/7"}), 422, "contained Patient"),
        (changed(occurrenceDateTime="soon"), 422, "occurrenceDateTime"),
        (changed(performer=[{"type": "Device", "identifier": {"value": "NONE"}}]), 422, "on the page Devices"),
        (changed(performer=[{"type": "Organization", "identifier": {"value": "FAR"}}]), 422, "below yours"),
        (b" " * 300_000, 413, "without documents"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_an_operation_outcome_with_its_remedy(
    system: System, database: Database, request_: Any, status: int, tells: str
) -> None:
    answer = system.place(request_)
    outcome = answer.json()
    assert (answer.status_code, outcome["resourceType"]) == (status, "OperationOutcome"), answer.text
    assert tells in outcome["issue"][0]["diagnostics"]
    assert actions(database) == []


def test_only_those_who_may_place_and_read(
    app: FastAPI, system: System, signed_in: SignedIn, database: Database, county: County
) -> None:
    location = system.place().headers["location"]
    stranger = System(app, "nobody")
    for answer in (stranger.place(), stranger.read(location), TestClient(app).get(location[location.index("/fhir") :])):
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (401, "login")
    with database.writing() as session:
        session.get_one(Device, county.device).may_query = False
    assert system.read(location).status_code == system.place().status_code == 403
    with database.writing() as session:
        device = session.get_one(Device, county.device)
        device.may_query, device.organisation_id = True, county.other_township
    assert system.read(location).status_code == 404
    assert system.read("/fhir/ServiceRequest/abc").status_code == 404
    with database.writing() as session:
        session.get_one(Device, county.device).dismissed_at = datetime.now(UTC)
    assert system.read(location).status_code == 401
    assert signed_in("administrator").get(location[location.index("/fhir") :]).status_code == 403


def test_a_signed_in_person_places_with_the_form_token_alone(signed_in: SignedIn, database: Database, county: County) -> None:
    doctor, body = signed_in("doctor"), json.dumps(changed(performer=[{"type": "Organization", "identifier": {"value": "FAR"}}]))
    assert doctor.http.post("/fhir/ServiceRequest", content=body).status_code == 403
    answer = doctor.http.post("/fhir/ServiceRequest", content=body, headers={"X-Form-Token": doctor.form_token})
    assert answer.status_code == 201
    assert only_order(database).organisation_id == county.other_township
    with database.reading() as session:
        assert session.query(AuditEvent).one().actor == "user:doctor"


def test_the_example_of_the_document_is_taken(system: System, database: Database) -> None:
    page = (Path(__file__).parents[2] / "docs" / "orders.md").read_text(encoding="utf-8")
    example = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert example
    assert system.place(example[1].encode()).status_code == 201
    assert (only_order(database).patient.name, only_order(database).modality) == ("王建国", "CT")


VALIDATE = """
const {Fhir} = require('fhir'); const fhir = new Fhir();
const resources = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(resources.map(one => fhir.validate(one, {errorOnUnexpected: true}).messages
  .filter(message => message.severity === 'error' || message.severity === 'fatal')
  .map(message => `${one.resourceType} ${message.location}: ${message.message}`))));
"""


def test_what_we_answer_is_valid_r4(system: System, database: Database) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    shared = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {**os.environ, "NODE_PATH": os.pathsep.join(filter(None, (os.environ.get("NODE_PATH"), shared)))}
    if subprocess.run([node, "-e", "require.resolve('fhir')"], env=environment, capture_output=True, check=False).returncode:
        pytest.skip("the npm package is not installed: npm install -g fhir@4.12")
    ours = [system.place().json(), system.place(b"{").json(), system.place(changed(code={"text": "别的"})).json()]
    broken = {**ours[0], "status": "soon", "sumu": True}
    said = subprocess.run(
        [node, "-e", VALIDATE], input=json.dumps([*ours, broken]), env=environment, capture_output=True, text=True, check=True
    )
    *found, of_broken = json.loads(said.stdout)
    assert found == [[], [], []]
    assert of_broken, "the validator finds what is wrong"
