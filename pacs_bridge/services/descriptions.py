"""What is known of patients, studies, series and images: our rows, with what the archive's index adds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from sqlalchemy import func, select

from core.clock import in_county
from core.database import Database
from core.settings import Settings
from core.tables import Instance, Patient, Study
from pacs_bridge.archive import ArchiveRefused, ArchiveUnreachable, NotInArchive
from pacs_bridge.services.holdings import INSTANCE, SERIES, STUDY, DescribingArchive, header_values
from pacs_bridge.services.matching import matches, values_of
from pacs_bridge.services.question import Question
from pacs_bridge.services.shown_text import person_name
from pacs_bridge.services.study_counts import counts_of
from pacs_bridge.services.study_rows import (
    PRESENT,
    instance_criteria,
    pages,
    patient_criteria,
    series_criteria,
    study_criteria,
)

#: Studies that are read and described at once.
PAGE = 200
#: Matched by the database for good.
SETTLED = frozenset(("PatientName",))
#: Keys of the patient; the archive is never asked about them.
_OF_PATIENT = frozenset(("PatientName", "PatientID", "PatientBirthDate", "PatientSex"))
#: What our rows tell for themselves.
_OUR_KEYS = frozenset(
    (
        *_OF_PATIENT, "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "SeriesInstanceUID", "Modality", "SOPInstanceUID",
        "SOPClassUID", "InstanceNumber", "NumberOfFrames", "NumberOfSeriesRelatedInstances", "RetrieveAETitle",
        "InstanceAvailability",
    )
)  # fmt: skip


class Descriptions:
    """Finds and describes what questions are about. Threads may share it."""

    def __init__(self, settings: Settings, database: Database, archive: DescribingArchive) -> None:
        self._settings, self._database, self._archive = settings, database, archive

    def found(self, question: Question) -> Iterator[Dataset]:
        """Yield what the database lets through, each with everything that is known of it; the keys are matched by the caller."""
        if question.level == "PATIENT":
            yield from self._patients(question)
            return
        query = select(Study).join(Patient).where(question.scope.studies, *study_criteria(question.identifier))
        for page in pages(self._database, query, PAGE):
            if question.level == "STUDY":
                yield from self._studies(question, page)
            else:
                for study, known in zip(page, self._studies(question, page), strict=True):
                    yield from self._series(question, study, known)

    def _patients(self, question: Question) -> Iterator[Dataset]:
        present = select(Instance.id).where(Instance.study_id == Study.id, PRESENT).exists()
        studies = select(Study.id).where(Study.patient_id == Patient.id, question.scope.studies, present).exists()
        last: int | None = None
        while True:
            with self._database.reading() as session:
                query = select(Patient).where(studies, *patient_criteria(question.identifier))
                if last is not None:
                    query = query.where(Patient.id < last)
                patients = list(session.scalars(query.order_by(Patient.id.desc()).limit(PAGE)))
                rows = session.execute(
                    select(
                        Study.patient_id,
                        func.count(Study.id.distinct()),
                        func.count(Instance.series_instance_uid.distinct()),
                        func.count(Instance.id),
                    )
                    .join(Instance, Instance.study_id == Study.id)
                    .where(Study.patient_id.in_([patient.id for patient in patients]), PRESENT)
                    .group_by(Study.patient_id)
                )
                counts = {row[0]: row[1:] for row in rows}
            for patient in patients:
                known = Dataset()
                self._patient(known, question, patient)
                studies_count, series_count, instances_count = counts[patient.id]
                known.NumberOfPatientRelatedStudies = studies_count
                known.NumberOfPatientRelatedSeries = series_count
                known.NumberOfPatientRelatedInstances = instances_count
                self._availability(known)
                yield known
            if len(patients) < PAGE:
                return
            last = patients[-1].id

    def _studies(self, question: Question, page: Sequence[Study]) -> Iterator[Dataset]:
        with self._database.reading() as session:
            counts = counts_of(session, [study.id for study in page])
        described = self._described(question, STUDY, "StudyInstanceUID", [study.study_instance_uid for study in page])
        for study in page:
            known = Dataset()
            local = in_county(study.performed_at, self._settings.county.timezone) if study.performed_at else None
            known.StudyInstanceUID = study.study_instance_uid
            known.StudyDate = local.strftime("%Y%m%d") if local else ""
            known.StudyTime = local.strftime("%H%M%S") if local else ""
            known.AccessionNumber = study.accession_number
            known.StudyDescription = study.description
            for keyword in ("StudyID", "ReferringPhysicianName"):  # PS3.4 C.6.2.1: required of every SCP
                known.add_new(tag_for_keyword(keyword) or 0, dictionary_VR(keyword), "")
            _fill(known, described.get(study.study_instance_uid, {}))
            self._patient(known, question, study.patient)
            of_study = counts[study.id]
            known.ModalitiesInStudy = of_study.modalities
            known.SOPClassesInStudy = of_study.sop_classes
            known.NumberOfStudyRelatedSeries = of_study.series
            known.NumberOfStudyRelatedInstances = of_study.instances
            self._availability(known)
            yield known

    def _series(self, question: Question, study: Study, of_study: Dataset) -> Iterator[Dataset]:
        by_series: dict[str, list[Instance]] = defaultdict(list)
        criteria = [*series_criteria(question.identifier), *instance_criteria(question.identifier)]
        with self._database.reading() as session:
            rows = select(Instance).where(Instance.study_id == study.id, PRESENT, *criteria).order_by(Instance.id)
            for instance in session.scalars(rows):
                by_series[instance.series_instance_uid].append(instance)
        described = self._described(question, SERIES, "SeriesInstanceUID", list(by_series))
        for uid, instances in by_series.items():
            known = _copy(of_study)
            known.SeriesInstanceUID = uid
            known.Modality = instances[0].modality
            known.SeriesNumber = None
            known.NumberOfSeriesRelatedInstances = len(instances)
            _fill(known, described.get(uid, {}))
            if question.level == "SERIES":
                yield known
            elif matches(_of_series(question.identifier), known, settled=SETTLED):
                yield from self._images(question, uid, instances, known)

    def _images(self, question: Question, series: str, instances: Sequence[Instance], of_series: Dataset) -> Iterator[Dataset]:
        described = self._described(question, INSTANCE, "SeriesInstanceUID", [series])
        for instance in instances:
            known = _copy(of_series)
            known.SOPInstanceUID = instance.sop_instance_uid
            known.SOPClassUID = instance.sop_class_uid
            known.InstanceNumber = instance.instance_number
            known.NumberOfFrames = instance.frames
            known.AvailableTransferSyntaxUID = instance.transfer_syntax_uid
            _fill(known, described.get(instance.sop_instance_uid, {}))
            if instance.archive_id and not question.keywords <= {element.keyword for element in known}:
                _fill(known, self._header(instance.archive_id), only=question.keywords, fresh=True)
            yield known

    def _described(self, question: Question, level: str, keyword: str, uids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return what the archive's index adds. While the archive is away our own rows answer, as long as nothing that only
        it knows is to be matched."""
        try:
            return self._archive.main_tags(level, keyword, uids) if uids else {}
        except (ArchiveUnreachable, ArchiveRefused, NotInArchive):
            only_there = question.keywords - _OUR_KEYS
            if any(values_of(question.identifier, name) for name in only_there):
                raise
            return {}

    def _header(self, archive_id: str) -> dict[str, str]:
        try:
            return header_values(self._archive.header(archive_id))
        except (ArchiveUnreachable, ArchiveRefused, NotInArchive):
            return {}

    def _patient(self, known: Dataset, question: Question, patient: Patient) -> None:
        known.PatientName = person_name(patient.name, patient.name_latin, question.character_set)
        # A patient without an identifier has one of ours, by which the patient root can find them.
        ours = patient.identifier.startswith("study:") and not question.patient_root
        known.PatientID = "" if ours else patient.identifier
        known.PatientSex = patient.sex
        known.PatientBirthDate = patient.birth_date.strftime("%Y%m%d") if patient.birth_date else ""

    def _availability(self, known: Dataset) -> None:
        known.RetrieveAETitle = self._settings.node.ae_title
        known.InstanceAvailability = "ONLINE"


