"""Rows of the house as FHIR R4 resources: a study's report as a DiagnosticReport, a pre-read's words as Observations.

A pre-read is a machine's word: its Observations are ``preliminary`` for ever and name the models. What a doctor struck is
``entered-in-error``. A report is final when a person signed it. Pure functions; nothing is asked of a database here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any

from api.fhir_codes import both, finding_value, measurement_code, report_category, report_code
from core.lifecycles.preread import PreReadState
from core.tables import Finding, Measurement, Organisation, Patient, PreRead, ReportVersion, Study, Verdict
from inference.vocabulary.terms import MeasurementTerm, vocabulary

UCUM = "http://unitsofmeasure.org"
_DICOM_UID = "urn:dicom:uid"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_NAME_TYPE = "model-name"
_GENDERS = {"M": "male", "F": "female", "O": "other"}
_FINDING = {
    "coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "121071", "display": "Finding"}],
    **both("影像所见", "Finding of the study"),
}
_ECG_FINDING = {
    "coding": [{"system": "http://snomed.info/sct", "code": "271921002", "display": "Electrocardiogram finding"}],
    **both("心电图所见", "ECG finding"),
}
_PROBABILITY = {
    "coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "111012", "display": "Certainty of Finding"}],
    **both("概率", "Probability"),
}
_MACHINE_WORD = both(
    "机器预读，未经医师签发，不得作为诊断报告。", "A machine's pre-read, not signed by a doctor; not a diagnostic report."
)


def diagnostic_report(
    study: Study, version: ReportVersion | None, pre_reads: Sequence[PreRead], *, web_address: str
) -> dict[str, Any]:
    """Return what there is to say of a study.

    Parameters
    ----------
    version
        The signed version that is valid now; None while nobody has signed.
    pre_reads
        The pre-reads of the study's present revision.
    web_address
        Where the signed PDF is fetched.
    """
    read = [one for one in pre_reads if one.state is PreReadState.READ]
    results = [observation_id(row) for one in read for row in _told(one, signed=version is not None)]
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": str(study.id),
        "meta": {"lastUpdated": _instant(_newest(study, version, read)), "versionId": _version_id(version, study)},
        "language": "zh-CN",
        "contained": [_patient(study.patient), _organisation("performer", study.organisation)],
        "identifier": _identifiers(study),
        "status": _status(version, read),
        "category": [report_category(study.modality)],
        "code": report_code(study.modality),
        "subject": {"reference": "#patient"},
        "performer": [{"reference": "#performer"}],
        "imagingStudy": [{"identifier": _study_identifier(study), "type": "ImagingStudy"}],
    }
    if study.performed_at:
        report["effectiveDateTime"] = _instant(study.performed_at)
    if results:
        report["result"] = [{"reference": f"Observation/{one}"} for one in results]
    if version is not None:
        report |= _signed(study, version, web_address)
    report["text"] = _narrative(report["code"]["text"], version)
    return _ordered(report)


def observation(row: Finding | Measurement, pre_read: PreRead) -> dict[str, Any]:
    """Return one finding or one number of a pre-read."""
    study = pre_read.study
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": observation_id(row),
        "meta": {"lastUpdated": _instant(pre_read.finished_at or pre_read.queued_at)},
        "language": "zh-CN",
        "contained": [_patient(study.patient), _device(pre_read)],
        "status": "preliminary",
        "category": [{"coding": [{"system": _CATEGORY, "code": "procedure" if pre_read.engine == "ecg" else "imaging"}]}],
        "subject": {"reference": "#patient"},
        "device": {"reference": "#device"},
        "identifier": _identifiers(study),
        "note": [_MACHINE_WORD],
    }
    if study.performed_at:
        resource["effectiveDateTime"] = _instant(study.performed_at)
    if pre_read.finished_at:
        resource["issued"] = _instant(pre_read.finished_at)
    source = row.sop_instance_uid if isinstance(row, Measurement) else (row.region or {}).get("sop_instance_uid")
    if source:
        resource["derivedFrom"] = [{"identifier": {"system": _DICOM_UID, "value": f"urn:oid:{source}"}, "display": "DICOM"}]
    resource |= _number(row) if isinstance(row, Measurement) else _statement(row, pre_read)
    return resource


def observation_id(row: Finding | Measurement) -> str:
    """Return the logical id: ``m`` and the key of a number, ``f`` and the key of a finding."""
    return f"{'m' if isinstance(row, Measurement) else 'f'}{row.id}"


def bundle(resources: Iterable[dict[str, Any]], *, address: str, total: int | None, links: dict[str, str]) -> dict[str, Any]:
    """Return the answer to a search (FHIR R4 bundle, searchset)."""
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        **({} if total is None else {"total": total}),
        "link": [{"relation": relation, "url": url} for relation, url in links.items()],
        "entry": [
            {
                "fullUrl": f"{address}/{resource['resourceType']}/{resource['id']}",
                "resource": resource,
                "search": {"mode": "match"},
            }
            for resource in resources
        ],
    }


def _told(pre_read: PreRead, *, signed: bool) -> list[Finding | Measurement]:
    """Return what a report refers to: beside a doctor's signature only numbers and what the doctor has accepted."""
    findings = [
        finding
        for finding in pre_read.findings
        if finding.verdict is Verdict.ACCEPTED or (not signed and finding.verdict is not Verdict.STRUCK)
    ]
    return [*pre_read.measurements, *findings]


