"""Rows of the house as FHIR R4 resources: a study's report as a DiagnosticReport, a pre-read's words as Observations.

A pre-read is a machine's word: its Observations are ``preliminary`` for ever and name the models. What a doctor struck is
``entered-in-error``. A report is final when a person signed it. Pure functions; nothing is asked of a database here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from api.fhir_codes import both, finding_value, report_category, report_code
from api.fhir_ecg import measured_ids, not_remeasured
from api.fhir_parts import (
    CATEGORY,
    derived_from,
    identifiers_of,
    instant,
    number_fields,
    patient_resource,
    study_identifier,
    unit,
)
from core.lifecycles.preread import PreReadState
from core.tables import EcgMeasurement, Finding, Measurement, Organisation, PreRead, ReportVersion, Study, Verdict
from inference.vocabulary.terms import vocabulary

_NAME_TYPE = "model-name"
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
    study: Study,
    version: ReportVersion | None,
    pre_reads: Sequence[PreRead],
    *,
    measured: Mapping[str, EcgMeasurement],
    web_address: str,
) -> dict[str, Any]:
    """Return what there is to say of a study.

    Parameters
    ----------
    version
        The signed version that is valid now; None while nobody has signed.
    pre_reads
        The pre-reads of the study's present revision.
    measured
        What doctors measured themselves, by recording: it stands in the place of the machine's numbers.
    web_address
        Where the signed PDF is fetched.
    """
    read = [one for one in pre_reads if one.state is PreReadState.READ]
    results = [observation_id(row) for one in read for row in _told(one, measured, signed=version is not None)]
    results += measured_ids(measured)
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": str(study.id),
        "meta": {"lastUpdated": instant(_newest(study, version, read)), "versionId": _version_id(version, study)},
        "language": "zh-CN",
        "contained": [patient_resource(study.patient), _organisation("performer", study.organisation)],
        "identifier": identifiers_of(study),
        "status": _status(version, read),
        "category": [report_category(study.modality)],
        "code": report_code(study.modality),
        "subject": {"reference": "#patient"},
        "performer": [{"reference": "#performer"}],
        "imagingStudy": [{"identifier": study_identifier(study), "type": "ImagingStudy"}],
    }
    if study.performed_at:
        report["effectiveDateTime"] = instant(study.performed_at)
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
        "meta": {"lastUpdated": instant(pre_read.finished_at or pre_read.queued_at)},
        "language": "zh-CN",
        "contained": [patient_resource(study.patient), _device(pre_read)],
        "status": "preliminary",
        "category": [{"coding": [{"system": CATEGORY, "code": "procedure" if pre_read.engine == "ecg" else "imaging"}]}],
        "subject": {"reference": "#patient"},
        "device": {"reference": "#device"},
        "identifier": identifiers_of(study),
        "note": [_MACHINE_WORD],
    }
    if study.performed_at:
        resource["effectiveDateTime"] = instant(study.performed_at)
    if pre_read.finished_at:
        resource["issued"] = instant(pre_read.finished_at)
    source = row.sop_instance_uid if isinstance(row, Measurement) else (row.region or {}).get("sop_instance_uid")
    if source:
        resource["derivedFrom"] = derived_from(source)
    resource |= number_fields(row.code, row.value) if isinstance(row, Measurement) else _statement(row, pre_read)
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


def _told(pre_read: PreRead, measured: Mapping[str, EcgMeasurement], *, signed: bool) -> list[Finding | Measurement]:
    """Return what a report refers to: beside a doctor's signature only numbers and what the doctor has accepted."""
    findings = [
        finding
        for finding in pre_read.findings
        if finding.verdict is Verdict.ACCEPTED or (not signed and finding.verdict is not Verdict.STRUCK)
    ]
    return [*not_remeasured(pre_read.measurements, measured), *findings]


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
        signed["issued"] = form["creation"] = instant(version.signed_at)
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
        percent = {"value": round(row.probability * 100, 1), **unit("%")}
        statement["component"] = [{"code": _PROBABILITY, "valueQuantity": percent}]
    return statement


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


def _organisation(name: str, organisation: Organisation) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "id": name,
        "identifier": [{"value": organisation.code}],
        "name": organisation.name_zh,
        **({"alias": [organisation.name_en]} if organisation.name_en else {}),
    }


def _newest(study: Study, version: ReportVersion | None, read: Sequence[PreRead]) -> datetime:
    moments = [study.last_received_at, version.signed_at if version else None, *(one.finished_at for one in read)]
    return max(moment for moment in moments if moment is not None)


def _version_id(version: ReportVersion | None, study: Study) -> str:
    return f"r{study.revision}v{version.number if version else 0}"


def _ordered(report: dict[str, Any]) -> dict[str, Any]:
    """Return the narrative before what it tells, as FHIR's own examples have it."""
    head = ("resourceType", "id", "meta", "language", "text")
    return {key: report[key] for key in head} | {key: value for key, value in report.items() if key not in head}
