"""An ECG pre-read as content of a DICOM ECG Report (PS3.16 TID 3700): the template that ECG systems exchange.

The rows that TID 3713 demands stand there also when they could not be measured: without a value, with the reason why
(PS3.3 C.18.1, CID 42). Why this template and not a Measurement Report: ``docs/decisions/ecg-report-object.md``. What a doctor
has signed is made of the same parts in ``ecg_signed_object.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DateTimeContentItem,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    ObserverContext,
    TextContentItem,
    WaveformContentItem,
)
from highdicom.sr import RelationshipTypeValues as Relationship
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.valuerep import DT

from core.tables import Finding, PreRead
from inference.vocabulary.terms import Concept, MeasurementTerm, vocabulary

_RATE = CodedConcept("2:16016", "MDC", "Ventricular Heart Rate")
#: The unit that TID 3713 asks for; the pages and FHIR have the plain one.
_BEATS_PER_MINUTE = CodedConcept("{H.B.}/min", "UCUM", "BPM")
_QTC = codes.MDC.QtcIntervalGlobal
#: What TID 3713 asks of every report, in its order, and the name that the template gives it.
_DEMANDED: dict[str, Code | CodedConcept] = {
    "ecg_heart_rate": _RATE,
    "ecg_qt": codes.MDC.QTIntervalGlobal,
    "ecg_pr": codes.MDC.PRIntervalGlobal,
    "ecg_qrs": codes.MDC.QRSDurationGlobal,
    "ecg_rr": codes.MDC.RRIntervalGlobal,
}
#: CID 3678: by which formula the one concept "QTc interval global" was computed.
_QTC_FORMULAS = {
    "ecg_qtc_bazett": codes.DCM.BazettQTCorrectionAlgorithm,
    "ecg_qtc_fridericia": codes.DCM.FridericiaQtcAlgorithm,
}
ECG_FINDING = CodedConcept("271921002", "SCT", "ECG Finding")
_OVERALL = CodedConcept("18810-2", "LN", "ECG overall finding")
_LANGUAGE_OF_VALUE = CodedConcept("121046", "DCM", "Language of Value")
_ENGLISH = CodedConcept("en", "RFC5646", "English")
_CHINESE = CodedConcept("zh", "RFC5646", "Chinese")
#: Schemes whose codes need their edition beside them (PS3.3 8.2, PS3.16 Table 8-1).
_SCHEME_VERSIONS = {"SCPECG": "1.3"}
_MEANING = 64


def ecg_report(
    pre_read: PreRead,
    evidence: Sequence[Dataset],
    observers: Sequence[ObserverContext],
    algorithms: Sequence[AlgorithmIdentification],
) -> ContainerContentItem:
    """Return the root of the content tree of a finished ECG pre-read.

    Parameters
    ----------
    evidence
        Headers of the ECG objects that were read; the first one is the waveform that the numbers were taken from.
    observers
        The devices that observed: one for each model.
    algorithms
        Name, version and parameters of each model.
    """
    report = ContainerContentItem(name=codes.LN.ECGReport, template_id="3700", is_content_continuous=False)
    content = ContentSequence(is_root=False)
    content.extend(LanguageOfContentItemAndDescendants(_ENGLISH))
    for observer in observers:
        content.extend(observer)
    content.append(procedure_reported())
    content.append(waveform_information(evidence, algorithms))
    content.append(global_measurements(numbers_of(pre_read)))
    if pre_read.findings:
        content.append(section(codes.DCM.QualitativeAnalysis, "3717", [_finding(finding) for finding in pre_read.findings]))
        content.append(section(codes.LN.Summary, "3719", list(_summary(pre_read))))
    report.ContentSequence = content
    return report


def coded(concept: Concept) -> CodedConcept:
    """Return a concept of the vocabulary as a coded concept, with its scheme's edition where the scheme has several."""
    return CodedConcept(concept.value, concept.scheme, concept.meaning[:_MEANING], _SCHEME_VERSIONS.get(concept.scheme))


