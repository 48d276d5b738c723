"""Facts of a header: what devices write well, write badly, and leave out."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from core.tables import Urgency
from pacs_bridge.headers import InstanceFacts, UnusableHeader, facts_of
from pacs_bridge.patient_names import latin_name, written_name


def header(**elements: object) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def facts(**elements: object) -> InstanceFacts:
    return facts_of(header(**elements), county_timezone="Asia/Shanghai")


def test_a_header_without_anything_but_identifiers_has_empty_facts_and_no_guesses() -> None:
    empty = facts()
    assert (empty.modality, empty.patient_name, empty.sex, empty.description) == ("", "", "", "")
    assert (empty.birth_date, empty.age_years, empty.performed_at, empty.instance_number) == (None, None, None, None)
    assert (empty.frames, empty.urgency) == (1, Urgency.ROUTINE)


@pytest.mark.parametrize("missing", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"])
def test_without_an_identifier_it_is_refused_by_its_name(missing: str) -> None:
    dataset = header()
    delattr(dataset, missing)
    with pytest.raises(UnusableHeader, match=missing):
        facts_of(dataset, county_timezone="Asia/Shanghai")


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.x", "1.2.٣", "1" * 65])
def test_what_is_no_uid_is_refused(uid: str) -> None:
    with pytest.raises(UnusableHeader, match="no UID"):
        facts(StudyInstanceUID=uid)


def test_the_clock_of_a_study_is_the_countys_unless_the_device_says_otherwise() -> None:
    assert facts(StudyDate="20261125", StudyTime="080000").performed_at == datetime(2026, 11, 25, 0, 0, tzinfo=UTC)
    there = facts(StudyDate="20261125", StudyTime="080000.123", TimezoneOffsetFromUTC="-0330")
    assert there.performed_at == datetime(2026, 11, 25, 11, 30, tzinfo=UTC)
    assert facts(StudyDate="20261125").performed_at == datetime(2026, 11, 24, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "years"), [("045Y", 45.0), ("018M", 1.5), ("026W", 0.5), ("010D", 0.03), ("45", None), ("000Y", None), ("", None)]
)
def test_ages_are_years(age: str, years: float | None) -> None:
    assert facts(PatientAge=age).age_years == years


def test_an_age_follows_from_the_birth_date() -> None:
    assert facts(PatientBirthDate="19660101", StudyDate="20260701").age_years == pytest.approx(60.5, abs=0.05)
    assert facts(PatientBirthDate="19660101").birth_date == date(1966, 1, 1)


@pytest.mark.parametrize("value", ["1966", "19661350", "abc"])
def test_a_birth_date_that_is_none_stays_empty(value: str) -> None:
    dataset = header()
    dataset.add_new("PatientBirthDate", "LO", value)
    assert facts_of(dataset, county_timezone="Asia/Shanghai").birth_date is None


def test_an_emergency_button_makes_it_urgent() -> None:
    assert facts(RequestedProcedurePriority="STAT").urgency is Urgency.URGENT
    assert facts(RequestedProcedurePriority="ROUTINE").urgency is Urgency.ROUTINE


@pytest.mark.parametrize(
    ("name", "written", "latin"),
    [
        ("Wang^XiaoDong=王^小东", "王小东", "wang xiaodong"),
        ("王小东", "王小东", "wang xiao dong"),
        ("王^小东", "王小东", "wang xiao dong"),
        ("Smith^John", "Smith John", "smith john"),
        ("=白^音华", "白音华", "bai yin hua"),
        ("", "", ""),
    ],
)
def test_names_are_written_as_their_bearers_write_them_and_found_by_pinyin(name: str, written: str, latin: str) -> None:
    assert (written_name(name), latin_name(name)) == (written, latin)
