"""From a data set's header to the facts that our rows keep; what a device left out stays empty, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pydicom
from pydicom import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, TM, PersonName

from core.errors import SumuError
from core.tables.studies import Urgency
from pacs_bridge.patient_names import latin_name, written_name

#: Everything that a row needs; larger elements are not even read.
TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "InstanceNumber", "NumberOfFrames", "PatientID", "PatientName", "PatientSex", "PatientBirthDate", "PatientAge",
    "AccessionNumber", "StudyDescription", "SeriesDescription", "ProtocolName", "BodyPartExamined", "StudyDate", "StudyTime",
    "TimezoneOffsetFromUTC", "RequestedProcedurePriority", "StudyPriorityID",
]  # fmt: skip

#: (0040,1003) and the retired (0032,000C): what devices write when somebody presses "emergency".
_URGENT_WORDS = {"STAT", "HIGH"}


class UnusableHeader(SumuError):
    """An instance lacks what would tell which study it belongs to."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem, remedy="Have the device's service engineer correct its DICOM settings, then send again.")


@dataclass(frozen=True, kw_only=True)
class InstanceFacts:
    """What one header says, in our types."""

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    instance_number: int | None
    frames: int
    patient_identifier: str
    patient_name: str
    patient_name_latin: str
    sex: str
    birth_date: date | None
    age_years: float | None
    accession_number: str
    description: str
    body_part: str
    performed_at: datetime | None
    urgency: Urgency


def read_header(path: Path) -> Dataset:
    """Read the elements of ``TAGS`` from a Part 10 file, with its file meta information.

    Raises
    ------
    UnusableHeader
        If the bytes cannot be read as DICOM.
    FileNotFoundError
        If there is no such file.
    """
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a broken file makes the parser do, the file is set aside
        raise UnusableHeader(f"The data set cannot be read: {type(error).__name__}: {error}.") from error


def facts_of(header: Dataset, *, county_timezone: str) -> InstanceFacts:
    """Return the facts of a header.

    Raises
    ------
    UnusableHeader
        If one of the four identifiers is missing or no UID (PS3.5 9.1).
    """
    performed_at = _performed_at(header, county_timezone)
    birth_date = _date(header.get("PatientBirthDate"))
    name = header.get("PatientName") or PersonName("")
    return InstanceFacts(
        sop_instance_uid=_uid(header, "SOPInstanceUID"),
        sop_class_uid=_uid(header, "SOPClassUID"),
        study_instance_uid=_uid(header, "StudyInstanceUID"),
        series_instance_uid=_uid(header, "SeriesInstanceUID"),
        transfer_syntax_uid=str(header.file_meta.TransferSyntaxUID),
        modality=_text(header, "Modality", 16),
        instance_number=_number(header.get("InstanceNumber")),
        frames=_number(header.get("NumberOfFrames")) or 1,
        patient_identifier=_text(header, "PatientID", 64),
        patient_name=written_name(name)[:256],
        patient_name_latin=latin_name(name)[:256],
        sex=_text(header, "PatientSex", 1),
        birth_date=birth_date,
        age_years=_age(header, birth_date, performed_at),
        accession_number=_text(header, "AccessionNumber", 64),
        description=_text(header, "StudyDescription", 256)
        or _text(header, "SeriesDescription", 256)
        or _text(header, "ProtocolName", 256),
        body_part=_text(header, "BodyPartExamined", 64),
        performed_at=performed_at,
        urgency=Urgency.URGENT
        if {_text(header, "RequestedProcedurePriority", 16), _text(header, "StudyPriorityID", 16)} & _URGENT_WORDS
        else Urgency.ROUTINE,
    )


def _uid(header: Dataset, keyword: str) -> str:
    value = str(header.get(keyword) or "")
    if not value:
        raise UnusableHeader(f"{keyword} is missing.")
    # PS3.5 9.1 forbids leading zeros, which many devices write all the same; they harm nobody.
    if len(value) > 64 or not all(part.isascii() and part.isdigit() for part in UID(value).split(".")):
        raise UnusableHeader(f"{keyword} '{value[:80]}' is no UID.")
    return value


def _text(header: Dataset, keyword: str, length: int) -> str:
    value: Any = header.get(keyword)
    return "" if value is None else str(value).replace("\x00", "").strip()[:length]


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _date(value: Any) -> date | None:
    try:
        parsed = DA(value) if value else None
    except (TypeError, ValueError):
        return None
    return date(parsed.year, parsed.month, parsed.day) if parsed else None


def _performed_at(header: Dataset, county_timezone: str) -> datetime | None:
    day = _date(header.get("StudyDate"))
    if day is None:
        return None
    try:
        clock = TM(header.get("StudyTime") or "000000")
        local = datetime(
            day.year, day.month, day.day, clock.hour, clock.minute, clock.second, tzinfo=_zone(header, county_timezone)
        )
    except (TypeError, ValueError, AttributeError):
        return datetime(day.year, day.month, day.day, tzinfo=_zone(header, county_timezone)).astimezone(UTC)
    return local.astimezone(UTC)


def _zone(header: Dataset, county_timezone: str) -> timezone | ZoneInfo:
    """Return the zone of (0008,0201) where the device gave one, else the county's."""
    offset = str(header.get("TimezoneOffsetFromUTC") or "")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        sign = -1 if offset[0] == "-" else 1
        return timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))
    return ZoneInfo(county_timezone)


def _age(header: Dataset, birth_date: date | None, performed_at: datetime | None) -> float | None:
    """Return the age in years from (0010,1010), else from the birth date and the day of the study."""
    text = _text(header, "PatientAge", 4)
    # Devices write 000Y when they do not know; the age of a newborn comes in days.
    if len(text) == 4 and text[:3].isdigit() and text[3] in "DWMY" and text != "000Y":
        return round(int(text[:3]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[text[3]], 2)
    if birth_date and performed_at:
        return round((performed_at.date() - birth_date).days / 365.25, 2)
    return None