def procedure_reported() -> CodeContentItem:
    """TID 3700: what was done (CID 3670)."""
    return code_item(codes.DCM.ProcedureReported, codes.SCT._12LeadECG, Relationship.HAS_CONCEPT_MOD)


def waveform_information(evidence: Sequence[Dataset], algorithms: Sequence[AlgorithmIdentification]) -> ContainerContentItem:
    """TID 3708: when the recording was made, by which programs it was analysed; ``finish_ecg_report`` adds which one it is."""
    items: list[ContentItem] = []
    recorded = evidence[0].get("AcquisitionDateTime") or _joined(evidence[0])
    if recorded:
        items.append(
            DateTimeContentItem(
                name=codes.DCM.ProcedureDatetime, value=DT(str(recorded)), relationship_type=Relationship.CONTAINS
            )
        )
    items += [_contained(item) for algorithm in algorithms for item in algorithm]
    return section(codes.LN.CurrentProcedureDescriptions, "3708", items)


def finish_ecg_report(document: Dataset, evidence: Sequence[Dataset]) -> None:
    """Put the recordings that were read into TID 3708 of a made document, and take the values out of what was not measured.

    Afterwards, because highdicom 0.28 reads a document's content when the document is made, and reads neither WAVEFORM items
    nor numbers without a value.
    """
    for number in _numbers_without_value(document):
        number.MeasuredValueSequence = []
    procedure = next(
        item
        for item in document.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == codes.LN.CurrentProcedureDescriptions.value
    )
    references = [
        WaveformContentItem(
            name=codes.DCM.SourceOfMeasurement,
            referenced_sop_class_uid=str(header.SOPClassUID),
            referenced_sop_instance_uid=str(header.SOPInstanceUID),
            relationship_type=Relationship.CONTAINS,
        )
        for header in evidence
    ]
    items = list(procedure.get("ContentSequence", []))
    dated = [item for item in items if item.ValueType == "DATETIME"]
    procedure.ContentSequence = [*dated, *references, *(item for item in items if item.ValueType != "DATETIME")]


