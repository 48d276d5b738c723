"""Pieces that the resources of a study share: its patient, its identifiers, a number with its unit and usual limits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.fhir_codes import measurement_code
from core.tables import Patient, Study
from inference.vocabulary.terms import MeasurementTerm, vocabulary

UCUM = "http://unitsofmeasure.org"
DICOM_UID = "urn:dicom:uid"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_GENDERS = {"M": "male", "F": "female", "O": "other"}


def number_fields(code: str, value: float) -> dict[str, Any]:
    """Return what an Observation says of a number: its code, its value, its usual limits and whether it lies beyond them."""
    term = vocabulary().measurements.get(code)
    if term is None:
        return {"code": {"text": code}, "valueQuantity": {"value": value}}
    shown: float | int = round(value, term.digits) if term.digits else round(value)
    number: dict[str, Any] = {"code": measurement_code(term), "valueQuantity": {"value": shown, **unit(term.unit)}}
    limits = {"low": term.low, "high": term.high}
    usual = {side: {"value": limit, **unit(term.unit)} for side, limit in limits.items() if limit is not None}
    if usual:
        number["referenceRange"] = [usual]
        number["interpretation"] = [{"coding": [{"system": _INTERPRETATION, "code": _beyond(value, term)}]}]
    return number


def _beyond(value: float, term: MeasurementTerm) -> str:
    if term.low is not None and value < term.low:
        return "L"
    return "H" if term.high is not None and value > term.high else "N"


def unit(ucum: str) -> dict[str, str]:
    """Return a unit as fields of a Quantity."""
    return {"unit": ucum, "system": UCUM, "code": ucum}


def patient_resource(patient: Patient) -> dict[str, Any]:
    """Return the patient as a contained resource, ``#patient``."""
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "patient",
        "identifier": [{"type": {"coding": [{"system": _IDENTIFIER_TYPE, "code": "MR"}]}, "value": patient.identifier}],
        "name": [{"text": patient.name}] if patient.name else [],
        "gender": _GENDERS.get(patient.sex, "unknown"),
    }
    if patient.birth_date:
        resource["birthDate"] = patient.birth_date.isoformat()
    return {key: value for key, value in resource.items() if value}


def identifiers_of(study: Study) -> list[dict[str, Any]]:
    """Return Study Instance UID and accession number."""
    identifiers = [study_identifier(study)]
    if study.accession_number:
        kind = {"coding": [{"system": _IDENTIFIER_TYPE, "code": "ACSN"}]}
        identifiers.append({"type": kind, "value": study.accession_number})
    return identifiers


def study_identifier(study: Study) -> dict[str, Any]:
    """Return the Study Instance UID."""
    return {"system": DICOM_UID, "value": f"urn:oid:{study.study_instance_uid}"}


def derived_from(sop_instance_uid: str) -> list[dict[str, Any]]:
    """Return the recording or image that an Observation was taken from."""
    return [{"identifier": {"system": DICOM_UID, "value": f"urn:oid:{sop_instance_uid}"}, "display": "DICOM"}]


def instant(moment: datetime) -> str:
    """Return a moment as FHIR writes it."""
    return moment.isoformat(timespec="milliseconds")
