"""A pre-read as a DICOM object that any PACS can keep and show.

Of images it is a Measurement Report (PS3.16 TID 1500): one group (TID 1501) for the numbers and one for each finding, each
naming the algorithm that said it (TID 4019). Of an ECG it is an ECG Report (TID 3700). Either document is unverified and
preliminary: it is a machine's word (PS3.3 C.17.2).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

import highdicom
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
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
from inference.ecg_report_object import coded, ecg_report, finish_ecg_report
from inference.vocabulary.terms import vocabulary

MANUFACTURER = "Sumu"
SERIES_NUMBER = 9000

_PROBABILITY = CodedConcept("113011", "99SUMU", "Probability of the finding")
_NO_UNIT = CodedConcept("1", "UCUM", "no units")
#: Type 2 elements of patient and study (PS3.3 C.7.1.1, C.7.2.1).
_REPEATED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_PROCEDURES = {
    "radiograph": CodedConcept("168537006", "SCT", "Plain X-ray"),
    "pathology": CodedConcept("108257001", "SCT", "Anatomic pathology procedure"),
}


def pre_read_report(
    pre_read: PreRead, evidence: Sequence[Dataset], *, sop_instance_uid: str, series_instance_uid: str, made_at: datetime
) -> Comprehensive3DSR | EnhancedSR:
    """Return the structured report of a finished pre-read.

    ``evidence`` are headers of the instances that were read; patient and study are taken from the first.
    """
    headers = [_repeatable(header) for header in evidence]
    kind, content = _ecg_content(pre_read, headers) if pre_read.engine == "ecg" else _image_content(pre_read, headers)
    document: Comprehensive3DSR | EnhancedSR = kind(
        evidence=headers,
        content=content,
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
    if pre_read.engine == "ecg":
        finish_ecg_report(document, headers)
    return document


def _ecg_content(pre_read: PreRead, headers: Sequence[Dataset]) -> tuple[type[EnhancedSR], Dataset]:
    observers = [_observer(model) for model in pre_read.models]
    algorithms = [_algorithm(model) for model in pre_read.models]
    return EnhancedSR, ecg_report(pre_read, headers, observers, algorithms)


def _image_content(pre_read: PreRead, headers: Sequence[Dataset]) -> tuple[type[Comprehensive3DSR], Dataset]:
    images = {str(header.SOPInstanceUID): header for header in headers if "Rows" in header}
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer(_model(pre_read))),
        procedure_reported=_PROCEDURES[pre_read.engine],
        imaging_measurements=[
            *_numbers(pre_read, images),
            *(_statement(pre_read, finding, images) for finding in pre_read.findings),
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return Comprehensive3DSR, report[0]


def _repeatable(header: Dataset) -> Dataset:
    """Return a header in UTF-8 with every element of patient and study that a document repeats, empty where it was left out."""
    whole = deepcopy(header)
    for element in whole:  # each is read in the device's own character set
        if element.VR == "PN" and element.VM == 1:
            element.value = str(element.value)
    # Chinese statements stand in every document, whatever the device writes in.
    whole.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _REPEATED:
        if keyword not in whole:
            setattr(whole, keyword, "")
    return whole


def _observer(model: dict[str, Any]) -> ObserverContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=highdicom.UID.from_uuid(_uuid_of(model)),
        name=str(model["name"])[:64],
        manufacturer_name=MANUFACTURER,
        model_name=str(model["version"])[:64],
    )
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


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
            # The last model named is the one that measures.
            algorithm_id=_algorithm(pre_read.models[-1]),
            measurements=[_number(row) for row in rows],
        )
    ]


def _number(row: Measurement) -> SrMeasurement:
    term = vocabulary().measurements[row.code]
    return SrMeasurement(
        name=coded(term.concept),
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
        algorithm_id=_algorithm(_model(pre_read)),
        measurements=numbers,
        qualitative_evaluations=[QualitativeEvaluation(name=codes.DCM.Finding, value=coded(term.concept))],
    )


def _sources(images: dict[str, Dataset], sop_instance_uid: str | None) -> list[SourceImageForMeasurementGroup] | None:
    """Return the image a group speaks of; an ECG is no image, and stands in the document's evidence alone."""
    header = images.get(sop_instance_uid or "")
    return [SourceImageForMeasurementGroup.from_source_image(header)] if header is not None else None


def _algorithm(model: dict[str, Any]) -> AlgorithmIdentification:
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
