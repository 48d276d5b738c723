"""A pre-read as a DICOM object that any PACS can keep and show.

Of images it is a Measurement Report (PS3.16 TID 1500): one group for the lines and numbers of each measured chest, and one
for each finding with the place where it was seen (TID 1410), each naming the algorithm that said it (TID 4019). Of an ECG
it is an ECG Report (TID 3700). Either document is unverified and preliminary: it is a machine's word (PS3.3 C.17.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    GraphicTypeValues,
    ImageRegion,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TrackingIdentifier,
)
from highdicom.sr import Measurement as SrMeasurement
from pydicom import Dataset
from pydicom.sr.codedict import codes

from core.tables import Finding, Measurement, PreRead
from inference.ecg_report_object import coded, ecg_report, finish_ecg_report
from inference.objects.identity import MANUFACTURER, date_object, model_named, model_of, model_uid, object_uid, repeatable
from inference.objects.presentation_state import corners_of, within
from inference.radiograph.cardiothoracic import MODEL, length_mm, pixels_long
from inference.vocabulary.terms import vocabulary

SERIES_NUMBER = 9000

_PERCENT = CodedConcept("%", "UCUM", "percent")
_MILLIMETRES = CodedConcept("mm", "UCUM", "millimeter")
_PIXELS = CodedConcept("{pixels}", "UCUM", "pixels")
_CAUTION = CodedConcept("caution", "99SUMU", "Caution")
_AT_DETECTOR = CodedConcept("at_detector", "99SUMU", "Length in the plane of the detector")
_NOTHING = CodedConcept("nothing_said", "99SUMU", "Nothing found that the model knows")
_LINES = {
    "heart_right": CodedConcept("heart_right_of_midline", "99SUMU", "Heart, right of the midline"),
    "heart_left": CodedConcept("heart_left_of_midline", "99SUMU", "Heart, left of the midline"),
    "thorax": CodedConcept("thorax_width", "99SUMU", "Width of the thorax"),
}
_IMAGING = CodedConcept("363679005", "SCT", "Imaging procedure")
_PROCEDURES = {
    "radiograph": CodedConcept("168537006", "SCT", "Plain X-ray"),
    "pathology": CodedConcept("108257001", "SCT", "Anatomic pathology procedure"),
}

_Group = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations


def pre_read_report(
    pre_read: PreRead, evidence: Sequence[Dataset], *, sop_instance_uid: str, series_instance_uid: str, made_at: datetime
) -> Comprehensive3DSR | EnhancedSR:
    """Return the structured report of a finished pre-read.

    ``evidence`` are headers of the instances that were read; patient and study are taken from the first.
    """
    headers = [repeatable(header) for header in evidence]
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
    date_object(document, made_at)
    if pre_read.engine == "ecg":
        finish_ecg_report(document, headers)
    return document


def _ecg_content(pre_read: PreRead, headers: Sequence[Dataset]) -> tuple[type[EnhancedSR], Dataset]:
    observers = [observer_of(model) for model in pre_read.models]
    algorithms = [_algorithm(model) for model in pre_read.models]
    return EnhancedSR, ecg_report(pre_read, headers, observers, algorithms)


def _image_content(pre_read: PreRead, headers: Sequence[Dataset]) -> tuple[type[Comprehensive3DSR], Dataset]:
    images = {str(header.SOPInstanceUID): header for header in headers if "Rows" in header}
    first, *others = (observer_of(model) for model in pre_read.models)
    context = ObservationContext(observer_device_context=first)
    for other in others:
        context.extend(other)
    report = MeasurementReport(
        observation_context=context,
        procedure_reported=_PROCEDURES.get(pre_read.engine, _IMAGING),
        imaging_measurements=[*_chests(pre_read, images), *_numbers(pre_read, images), *_statements(pre_read, images)]
        or [_nothing(pre_read, images)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return Comprehensive3DSR, report[0]


def observer_of(model: dict[str, Any]) -> ObserverContext:
    """Return a model as the device that observed (PS3.16 TID 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=model_uid(model),
        name=str(model["name"])[:64],
        manufacturer_name=MANUFACTURER,
        model_name=str(model["version"])[:64],
    )
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


def _chests(pre_read: PreRead, images: Mapping[str, Dataset]) -> list[_Group]:
    """Return a group for each measured chest: the ratio, and the three lines with their lengths."""
    return [
        _chest(pre_read, chest, images[chest["sop_instance_uid"]])
        for chest in _measured(pre_read)
        if chest["sop_instance_uid"] in images
    ]


def _measured(pre_read: PreRead) -> list[dict[str, Any]]:
    return [chest for chest in (pre_read.evidence or {}).get("cardiothoracic", ()) if chest.get("lines")]