def _of_series(identifier: Dataset) -> Dataset:
    """Return the keys that are about series and what is above them."""
    keys = Dataset()
    for key in identifier:
        if key.keyword not in ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "NumberOfFrames"):
            keys.add(key)
    return keys


def _copy(known: Dataset) -> Dataset:
    copied = Dataset()
    copied.update(dict(known.items()))
    return copied


def _fill(known: Dataset, values: Mapping[str, str], *, only: frozenset[str] | None = None, fresh: bool = False) -> None:
    """Add what the archive tells by keyword; with ``fresh`` nothing that is known is replaced."""
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        if tag is None or keyword in _OF_PATIENT or (only is not None and keyword not in only) or (fresh and tag in known):
            continue
        representation = dictionary_VR(tag)
        if representation in ("SQ", "OB", "OW", "OB or OW", "UN") or (not value and tag in known):
            continue
        known.add_new(tag, representation.split(" ")[0], _converted(representation, value))


def _converted(representation: str, value: str) -> object:
    if not value:
        return None
    if representation in ("US", "UL", "SS", "SL", "US or SS"):
        parts = [int(part) for part in value.split("\\") if part.lstrip("-").isdigit()]
        return parts[0] if len(parts) == 1 else parts
    if representation in ("FD", "FL"):
        return [float(part) for part in value.split("\\")]
    return value.split("\\") if "\\" in value else value
