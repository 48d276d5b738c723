"""Whose slide it is and how it was made, in the attributes of DICOM's patient, study and specimen modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from pydicom.uid import UID
from wsidicom.conceptcode import (  # type: ignore[import-untyped]
    AnatomicPathologySpecimenTypesCode,
    SpecimenEmbeddingMediaCode,
    SpecimenFixativesCode,
    SpecimenSamplingProcedureCode,
    SpecimenStainsCode,
)
from wsidicom.metadata import (  # type: ignore[import-untyped]
    Equipment,
    Image,
    Label,
    Patient,
    PatientSex,
    Pyramid,
    Series,
    Slide,
    Study,
    WsiMetadata,
)
from wsidicom.metadata.sample import (  # type: ignore[import-untyped]
    Embedding,
    Fixation,
    PreparationStep,
    SlideSample,
    Specimen,
    Staining,
)

#: Haematoxylin and eosin by their meanings in CID 8112 (Specimen Stain).
HAEMATOXYLIN_AND_EOSIN = ("hematoxylin stain", "water soluble eosin stain")
_SEXES = {"M": PatientSex.M, "F": PatientSex.F, "O": PatientSex.O}


@dataclass(frozen=True, kw_only=True)
class SlidePatient:
    """What the laboratory knows of a slide; the scanner knows none of it."""

    #: A DICOM person name (PS3.5 6.2); Chinese in the second group: ``Wang^Xiaoming=王^小明``.
    name: str
    patient_id: str
    accession_number: str
    #: When the study began, on the county's wall clock; aware.
    studied_at: datetime
    #: Number on the glass (玻片号).
    container: str
    #: Number of the tissue (蜡块号 or 病理号); the slide's number where there is no other.
    specimen: str | None = None
    birth_date: date | None = None
    sex: Literal["M", "F", "O"] | None = None
    #: The study that the order opened; a new one is made when there is none.
    study_instance_uid: str | None = None
    study_id: str | None = None
    study_description: str | None = None
    referring_physician: str | None = None
    #: What was taken and from where: ``胃窦，活检``.
    specimen_description: str | None = None
    #: Meanings of CID 8112, in the order of staining; empty when unknown.
    stains: Sequence[str] = HAEMATOXYLIN_AND_EOSIN
    #: Meaning of CID 8114, such as ``Formalin``; None when unknown.
    fixative: str | None = None
    #: Meaning of CID 8115, such as ``Paraffin wax``; None when unknown.
    embedding: str | None = None
    #: Number of the series in the study: one for each slide.
    series_number: int = 1


def slide_metadata(patient: SlidePatient) -> WsiMetadata:
    """Return the metadata that overrule what the slide file says of itself.

    Raises
    ------
    ValueError
        If a stain, a fixative or a medium is no meaning of its context group, or ``studied_at`` is not aware.
    """
    if patient.studied_at.tzinfo is None:
        raise ValueError("studied_at has no time zone; make it aware.")
    return WsiMetadata(
        study=Study(
            uid=UID(patient.study_instance_uid) if patient.study_instance_uid else None,
            # Study ID is Type 2, but a DICOMDIR cannot be built without it (PS3.3 F.5.2).
            identifier=patient.study_id or patient.accession_number,
            date=patient.studied_at.date(),
            time=patient.studied_at.time().replace(microsecond=0),
            accession_number=patient.accession_number,
            referring_physician_name=patient.referring_physician,
            description=patient.study_description,
        ),
        series=Series(number=patient.series_number, description=f"Slide {patient.container}"),
        patient=Patient(
            name=patient.name,
            identifier=patient.patient_id,
            birth_date=patient.birth_date,
            sex=_SEXES.get(patient.sex or ""),
        ),
        equipment=Equipment(),
        pyramid=Pyramid(image=Image(), optical_paths=[]),
        slide=_slide(patient),
        # The label's text stands in Container Identifier; Label Text without a barcode would break PS3.3 C.8.12.8.
        label=Label(),
    )


def _slide(patient: SlidePatient) -> Slide:
    steps: list[PreparationStep] = []
    if patient.fixative:
        steps.append(Fixation(fixative=SpecimenFixativesCode(patient.fixative)))
    if patient.embedding:
        steps.append(Embedding(medium=SpecimenEmbeddingMediaCode(patient.embedding)))
    sampling = None
    if patient.specimen and patient.specimen != patient.container:
        tissue = Specimen(identifier=patient.specimen, type=AnatomicPathologySpecimenTypesCode("tissue specimen"), steps=steps)
        sampling, steps = tissue.sample(method=SpecimenSamplingProcedureCode("Block sectioning")), []
    sample = SlideSample(
        identifier=patient.container,
        sampled_from=sampling,
        steps=steps,
        # Specimen Short Description is LO: 64 characters (PS3.5 6.2).
        short_description=patient.specimen_description[:64] if patient.specimen_description else None,
        detailed_description=patient.specimen_description,
    )
    stainings = [Staining(substances=[SpecimenStainsCode(stain) for stain in patient.stains])] if patient.stains else None
    return Slide(identifier=patient.container, stainings=stainings, samples=[sample])