def _chest(pre_read: PreRead, chest: Mapping[str, Any], header: Dataset) -> MeasurementsAndQualitativeEvaluations:
    uid = str(header.SOPInstanceUID)
    terms = vocabulary().measurements
    lines = [_coordinates(line, header) for line in chest["lines"].values()]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=object_uid(pre_read, str(header.StudyInstanceUID), f"chest {uid}"), identifier="Cardiothoracic ratio"
        ),
        source_images=[SourceImageForMeasurementGroup.from_source_image(header)],
        algorithm_id=_algorithm(model_named(pre_read, MODEL) or pre_read.models[-1]),
        measurements=[
            SrMeasurement(
                name=coded(terms["cardiothoracic_ratio"].concept),
                value=round(chest["ratio"], 3),
                unit=CodedConcept("1", "UCUM", "no units"),
                referenced_coordinates=lines,
            ),
            *(_length(name, line, chest.get("spacing"), header) for name, line in chest["lines"].items()),
            SrMeasurement(
                name=coded(terms["right_lung_share"].concept), value=round(100 * chest["right_lung_share"]), unit=_PERCENT
            ),
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(name=_CAUTION, value=CodedConcept(reason, "99SUMU", reason.replace("_", " ")[:64]))
            for reason in chest.get("cautions", ())
        ]
        or None,
    )


def _length(name: str, line: list[list[float]], spacing: dict[str, Any] | None, header: Dataset) -> SrMeasurement:
    known = length_mm(line, spacing)
    return SrMeasurement(
        name=_LINES[name],
        value=round(pixels_long(line) if known is None else known, 1),
        unit=_PIXELS if known is None else _MILLIMETRES,
        method=_AT_DETECTOR if spacing and spacing["at_detector"] else None,
        referenced_coordinates=[_coordinates(line, header)],
    )


def _coordinates(line: list[list[float]], header: Dataset) -> CoordinatesForMeasurement:
    return CoordinatesForMeasurement(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=within(line, header),
        source_image=SourceImageForRegion.from_source_image(header),
    )


def _numbers(pre_read: PreRead, images: Mapping[str, Dataset]) -> list[_Group]:
    """Return the numbers that no chest's group holds already."""
    held = {chest["sop_instance_uid"] for chest in _measured(pre_read)} & images.keys()
    rows: list[Measurement] = [row for row in pre_read.measurements if row.sop_instance_uid not in held]
    if not rows:
        return []
    return [
        MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                uid=object_uid(pre_read, _study(images), "numbers"), identifier=f"{pre_read.engine} measurements"
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


def _nothing(pre_read: PreRead, images: Mapping[str, Dataset]) -> MeasurementsAndQualitativeEvaluations:
    """Return the group of a pre-read that measured and found nothing: TID 1500 asks for at least one."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=object_uid(pre_read, _study(images), "nothing"), identifier="Nothing said"),
        source_images=_sources(images, next(iter(images), None)),
        algorithm_id=_algorithm(pre_read.models[0]),
        qualitative_evaluations=[QualitativeEvaluation(name=codes.DCM.Finding, value=_NOTHING)],
    )


def _statements(pre_read: PreRead, images: Mapping[str, Dataset]) -> list[_Group]:
    return [_statement(pre_read, finding, place, images) for place, finding in enumerate(pre_read.findings, 1)]


def _statement(pre_read: PreRead, finding: Finding, place: int, images: Mapping[str, Dataset]) -> _Group:
    term = vocabulary().findings[finding.code]
    region = finding.region or {}
    header = images.get(region.get("sop_instance_uid", ""))
    box = region.get("box")
    numbers = None
    if finding.probability is not None:
        # Viewers show a number's name and not the finding it belongs to: the name says it.
        name = CodedConcept(f"probability_{finding.code}", "99SUMU", f"{term.en[:50]}, probability")
        numbers = [SrMeasurement(name=name, value=round(100 * finding.probability, 1), unit=_PERCENT)]
    # What is said of the whole image is said of one place: viewers then list it beside one frame.
    place_said = f"finding {place} {finding.code}" if box else f"whole image {region.get('sop_instance_uid')}"
    said: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=object_uid(pre_read, _study(images), place_said), identifier=term.en[:64] if box else "Whole image"
        ),
        "algorithm_id": _algorithm(model_of(pre_read, finding.code)),
        "measurements": numbers,
        "qualitative_evaluations": [QualitativeEvaluation(name=codes.DCM.Finding, value=coded(term.concept))],
    }
    if header is None or not (box or pre_read.engine == "radiograph"):
        return MeasurementsAndQualitativeEvaluations(source_images=_sources(images, region.get("sop_instance_uid")), **said)
    return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=_region(box, header), **said)


def _region(box: Sequence[float] | None, header: Dataset) -> ImageRegion:
    """Return where a finding was seen: its box, or the whole image, since viewers pass over a group without coordinates."""
    return ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=within(corners_of(box or (0, 0, int(header.Columns), int(header.Rows))), header),
        source_image=SourceImageForRegion.from_source_image(header),
    )


def _study(images: Mapping[str, Dataset]) -> str:
    return next((str(header.StudyInstanceUID) for header in images.values()), "")


def _sources(images: Mapping[str, Dataset], sop_instance_uid: str | None) -> list[SourceImageForMeasurementGroup] | None:
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
