"""What the CapabilityStatement says is what the routes do: neither more nor less."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.api.conftest import Browser
from tests.api.test_fhir_results import empties, faults_of_npm

ADDRESS = "/fhir/metadata"


@pytest.fixture
def statement(app: FastAPI) -> dict[str, Any]:
    """The statement as a stranger gets it."""
    answer = TestClient(app).get(ADDRESS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json"
    found: dict[str, Any] = answer.json()
    return found


def resources(statement: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (rest,) = statement["rest"]
    return {one["type"]: one for one in rest["resource"]}


def offered(app: FastAPI) -> set[tuple[str, str]]:
    """Return resource and interaction (FHIR R4 http, 3.1.0) of every FHIR route that the application describes."""
    interactions = {("get", True): "read", ("get", False): "search-type", ("post", False): "create"}
    found = set()
    for path, operations in app.openapi()["paths"].items():
        if path.startswith("/fhir/") and path != ADDRESS:
            _, _, kind, *key = path.split("/")
            found |= {(kind, interactions[(method, bool(key))]) for method in operations}
    return found


def test_the_statement_names_every_route_and_no_other(app: FastAPI, statement: dict[str, Any]) -> None:
    assert offered(app)
    assert offered(app) == {
        (kind, one["code"]) for kind, resource in resources(statement).items() for one in resource["interaction"]
    }


def test_the_statement_names_every_search_parameter_and_no_other(app: FastAPI, statement: dict[str, Any]) -> None:
    paths = app.openapi()["paths"]
    for kind, resource in resources(statement).items():
        told = {one["name"] for one in resource.get("searchParam", [])}
        asked = {one["name"] for one in paths[f"/fhir/{kind}"].get("get", {}).get("parameters", []) if one["in"] == "query"}
        assert told == asked, kind


def test_the_routes_do_what_the_statement_says_to_a_signed_in_doctor(
    signed_in: Any, app: FastAPI, statement: dict[str, Any]
) -> None:
    doctor: Browser = signed_in("doctor")
    for kind, resource in resources(statement).items():
        for code in (one["code"] for one in resource["interaction"]):
            if code == "search-type":
                assert doctor.json(f"/fhir/{kind}", study="1")["resourceType"] == "Bundle"
            elif code == "read":
                assert doctor.get(f"/fhir/{kind}/{'m' * (kind == 'Observation')}1").json()["issue"][0]["code"] == "not-found"
            else:
                headers = {"X-Form-Token": doctor.form_token}
                refused = doctor.http.post(f"/fhir/{kind}", content=b"{}", headers=headers)
                assert (refused.status_code, refused.json()["resourceType"]) == (422, "OperationOutcome")
    assert doctor.http.put("/fhir/ServiceRequest/1", content=b"{}").status_code == 405
    assert doctor.http.delete("/fhir/Observation/m1").status_code == 405


def test_the_statement_is_whole(statement: dict[str, Any]) -> None:
    assert {"status", "date", "kind", "fhirVersion", "format"} <= set(statement), "R4 demands them"
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["implementation"]["url"].endswith("/fhir"), "cpb-15: an instance names its implementation"
    assert empties(statement) == []
    assert faults_of_npm([statement]) == []