def _status(version: ReportVersion | None, read: Sequence[PreRead]) -> str:
    if version is None:
        return "preliminary" if read else "registered"
    return "final" if version.number == 1 else "amended"


def _signed(study: Study, version: ReportVersion, web_address: str) -> dict[str, Any]:
    address = f"{web_address}/studies/{study.study_instance_uid}/report.pdf?version={version.number}"
    form = {
        "contentType": "application/pdf",
        "language": "zh-CN",
        "url": address,
        "title": f"v{version.number} SHA-256 {version.pdf_sha256}",
    }
    signed: dict[str, Any] = {"conclusion": version.impression, "presentedForm": [form]}
    if version.signed_at:
        signed["issued"] = form["creation"] = _instant(version.signed_at)
    if version.signed_by:
        signed["resultsInterpreter"] = [{"display": version.signed_by.display_name}]
    return signed


def _narrative(title: str, version: ReportVersion | None) -> dict[str, str]:
    lines = [f"<p>{escape(title)}</p>"]
    if version is not None:
        lines.append(f"<p>检查所见 Findings: {escape(version.findings)}</p>")
        lines.append(f"<p>印象 Impression: {escape(version.impression)}</p>")
        if version.critical:
            lines.append("<p>危急值 Critical value</p>")
    else:
        lines.append("<p>医师尚未签发。 No doctor has signed yet.</p>")
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{"".join(lines)}</div>'}


def _number(row: Measurement) -> dict[str, Any]:
    term = vocabulary().measurements.get(row.code)
    if term is None:
        return {"code": {"text": row.code}, "valueQuantity": {"value": row.value}}
    value: float | int = round(row.value, term.digits) if term.digits else round(row.value)
    number: dict[str, Any] = {"code": measurement_code(term), "valueQuantity": {"value": value, **_unit(term.unit)}}
    limits = {"low": term.low, "high": term.high}
    usual = {side: {"value": limit, **_unit(term.unit)} for side, limit in limits.items() if limit is not None}
    if usual:
        number["referenceRange"] = [usual]
        number["interpretation"] = [{"coding": [{"system": _INTERPRETATION, "code": _beyond(row.value, term)}]}]
    return number


def _beyond(value: float, term: MeasurementTerm) -> str:
    if term.low is not None and value < term.low:
        return "L"
    return "H" if term.high is not None and value > term.high else "N"


def _statement(row: Finding, pre_read: PreRead) -> dict[str, Any]:
    term = vocabulary().findings.get(row.code)
    statement: dict[str, Any] = {
        "code": _ECG_FINDING if pre_read.engine == "ecg" else _FINDING,
        "valueCodeableConcept": finding_value(term) if term else {"text": row.code},
    }
    if row.verdict is Verdict.STRUCK:
        statement["status"] = "entered-in-error"
    if row.verdict is Verdict.ACCEPTED:
        statement["note"] = [_MACHINE_WORD, both("医师已采纳。", "Accepted by a doctor.")]
    if row.probability is not None:
        percent = {"value": round(row.probability * 100, 1), **_unit("%")}
        statement["component"] = [{"code": _PROBABILITY, "valueQuantity": percent}]
    return statement


def _unit(unit: str) -> dict[str, str]:
    return {"unit": unit, "system": UCUM, "code": unit}


def _device(pre_read: PreRead) -> dict[str, Any]:
    """Return who says it: the engine, with name, version and hash of the weights of every model."""
    return {
        "resourceType": "Device",
        "id": "device",
        "manufacturer": "Sumu",
        "deviceName": [{"name": f"Sumu pre-read: {pre_read.engine}", "type": _NAME_TYPE}],
        "version": [
            {"type": {"text": str(model.get("name", ""))}, "value": str(model.get("version", ""))} for model in pre_read.models
        ],
        "property": [
            {"type": {"text": f"{model.get('name', '')}: {what}"}, "valueCode": [{"text": str(model[key])}]}
            for model in pre_read.models
            for key, what in (("weights_sha256", "weights SHA-256"), ("preprocessing", "preprocessing"))
            if model.get(key)
        ],
    }


def _patient(patient: Patient) -> dict[str, Any]:
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


def _organisation(name: str, organisation: Organisation) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "id": name,
        "identifier": [{"value": organisation.code}],
        "name": organisation.name_zh,
        **({"alias": [organisation.name_en]} if organisation.name_en else {}),
    }


def _identifiers(study: Study) -> list[dict[str, Any]]:
    identifiers = [_study_identifier(study)]
    if study.accession_number:
        kind = {"coding": [{"system": _IDENTIFIER_TYPE, "code": "ACSN"}]}
        identifiers.append({"type": kind, "value": study.accession_number})
    return identifiers


def _study_identifier(study: Study) -> dict[str, Any]:
    return {"system": _DICOM_UID, "value": f"urn:oid:{study.study_instance_uid}"}


def _newest(study: Study, version: ReportVersion | None, read: Sequence[PreRead]) -> datetime:
    moments = [study.last_received_at, version.signed_at if version else None, *(one.finished_at for one in read)]
    return max(moment for moment in moments if moment is not None)


def _version_id(version: ReportVersion | None, study: Study) -> str:
    return f"r{study.revision}v{version.number if version else 0}"


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _ordered(report: dict[str, Any]) -> dict[str, Any]:
    """Return the narrative before what it tells, as FHIR's own examples have it."""
    head = ("resourceType", "id", "meta", "language", "text")
    return {key: report[key] for key in head} | {key: value for key, value in report.items() if key not in head}
