"""Which rows a search or a fetch is about: everything is narrowed by the asking device's organisation first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydicom import Dataset
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload

from core.access import reach
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.tables import Instance, Patient, Study
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.matching import day_range, name_pieces, values_of

#: UIDs of one question to the database: SQLite takes 32 766 values at once.
MOST_AT_ONCE = 500

#: What is set aside is nobody's image.
PRESENT = Instance.state != CustodyState.QUARANTINED


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a device may see."""

    organisations: frozenset[int]

    @property
    def studies(self) -> ColumnElement[bool]:
        """Studies of these organisations."""
        return Study.organisation_id.in_(self.organisations)


def scope_of(session: Session, device: AdmittedDevice) -> Scope:
    """Return what a device may see: what its organisation and those below it examined."""
    return Scope(organisations=frozenset(reach(session, device.organisation_id)))


def study_criteria(asked: Dataset) -> list[ColumnElement[bool]]:
    """Return conditions on :class:`Study` joined with :class:`Patient` that every match fulfils.

    Names are matched here for good, by characters and by pinyin; for other keys what these conditions let through is
    looked at again, as dates, for one, are kept in UTC.
    """
    criteria: list[ColumnElement[bool]] = [select(Instance.id).where(Instance.study_id == Study.id, PRESENT).exists()]
    criteria += patient_criteria(asked)
    criteria += _uids(asked, "StudyInstanceUID", Study.study_instance_uid)
    if accession := values_of(asked, "AccessionNumber"):
        criteria.append(or_(*(like(Study.accession_number, value) for value in accession)))
    if days := values_of(asked, "StudyDate"):
        criteria += within_days(Study.performed_at, days[0])
    if modalities := values_of(asked, "ModalitiesInStudy"):
        criteria.append(_has_instance(or_(*(like(Instance.modality, value) for value in modalities))))
    if classes := values_of(asked, "SOPClassesInStudy"):
        criteria.append(_has_instance(Instance.sop_class_uid.in_(classes)))
    if series := [*series_criteria(asked), *instance_criteria(asked)]:
        criteria.append(_has_instance(*series))
    return criteria


def patient_criteria(asked: Dataset) -> list[ColumnElement[bool]]:
    """Return conditions on :class:`Patient`."""
    criteria: list[ColumnElement[bool]] = []
    if identifiers := values_of(asked, "PatientID"):
        criteria.append(or_(*(like(Patient.identifier, value) for value in identifiers)))
    if names := values_of(asked, "PatientName"):
        criteria.append(name_condition(names[0]))
    return criteria


def series_criteria(asked: Dataset) -> list[ColumnElement[bool]]:
    """Return conditions on the instances of a series."""
    criteria = _uids(asked, "SeriesInstanceUID", Instance.series_instance_uid)
    if modalities := values_of(asked, "Modality"):
        criteria.append(or_(*(like(Instance.modality, value) for value in modalities)))
    return criteria


def instance_criteria(asked: Dataset) -> list[ColumnElement[bool]]:
    """Return conditions on single instances."""
    return [
        *_uids(asked, "SOPInstanceUID", Instance.sop_instance_uid),
        *_uids(asked, "SOPClassUID", Instance.sop_class_uid),
    ]


def name_condition(wanted: str) -> ColumnElement[bool]:
    """Return the condition that a patient has a name (PS3.4 C.2.2.2.4, PN).

    Case, accents and the borders of name parts do not matter. The characters match, the Latin letters, and where the row
    holds them the words of ``patient_names.search_words``: pinyin in its usual readings, and initials.
    """
    spaced_words = func.coalesce(" " + Patient.search_words + " ", "")
    choices: list[ColumnElement[bool]] = []
    for group in wanted.split("="):
        pieces = name_pieces(group)
        if not pieces:
            continue
        patterns = {_like_pattern(pieces)}
        if not group.isascii():
            patterns.add(_like_pattern([piece.replace(" ", "") for piece in pieces]))
        for pattern in patterns:
            choices += [
                func.lower(Patient.name).like(pattern, escape="\\"),
                func.lower(Patient.name_latin).like(pattern, escape="\\"),
                spaced_words.like(f"% {pattern} %", escape="\\"),
            ]
    return or_(*choices)


def like(column: InstrumentedAttribute[str], wanted: str) -> ColumnElement[bool]:
    """Return the condition that a text equals a key with wildcards (PS3.4 C.2.2.2.4)."""
    if "*" not in wanted and "?" not in wanted:
        return column == wanted
    return column.like(_like_pattern([*wanted]), escape="\\")


def within_days(column: InstrumentedAttribute[Any], wanted: str) -> list[ColumnElement[bool]]:
    """Return a range that is a day wider on both sides than the local days that were asked for."""
    first, last = day_range(wanted)
    bounds: list[ColumnElement[bool]] = []
    if (begin := _day(first)) is not None:
        bounds.append(column >= begin - timedelta(days=1))
    if (end := _day(last)) is not None:
        bounds.append(column <= end + timedelta(days=2))
    return [and_(*bounds)] if bounds else []


def pages(database: Database, query: Select[Study], size: int) -> Iterator[list[Study]]:
    """Yield studies with their patients, the newest first, in steps that hold no transaction open between them."""
    last: int | None = None
    while True:
        narrowed = query if last is None else query.where(Study.id < last)
        with database.reading() as session:
            wanted = narrowed.options(joinedload(Study.patient)).order_by(Study.id.desc()).limit(size)
            found = list(session.scalars(wanted))
        if found:
            yield found
        if len(found) < size:
            return
        last = found[-1].id


def in_portions(values: Iterable[str]) -> Iterator[list[str]]:
    """Yield values in portions that a database takes at once."""
    held = list(values)
    for at in range(0, len(held), MOST_AT_ONCE):
        yield held[at : at + MOST_AT_ONCE]


def _uids(asked: Dataset, keyword: str, column: InstrumentedAttribute[str]) -> list[ColumnElement[bool]]:
    values = values_of(asked, keyword)
    return [column.in_(values)] if values else []


def _has_instance(*criteria: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(Instance.id).where(Instance.study_id == Study.id, PRESENT, *criteria).exists()


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _like_pattern(pieces: list[str]) -> str:
    escaped = str.maketrans({"%": "\\%", "_": "\\_", "\\": "\\\\"})
    return "".join({"*": "%", "?": "_"}.get(piece, piece.translate(escaped)) for piece in pieces)
