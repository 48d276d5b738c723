"""A signed ECG report as a DICOM ECG Report (PS3.16 TID 3700): a verified, final document beside the sealed paper.

Whoever signed is the observer of the whole. A number that the machine measured names the machine, one that a doctor measured
names that doctor and the averaged beat that it was measured on, each below the number itself: as its properties, because an
Enhanced SR gives an observation context to containers only (PS3.3 A.35.2.3.1.2), and TID 3713 has one container. Statements are
those that the doctor accepted; text is the doctor's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    TextContentItem,
)
from highdicom.sr import RelationshipTypeValues as Relationship
from pydicom import Dataset
from pydicom.sr.codedict import codes

from inference.ecg_report_object import (
    ECG_FINDING,
    code_item,
    finding_item,
    finish_ecg_report,
    global_measurements,
    procedure_reported,
    section,
    waveform_information,
)
from inference.objects.identity import MANUFACTURER, date_object, repeatable
from inference.structured_report import observer_of
from pacs_bridge.patient_names import latin_name

SERIES_NUMBER = 9100
_LANGUAGES = {"zh": CodedConcept("zh", "RFC5646", "Chinese"), "en": CodedConcept("en", "RFC5646", "English")}


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """A person who measured or signed."""

    name: str
    organisation: str

    @property
    def person_name(self) -> str:
        """The name as a PN (PS3.5 6.2): Latin letters, then as it is written; a name without parts is a family name."""
        latin = latin_name(self.name)
        return f"{latin.title()}^={self.name}" if self.name.lower() != latin else f"{self.name}^"


@dataclass(frozen=True, kw_only=True)
class SignedEcg:
    """What a signed version says."""

    #: Number of the version.
    number: int
    #: ``zh`` or ``en``: the language of the text.
    language: str
    findings: str
    impression: str
    signer: Doctor
    #: Numbers that hold of the first recording, by code.
    numbers: Mapping[str, float]
    #: Codes that a doctor has measured, also where there was nothing to measure, and who it was.
    by_hand: Collection[str] = ()
    measured_by: Doctor | None = None
    #: The model that measured the rest, as the pre-read names it.
    machine: Mapping[str, Any] | None = None
    #: Codes of the statements that the doctor has accepted.
    accepted: Sequence[str] = field(default_factory=tuple)


def signed_ecg_report(
    report: SignedEcg,
    evidence: Sequence[Dataset],
    *,
    sop_instance_uid: str,
    series_instance_uid: str,
    made_at: datetime,
    replaces: Dataset | None = None,
) -> EnhancedSR:
    """Return the document of a signed version.

    Parameters
    ----------
    evidence
        Headers of the recordings; patient, study and the numbers belong to the first.
    made_at
        When it was signed.
    replaces
        The document of the version before, with the UIDs of study, series, class and instance.
    """
    headers = [repeatable(header) for header in evidence]
    document = EnhancedSR(
        evidence=headers,
        content=_content(report, headers),
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER,
        sop_instance_uid=sop_instance_uid,
        instance_number=report.number,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=True,
        is_verified=True,
        verifying_observer_name=report.signer.person_name,
        verifying_organization=report.signer.organisation[:64],
        series_description="Signed report",
        previous_versions=[replaces] if replaces is not None else None,
    )
    date_object(document, made_at)
    for observer in document.VerifyingObserverSequence:
        observer.VerificationDateTime = f"{made_at:%Y%m%d%H%M%S%z}"
    finish_ecg_report(document, headers)
    return document


def _content(report: SignedEcg, headers: Sequence[Dataset]) -> ContainerContentItem:
    root = ContainerContentItem(name=codes.LN.ECGReport, template_id="3700", is_content_continuous=False)
    content = ContentSequence(is_root=False)
    content.extend(LanguageOfContentItemAndDescendants(_LANGUAGES[report.language]))
    content.extend(_person(report.signer))
    content.append(procedure_reported())
    content.append(waveform_information(headers, []))
    content.append(global_measurements(report.numbers, _said_by(report)))
    statements: list[ContentItem] = [finding_item(code) for code in report.accepted]
    if report.findings:
        statements.insert(0, _text(ECG_FINDING, report.findings))
    if statements:
        content.append(section(codes.DCM.QualitativeAnalysis, "3717", statements))
    content.append(section(codes.LN.Summary, "3719", [_text(codes.LN.Summary, report.impression)]))
    root.ContentSequence = content
    return root


def _said_by(report: SignedEcg) -> dict[str, Sequence[ContentItem]]:
    said: dict[str, Sequence[ContentItem]] = {}
    if report.machine is not None:
        machine = _properties(observer_of(dict(report.machine)))
        said |= dict.fromkeys(report.numbers, machine)
    if report.measured_by is not None:
        # TID 3715: in which picture of the beats the doctor measured (CID 3676).
        method = code_item(codes.SCT.MeasurementMethod, codes.SCT.Median, Relationship.HAS_CONCEPT_MOD)
        doctor = [method, *_properties(_person(report.measured_by))]
        said |= dict.fromkeys(report.by_hand, doctor)
    return said


def _properties(observer: ObserverContext) -> list[ContentItem]:
    items = cast("list[ContentItem]", list(observer))
    for item in items:
        item.RelationshipType = Relationship.HAS_PROPERTIES.value
    return items


def _person(doctor: Doctor) -> ObserverContext:
    attributes = PersonObserverIdentifyingAttributes(name=doctor.person_name, organization_name=doctor.organisation)
    return ObserverContext(observer_type=codes.DCM.Person, observer_identifying_attributes=attributes)


def _text(name: Any, value: str) -> TextContentItem:
    return TextContentItem(name=name, value=value, relationship_type=Relationship.CONTAINS)
