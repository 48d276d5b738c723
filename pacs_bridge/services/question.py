"""What a C-FIND of studies asks (PS3.4 C.4.1.2), read and checked before anything is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from core.database import Database
from pacs_bridge.services.data_sets import read_request, text_of
from pacs_bridge.services.matching import NO_KEYS, check_keys, day_range, in_range, time_range, values_of
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.shown_text import character_set_for
from pacs_bridge.services.sop_classes import IDENTIFIER_MISMATCH, PATIENT_ROOT_FIND
from pacs_bridge.services.study_rows import Scope, scope_of
from pacs_bridge.upper_layer.association import Message

#: PS3.4 C.6.1.1, C.6.2.1: the unique keys, from the top.
UNIQUE_KEYS = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}


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


def question_of(message: Message, database: Database) -> Question:
    """Return the question of a request.

    Raises
    ------
    Refused
        If it cannot be read, or is at no level of its information model.
    """
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
    with database.reading() as session:
        scope = scope_of(session, message.device)
    return Question(
        identifier=identifier,
        level=level,
        patient_root=patient_root,
        span=_span(identifier) if agreed[1:2] == b"\1" else None,
        scope=scope,
        character_set=character_set_for(identifier, message.device.worklist_character_set),
    )


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


def _span(identifier: Dataset) -> tuple[str, str] | None:
    days, times = (values_of(identifier, keyword) for keyword in ("StudyDate", "StudyTime"))
    if not (days and times):
        return None
    (first_day, last_day), (first_time, last_time) = day_range(days[0]), time_range(times[0])
    return first_day + first_time, last_day + (last_time or "235959999999") if last_day else ""


def in_span(span: tuple[str, str] | None, known: Dataset) -> bool:
    """Return whether a study was made in a span of days and times."""
    return span is None or in_range(text_of(known, "StudyDate") + time_range(text_of(known, "StudyTime"))[0], span)