def _numbers_without_value(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        if "NumericValueQualifierCodeSequence" in child:
            yield child
        yield from _numbers_without_value(child)


def _contained(item: ContentItem) -> ContentItem:
    """TID 3708 contains the algorithm's identification; elsewhere the same rows are observation context."""
    item.RelationshipType = Relationship.CONTAINS.value
    return item


def _joined(header: Dataset) -> str:
    """Return the study's date and time as one DT, empty when the device gave no date."""
    day, time = str(header.get("StudyDate") or ""), str(header.get("StudyTime") or "")
    return day + time if day else ""


def numbers_of(pre_read: PreRead) -> dict[str, float]:
    """Return the numbers of the pre-read's first recording, by code: the report speaks of one."""
    numbers: dict[str, float] = {}
    for row in pre_read.measurements:
        numbers.setdefault(row.code, row.value)
    return numbers


def global_measurements(
    numbers: Mapping[str, float], said_by: Mapping[str, Sequence[ContentItem]] | None = None
) -> ContainerContentItem:
    """Return the quantitative analysis with the global measurements (TID 3713).

    Parameters
    ----------
    numbers
        Values by code of the vocabulary.
    said_by
        By code: who measured it and how, where that is not the report's own observer. Also of a number that is not there.
    """
    said_by, terms = said_by or {}, vocabulary().measurements
    items: list[NumContentItem] = []
    for code, name in _DEMANDED.items():
        items.append(_number(name, terms[code], numbers[code]) if code in numbers else _unmeasured(name))
        _tell(items[-1], said_by.get(code, ()))
    for code, value in numbers.items():
        if code in _DEMANDED:
            continue
        is_qtc = code in _QTC_FORMULAS
        items.append(_number(_QTC if is_qtc else coded(terms[code].concept), terms[code], value))
        _tell(items[-1], said_by.get(code, ()))
        if is_qtc:
            _tell(items[-1], [code_item(codes.DCM.AlgorithmName, _QTC_FORMULAS[code], Relationship.HAS_PROPERTIES)])
    return section(codes.DCM.QuantitativeAnalysis, None, [section(codes.DCM.ECGGlobalMeasurements, "3713", items)])


def _tell(number: NumContentItem, items: Sequence[ContentItem]) -> None:
    """Put ``items`` below a number; each number gets its own copies, for a content item stands in one place only."""
    if items:
        number.ContentSequence = ContentSequence([*number.get("ContentSequence", []), *(deepcopy(item) for item in items)])


def _number(name: Code | CodedConcept, term: MeasurementTerm, value: float) -> NumContentItem:
    return NumContentItem(
        name=name,
        value=round(value, term.digits) if term.digits else round(value),
        unit=_BEATS_PER_MINUTE if name is _RATE else CodedConcept(term.unit, "UCUM", term.unit_meaning),
        relationship_type=Relationship.CONTAINS,
    )


def _unmeasured(name: Code | CodedConcept) -> NumContentItem:
    """Return a demanded row that says itself that there is no value; ``finish_ecg_report`` takes the placeholder out."""
    return NumContentItem(
        name=name,
        value=0,
        unit=codes.UCUM.NoUnits,
        qualifier=codes.DCM.MeasurementFailure,
        relationship_type=Relationship.CONTAINS,
    )


def _finding(finding: Finding) -> CodeContentItem:
    certainty = []
    if finding.probability is not None:
        certainty = [
            NumContentItem(
                name=codes.DCM.CertaintyOfFinding,
                value=round(finding.probability * 100, 1),
                unit=codes.UCUM.Percent,
                relationship_type=Relationship.HAS_PROPERTIES,
            )
        ]
    return finding_item(finding.code, certainty)


def finding_item(code: str, properties: Sequence[ContentItem] = ()) -> CodeContentItem:
    """TID 3717: one statement by its code, with its Chinese name."""
    term = vocabulary().findings[code]
    item = code_item(ECG_FINDING, coded(term.concept), Relationship.CONTAINS)
    chinese = TextContentItem(
        name=codes.DCM.EquivalentMeaningOfValue, value=term.zh, relationship_type=Relationship.HAS_CONCEPT_MOD
    )
    chinese.ContentSequence = ContentSequence([code_item(_LANGUAGE_OF_VALUE, _CHINESE, Relationship.HAS_CONCEPT_MOD)])
    item.ContentSequence = ContentSequence([chinese, *properties])
    return item


def _summary(pre_read: PreRead) -> Iterator[ContentItem]:
    """TID 3719: the statements as sentences, and whether the whole is normal (CID 3677)."""
    terms = [vocabulary().findings[finding.code] for finding in pre_read.findings]
    yield TextContentItem(
        name=codes.LN.Summary,
        value="\n".join(f"{term.sentence_zh} {term.sentence_en}" for term in terms),
        relationship_type=Relationship.CONTAINS,
    )
    if any(finding.code == "ecg_normal" for finding in pre_read.findings):
        yield code_item(_OVERALL, codes.SCT.ECGNormal, Relationship.CONTAINS)


def section(name: Code, template: str | None, items: Sequence[ContentItem]) -> ContainerContentItem:
    """Return a container of ``items``, with the number of its template."""
    container = ContainerContentItem(
        name=name, template_id=template, is_content_continuous=False, relationship_type=Relationship.CONTAINS
    )
    container.ContentSequence = ContentSequence(items)
    return container


def code_item(name: Code | CodedConcept, value: Code | CodedConcept, relationship: Relationship) -> CodeContentItem:
    """Return a coded value under its name."""
    return CodeContentItem(name=name, value=value, relationship_type=relationship)
