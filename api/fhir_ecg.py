"""A doctor's own measurement of an ECG as FHIR R4 Observations, one for each interval, with performer and method.

Until a report is signed over it a measurement is ``preliminary``, then ``final``; one that a newer has replaced, or that was
taken back, is ``entered-in-error``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from api.ecg_measuring import MEASURED
from api.fhir_codes import both
from api.fhir_parts import CATEGORY, derived_from, identifiers_of, instant, number_fields, patient_resource
from core.tables import EcgMeasurement, Measurement

_METHOD = {
    "coding": [{"system": "http://snomed.info/sct", "code": "87982008", "display": "Manual"}],
    **both("医师在平均心搏上移动测量线", "Lines moved by a doctor on the averaged beat"),
}
#: First letter of the logical id; the pre-reads' numbers and findings have others.
DOCTORS = "d"


def measured_observation(row: EcgMeasurement, code: str, *, holds: bool, signed_at: datetime | None) -> dict[str, Any]:
    """Return one interval of a doctor's measurement.

    Parameters
    ----------
    holds
        Whether it is the newest measurement of its recording.
    signed_at
        When the valid report was signed; None while there is none.
    """
    study = row.study
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": measured_id(row, code),
        "meta": {"lastUpdated": instant(row.measured_at)},
        "language": "zh-CN",
        "contained": [
            patient_resource(study.patient),
            {"resourceType": "Practitioner", "id": "doctor", "name": [{"text": row.measured_by.display_name}]},
        ],
        "status": _status(row, holds=holds, signed_at=signed_at),
        "category": [{"coding": [{"system": CATEGORY, "code": "procedure"}]}],
        "subject": {"reference": "#patient"},
        "performer": [{"reference": "#doctor"}],
        "method": _METHOD,
        "identifier": identifiers_of(study),
        "issued": instant(row.measured_at),
        "derivedFrom": derived_from(row.sop_instance_uid),
        **number_fields(code, row.values[code]),
    }
    if study.performed_at:
        resource["effectiveDateTime"] = instant(study.performed_at)
    return resource


def measured_id(row: EcgMeasurement, code: str) -> str:
    """Return the logical id: ``d``, the key of the row, and the code as FHIR's ids allow it (R4 datatypes, id)."""
    return f"{DOCTORS}{row.id}-{code.replace('_', '-')}"


def measured_ids(measured: Mapping[str, EcgMeasurement]) -> list[str]:
    """Return the logical ids of all intervals that hold."""
    return [measured_id(row, code) for row in measured.values() for code in row.values]


def code_of(row: EcgMeasurement, observation_id: str) -> str | None:
    """Return the code of the interval that a logical id names, or None when the row has no such interval."""
    return next((code for code in row.values if measured_id(row, code) == observation_id), None)


def not_remeasured(rows: Iterable[Measurement], measured: Mapping[str, EcgMeasurement]) -> list[Measurement]:
    """Return the machine's numbers that no doctor has measured: those that a report may refer to."""
    return [row for row in rows if not (row.code in MEASURED and row.sop_instance_uid in measured)]


def _status(row: EcgMeasurement, *, holds: bool, signed_at: datetime | None) -> str:
    if not holds:
        return "entered-in-error"
    return "final" if signed_at is not None and signed_at >= row.measured_at else "preliminary"
