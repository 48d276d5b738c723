"""C-FIND of studies (PS3.4 C.4.1): study root and patient root, from our rows, with what the archive's index adds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from sqlalchemy import func, select

from core.audit import record
from core.clock import in_county
from core.database import Database
from core.settings import Settings
from core.tables import Instance, Patient, Study
from pacs_bridge.archive import ArchiveRefused, ArchiveUnreachable, NotInArchive
from pacs_bridge.services.data_sets import as_text, read_request, text_of, write_answer
from pacs_bridge.services.holdings import INSTANCE, SERIES, STUDY, DescribingArchive, header_values
from pacs_bridge.services.matching import NO_KEYS, check_keys, day_range, in_range, is_universal, matches, time_range, values_of
from pacs_bridge.services.projection import project
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.shown_text import character_set_for, person_name, show
from pacs_bridge.services.sop_classes import (
    IDENTIFIER_MISMATCH,
    OUT_OF_RESOURCES,
    PATIENT_ROOT_FIND,
    PENDING_WITHOUT_SOME_KEYS,
)
from pacs_bridge.services.study_rows import (
    PRESENT,
    Scope,
    instance_criteria,
    pages,
    patient_criteria,
    scope_of,
    series_criteria,
    study_criteria,
)
from pacs_bridge.upper_layer.association import CANCELLED, PENDING, SUCCESS, Answer, Message

#: A device that asks without narrowing gets so many answers.
MOST_ANSWERS = 5_000
#: Studies that are read and described at once.
PAGE = 200
#: PS3.4 C.6.1.1, C.6.2.1: the unique keys, from the top.
UNIQUE_KEYS = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
#: Matched by the database for good.
_SETTLED = frozenset(("PatientName",))
#: Keys of the patient; the archive is never asked about them.
_OF_PATIENT = frozenset(("PatientName", "PatientID", "PatientBirthDate", "PatientSex"))


@dataclass(frozen=True, kw_only=True)
class Question:
    """One C-FIND request."""

    identifier: Dataset
    level: str
    patient_root: bool
    #: First and last moment, where date and time are one range (PS3.4 C.2.2.2.5, agreed by extended negotiation).
    span: tuple[str, str] | None
    scope: Scope
    character_set: str

    @property
    def keywords(self) -> frozenset[str]:
        """What is asked for."""
        return frozenset(key.keyword for key in self.identifier if key.keyword not in NO_KEYS)


@dataclass(kw_only=True)
class _Counts:
    """What the rows of one study add up to."""

    series: int = 0
    instances: int = 0
    modalities: list[str] = field(default_factory=list)
    sop_classes: list[str] = field(default_factory=list)


class Query:
    """Answers C-FIND. Threads may share it."""

    def __init__(self, settings: Settings, database: Database, archive: DescribingArchive) -> None:
        self._settings, self._database, self._archive = settings, database, archive

    def __call__(self, message: Message) -> Iterator[Answer]:
        """Find, and answer with every match; cancelled in between if the device wants it."""
        question = self._question(message)
        settled = _SETTLED if question.span is None else _SETTLED | {"StudyDate", "StudyTime"}
        count = 0
        for known in self._found(question):
            if message.cancelled():
                yield Answer(status=CANCELLED)
                return
            if not matches(question.identifier, known, settled=settled) or not _in_span(question.span, known):
                continue
            if count == MOST_ANSWERS:
                raise Refused(
                    OUT_OF_RESOURCES, f"More than {MOST_ANSWERS} answers; narrow the search.", remedy="Ask by date or by name."
                )
            if not count:
                self._record(message, question)
            count += 1
            yield self._answer(message, question, known)
        yield Answer(status=SUCCESS)

    def _question(self, message: Message) -> Question:
        identifier = read_request(message)
        check_keys(identifier)
        level = text_of(identifier, "QueryRetrieveLevel").upper()
        patient_root = message.context.abstract_syntax == PATIENT_ROOT_FIND
        levels = list(UNIQUE_KEYS)[0 if patient_root else 1 :]
        if level not in levels:
            raise Refused(
                IDENTIFIER_MISMATCH, f"Query/Retrieve Level '{level}' is none of {', '.join(levels)}.",
                remedy="Set the level of the search on the device.",
            )  # fmt: skip
        agreed = message.association.request.extended.get(message.context.abstract_syntax, b"")
        if agreed[:1] != b"\1":
            _check_hierarchy(identifier, levels, level)
        with self._database.reading() as session:
            scope = scope_of(session, message.device)
        return Question(
            identifier=identifier,
            level=level,
            patient_root=patient_root,
            span=_span(identifier) if agreed[1:2] == b"\1" else None,
            scope=scope,
            character_set=character_set_for(identifier, message.device.worklist_character_set),
        )

    def _record(self, message: Message, question: Question) -> None:
        """Leave a trace before anything goes out."""
        keys = {
            key.keyword or str(key.tag): as_text(key.value)[:256]
            for key in question.identifier
            if key.VR != "SQ" and key.keyword not in NO_KEYS and not is_universal(key)
        }
        with self._database.writing() as session:
            record(
                session, f"device:{message.device.ae_title}", "studies_searched", f"level:{question.level.lower()}",
                {"keys": keys, "association": message.association.id},
            )  # fmt: skip

    def _answer(self, message: Message, question: Question, known: Dataset) -> Answer:
        answer = project(question.identifier, known)
        answer.QueryRetrieveLevel = question.level
        if "RetrieveAETitle" not in answer:
            answer.RetrieveAETitle = self._settings.node.ae_title
        show(answer, question.character_set)
        complete = all(key.tag in known for key in question.identifier if key.keyword not in NO_KEYS)
        return Answer(
            status=PENDING if complete else PENDING_WITHOUT_SOME_KEYS,
            data_set=write_answer(answer, message.context.transfer_syntax),
        )

    # --- levels ---------------------------------------------------------------------------------------------------------

    def _found(self, question: Question) -> Iterator[Dataset]:
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
        counts = self._counts([study.id for study in page])
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
            elif matches(_of_series(question.identifier), known, settled=_SETTLED):
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

    # --- what is known --------------------------------------------------------------------------------------------------

    def _counts(self, studies: Sequence[int]) -> Mapping[int, _Counts]:
        counts: dict[int, _Counts] = defaultdict(_Counts)
        with self._database.reading() as session:
            grouped = (
                select(
                    Instance.study_id,
                    Instance.modality,
                    Instance.sop_class_uid,
                    Instance.series_instance_uid,
                    func.count(Instance.id),
                )
                .where(Instance.study_id.in_(studies), PRESENT)
                .group_by(Instance.study_id, Instance.modality, Instance.sop_class_uid, Instance.series_instance_uid)
                .order_by(func.min(Instance.id))
            )
            series: dict[int, set[str]] = defaultdict(set)
            for study, modality, sop_class, uid, number in session.execute(grouped):
                of_study = counts[study]
                series[study].add(uid)
                of_study.instances += number
                of_study.series = len(series[study])
                if modality and modality not in of_study.modalities:
                    of_study.modalities.append(modality)
                if sop_class not in of_study.sop_classes:
                    of_study.sop_classes.append(sop_class)
        return counts

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


#: What our rows tell for themselves.
_OUR_KEYS = frozenset(
    (
        *_OF_PATIENT, "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "SeriesInstanceUID", "Modality", "SOPInstanceUID",
        "SOPClassUID", "InstanceNumber", "NumberOfFrames", "NumberOfSeriesRelatedInstances", "RetrieveAETitle",
        "InstanceAvailability",
    )
)  # fmt: skip


def _check_hierarchy(identifier: Dataset, levels: Sequence[str], level: str) -> None:
    """Pass if every level above names one thing (PS3.4 C.4.1.2.1), or raise :class:`Refused`."""
    for above in levels[: levels.index(level)]:
        key = UNIQUE_KEYS[above]
        values = values_of(identifier, key)
        if len(values) != 1 or any(mark in values[0] for mark in "*?"):
            raise Refused(
                IDENTIFIER_MISMATCH, f"{key} must be one value at the level {level}.",
                remedy="Ask level by level, or negotiate relational queries.",
            )  # fmt: skip


def _of_series(identifier: Dataset) -> Dataset:
    """Return the keys that are about series and what is above them."""
    keys = Dataset()
    for key in identifier:
        if key.keyword not in ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "NumberOfFrames"):
            keys.add(key)
    return keys


def _span(identifier: Dataset) -> tuple[str, str] | None:
    days, times = (values_of(identifier, keyword) for keyword in ("StudyDate", "StudyTime"))
    if not (days and times):
        return None
    (first_day, last_day), (first_time, last_time) = day_range(days[0]), time_range(times[0])
    return first_day + first_time, last_day + (last_time or "235959999999") if last_day else ""


def _in_span(span: tuple[str, str] | None, known: Dataset) -> bool:
    return span is None or in_range(text_of(known, "StudyDate") + time_range(text_of(known, "StudyTime"))[0], span)


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
