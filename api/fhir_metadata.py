"""What the two FHIR doors offer, as FHIR itself says it: orders in, results out (R4, CapabilityStatement)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from api.fhir_answers import FhirResponse, FhirRoute
from api.house import House, house_of

#: When the doors last changed; a test holds the statement against the routes.
_CHANGED = "2026-11-25"
_ORDERS = (
    "An order is placed by create, with status active and intent order; placing the same identifier with the same content again "
    "answers 200 with the order that is there. Only JSON, no conditional headers."
)
_RESULTS = "A search names at least one of study, accession, identifier, patient.identifier; the link 'next' leads on."
#: Search parameters by name: their type, and what they are.
_BY_STUDY = {
    "study": ("token", "Study Instance UID, with or without urn:oid:"),
    "accession": ("token", "Accession number"),
    "identifier": ("token", "Study Instance UID or accession number"),
    "patient.identifier": ("token", "Patient ID"),
    "_count": ("number", "Studies on one page, 1 to 100"),
    "page": ("number", "Page, from 1"),
}
_BY_CODE = {"code": ("token", "Code of a number or finding, as system|code or alone")}

router = APIRouter(prefix="/fhir", route_class=FhirRoute, tags=["FHIR"])


@router.get("/metadata", operation_id="fhir_metadata", summary="What the FHIR doors offer")
def read_metadata(house: Annotated[House, Depends(house_of)]) -> FhirResponse:
    """Return the CapabilityStatement; it tells nothing of any patient, and needs no sign-in."""
    return FhirResponse(capability_statement(f"{house.settings.web_address}/fhir"))


def capability_statement(address: str) -> dict[str, Any]:
    """Return the statement of the service at ``address``."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _CHANGED,
        "kind": "instance",
        "software": {"name": "Sumu"},
        "implementation": {"description": "苏木影像 Sumu imaging", "url": address},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Every question is answered for the caller's organisation and those below it, and is audited.",
                "security": {
                    "description": (
                        "A signed-in person, or 'Authorization: Bearer …' with the token of an admitted device that may query."
                    )
                },
                "resource": [
                    _resource("ServiceRequest", ("create", "read"), _ORDERS),
                    _resource("DiagnosticReport", ("read", "search-type"), _RESULTS, _BY_STUDY),
                    _resource("Observation", ("read", "search-type"), _RESULTS, {**_BY_STUDY, **_BY_CODE}),
                ],
            }
        ],
    }


def _resource(
    kind: str, interactions: tuple[str, ...], words: str, parameters: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "type": kind,
        "documentation": words,
        "interaction": [{"code": code} for code in interactions],
    }
    if parameters:
        resource["searchParam"] = [
            {"name": name, "type": kind_of, "documentation": told} for name, (kind_of, told) in parameters.items()
        ]
    return resource
