"""From a header to the facts that our rows keep; what a device left out stays empty, never guessed.

What came from outside is read by :mod:`pacs_bridge.examination`, never by pydicom, whose recursion a file may abuse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pydicom
from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import DA, TEXT_VR_DELIMS, TM, PersonName

from core.errors import SumuError
from core.tables.studies import Urgency
from pacs_bridge.examination.examined import Examined
from pacs_bridge.patient_names import latin_name, written_name

#: Everything that a row needs; larger elements are not even read.
TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "InstanceNumber", "NumberOfFrames", "PatientID", "PatientName", "PatientSex", "PatientBirthDate", "PatientAge",
    "AccessionNumber", "StudyDescription", "SeriesDescription", "ProtocolName", "BodyPartExamined", "StudyDate", "StudyTime",
    "TimezoneOffsetFromUTC", "RequestedProcedurePriority", "StudyPriorityID",
]  # fmt: skip

#: The four identifiers, in the order in which their absence is told.
_IDENTIFIERS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")
_TEXTS = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
#: Columns hold 32 bits; an IS holds no more (PS3.5 6.2).
_LARGEST_NUMBER = 2**31 - 1

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
    """Read the elements of ``TAGS``, with the file meta information, from a Part 10 file that Sumu itself wrote.

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


def facts_of(header: Dataset | Examined, *, county_timezone: str) -> InstanceFacts:
    """Return the facts of a header.

    Raises
    ------
    UnusableHeader
        If one of the four identifiers is missing or no UID (PS3.5 9.1).
    """
    if isinstance(header, Examined):
        return _facts(_words_examined(header), header.transfer_syntax_uid, county_timezone)
    return _facts(_words(header), str(header.file_meta.TransferSyntaxUID), county_timezone)


def _facts(words: dict[str, str], transfer_syntax_uid: str, county_timezone: str) -> InstanceFacts:
    uids = {keyword: _uid(words, keyword) for keyword in _IDENTIFIERS}
    performed_at = _performed_at(words, county_timezone)
    birth_date = _date(words.get("PatientBirthDate"))
    name = PersonName(words.get("PatientName", ""))
    return InstanceFacts(
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=uids["SOPClassUID"],
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        transfer_syntax_uid=transfer_syntax_uid,
        modality=_text(words, "Modality", 16),
        instance_number=_number(words.get("InstanceNumber")),
        frames=_number(words.get("NumberOfFrames")) or 1,
        patient_identifier=_text(words, "PatientID", 64),
        patient_name=written_name(name)[:256],
        patient_name_latin=latin_name(name)[:256],
        sex=_text(words, "PatientSex", 1),
        birth_date=birth_date,
        age_years=_age(words, birth_date, performed_at),
        accession_number=_text(words, "AccessionNumber", 64),
        description=_text(words, "StudyDescription", 256)
        or _text(words, "SeriesDescription", 256)
        or _text(words, "ProtocolName", 256),
        body_part=_text(words, "BodyPartExamined", 64),
        performed_at=performed_at,
        urgency=Urgency.URGENT
        if {_text(words, "RequestedProcedurePriority", 16), _text(words, "StudyPriorityID", 16)} & _URGENT_WORDS
        else Urgency.ROUTINE,
    )


def _words(header: Dataset) -> dict[str, str]:
    """Return each element of ``TAGS`` that pydicom can read as text, several values joined by commas."""
    words = {}
    for keyword in TAGS:
        try:
            value = header.get(keyword)
        except (TypeError, ValueError, OverflowError):  # a value that its representation does not allow
            continue
        if value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
            words[keyword] = text.replace("\0", "")
    return words


def _words_examined(examined: Examined) -> dict[str, str]:
    """Return each element of ``TAGS`` as text, in the character sets that the instance declares (PS3.5 6.1)."""
    encodings = convert_encodings(list(examined.character_sets))
    words = {}
    for keyword in TAGS:
        tag = int(tag_for_keyword(keyword) or 0)
        value = examined.values.get(tag)
        if value is None:
            continue
        representation = dictionary_VR(tag)
        if representation == "PN":
            text = str(PersonName(value, encodings))
        elif representation in _TEXTS:
            text = decode_bytes(value, encodings, TEXT_VR_DELIMS)
        else:
            text = value.decode("latin-1")
        words[keyword] = ", ".join(part.strip() for part in text.replace("\0", "").split("\\"))
    return words


def _uid(words: dict[str, str], keyword: str) -> str:
    value = words.get(keyword, "")
    if not value:
        raise UnusableHeader(f"{keyword} is missing.")
    # PS3.5 9.1 forbids leading zeros, which many devices write all the same; they harm nobody.
    if len(value) > 64 or not all(part.isascii() and part.isdigit() for part in UID(value).split(".")):
        raise UnusableHeader(f"{keyword} '{value[:80]}' is no UID.")
    return value


def _text(words: dict[str, str], keyword: str, length: int) -> str:
    return words.get(keyword, "").strip()[:length]


def _number(text: str | None) -> int | None:
    """Return an IS; some devices write it with a fraction of zero."""
    try:
        number = float((text or "")[:32])
    except ValueError:
        return None
    return int(number) if abs(number) <= _LARGEST_NUMBER and number.is_integer() else None


def _date(value: str | None) -> date | None:
    try:
        parsed = DA(value) if value else None
    except (TypeError, ValueError, OverflowError):
        return None
    return date(parsed.year, parsed.month, parsed.day) if parsed else None


def _performed_at(words: dict[str, str], county_timezone: str) -> datetime | None:
    day = _date(words.get("StudyDate"))
    if day is None:
        return None
    try:
        clock = TM(words.get("StudyTime") or "000000")
        hour, minute, second = clock.hour, clock.minute, clock.second
    except (TypeError, ValueError, AttributeError, OverflowError):
        hour, minute, second = 0, 0, 0
    local = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=_zone(words, county_timezone))
    try:
        return local.astimezone(UTC)
    except OverflowError:  # the first day of the year 1 begins before time does
        return None


def _zone(words: dict[str, str], county_timezone: str) -> timezone | ZoneInfo:
    """Return the zone of (0008,0201) where the device gave one, else the county's."""
    offset = words.get("TimezoneOffsetFromUTC", "")
    if re.fullmatch(r"[+-](0[0-9]|1[0-4])[0-5][0-9]", offset):
        sign = -1 if offset[0] == "-" else 1
        return timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))
    return ZoneInfo(county_timezone)


def _age(words: dict[str, str], birth_date: date | None, performed_at: datetime | None) -> float | None:
    """Return the age in years from (0010,1010), else from the birth date and the day of the study."""
    text = _text(words, "PatientAge", 4)
    # Devices write 000Y when they do not know; the age of a newborn comes in days.
    if re.fullmatch(r"[0-9]{3}[DWMY]", text) and text != "000Y":
        return round(int(text[:3]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[text[3]], 2)
    if birth_date and performed_at:
        return round((performed_at.date() - birth_date).days / 365.25, 2)
    return None
