"""A pre-read as a DICOM object: a Measurement Report (PS3.16 TID 1500) that any PACS can keep and show.

One group (TID 1501) for the numbers and one for each finding, each naming the algorithm that said it (TID 4019). The
document is unverified and preliminary: it is a machine's word (PS3.3 C.17.2).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import highdicom
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from highdicom.sr import Measurement as SrMeasurement
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, TM

from core.tables import Finding, Measurement, PreRead
from inference.vocabulary.terms import Concept, vocabulary

MANUFACTURER = "Sumu"
SERIES_NUMBER = 9000

_PROBABILITY = CodedConcept("113011", "99SUMU", "Probability of the finding")
_NO_UNIT = CodedConcept("1", "UCUM", "no units")
#: Schemes whose codes need their edition beside them (PS3.3 8.2, PS3.16 Table 8-1).
_SCHEME_VERSIONS = {"SCPECG": "1.3"}
_PROCEDURES = {
    "ecg": CodedConcept("29303009", "SCT", "Electrocardiographic procedure"),
    "radiograph": CodedConcept("168537006", "SCT", "Plain X-ray"),
    "pathology": CodedConcept("108257001", "SCT", "Anatomic pathology procedure"),
}


def pre_read_report(
    pre_read: PreRead, evidence: Sequence[Dataset], *, sop_instance_uid: str, series_instance_uid: str, made_at: datetime
) -> Comprehensive3DSR:
    """Return the structured report of a finished pre-read.

    ``evidence`` are headers of the instances that were read; patient and study are taken from the first.
    """
    images = {str(header.SOPInstanceUID): header for header in evidence if "Rows" in header}
    report = MeasurementReport(
        observation_context=_observers(pre_read),
        procedure_reported=_PROCEDURES[pre_read.engine],
        imaging_measurements=[
            *_numbers(pre_read, images),
            *(_statement(pre_read, finding, images) for finding in pre_read.findings),
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    document = Comprehensive3DSR(
        evidence=list(evidence),
        content=report[0],
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER,
        sop_instance_uid=sop_instance_uid,
        instance_number=pre_read.revision,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"Pre-read: {pre_read.engine}",
    )
    document.ContentDate, document.ContentTime = DA(made_at.date()), TM(made_at.time().replace(microsecond=0))
    document.TimezoneOffsetFromUTC = "+0000"
    return document


def _observers(pre_read: PreRead) -> ObservationContext:
    model = _model(pre_read)
    device = DeviceObserverIdentifyingAttributes(
        uid=highdicom.UID.from_uuid(_uuid_of(model)),
        name=str(model["name"])[:64],
        manufacturer_name=MANUFACTURER,
        model_name=str(model["version"])[:64],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    )


def _numbers(pre_read: PreRead, images: dict[str, Dataset]) -> list[MeasurementsAndQualitativeEvaluations]:
    if not pre_read.measurements:
        return []
    rows: list[Measurement] = list(pre_read.measurements)
    return [
        MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                uid=_tracking_uid(pre_read, "numbers"), identifier=f"{pre_read.engine} measurements"
            ),
            source_images=_sources(images, rows[0].sop_instance_uid),
            algorithm_id=_algorithm(pre_read),
            measurements=[_number(row) for row in rows],
        )
    ]


def _number(row: Measurement) -> SrMeasurement:
    term = vocabulary().measurements[row.code]
    return SrMeasurement(
        name=_coded(term.concept),
        value=round(row.value, max(term.digits, 0)),
        unit=CodedConcept(term.unit, "UCUM", term.unit_meaning),
    )


def _statement(pre_read: PreRead, finding: Finding, images: dict[str, Dataset]) -> MeasurementsAndQualitativeEvaluations:
    term = vocabulary().findings[finding.code]
    numbers = None
    if finding.probability is not None:
        numbers = [SrMeasurement(name=_PROBABILITY, value=round(finding.probability, 3), unit=_NO_UNIT)]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=_tracking_uid(pre_read, finding.code), identifier=term.en[:64]),
        source_images=_sources(images, (finding.region or {}).get("sop_instance_uid")),
        algorithm_id=_algorithm(pre_read),
        measurements=numbers,
        qualitative_evaluations=[QualitativeEvaluation(name=codes.DCM.Finding, value=_coded(term.concept))],
    )


def _sources(images: dict[str, Dataset], sop_instance_uid: str | None) -> list[SourceImageForMeasurementGroup] | None:
    """Return the image a group speaks of; an ECG is no image, and stands in the document's evidence alone."""
    header = images.get(sop_instance_uid or "")
    return [SourceImageForMeasurementGroup.from_source_image(header)] if header is not None else None


def _algorithm(pre_read: PreRead) -> AlgorithmIdentification:
    model = _model(pre_read)
    parameters = [f"preprocessing: {model['preprocessing']}"[:1024]]
    if model.get("weights_sha256"):
        parameters.append(f"weights SHA-256: {model['weights_sha256']}")
    return AlgorithmIdentification(
        name=str(model["name"]),
        version=str(model["version"]),
        family=codes.DCM.ArtificialIntelligence,
        parameters=parameters,
    )


def _model(pre_read: PreRead) -> dict[str, Any]:
    model: dict[str, Any] = pre_read.models[0]
    return model


def _uuid_of(model: dict[str, Any]) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"sumu/{model['name']}/{model['version']}/{model.get('weights_sha256')}"))


def _tracking_uid(pre_read: PreRead, part: str) -> str:
    return str(highdicom.UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, f"sumu/pre-read/{pre_read.id}/{part}"))))


def _coded(concept: Concept) -> CodedConcept:
    return CodedConcept(concept.value, concept.scheme, concept.meaning[:64], _SCHEME_VERSIONS.get(concept.scheme))
