"""Facts of a header: what devices write well, write badly, and leave out."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset

from core.tables import Urgency
from pacs_bridge.examination.examined import KEPT_TAGS, Examined
from pacs_bridge.headers import TAGS, InstanceFacts, UnusableHeader, facts_of
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


def examined(*character_sets: str, **elements: bytes) -> Examined:
    uids = {"SOPClassUID": b"1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": b"1.2.3.1\0", "StudyInstanceUID": b"1.2.3\0"}
    elements = {**uids, "SeriesInstanceUID": b"1.2.3.4\0", **elements}
    return Examined(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="1.2.3.1",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        character_sets=character_sets,
        frames=1,
        rows=None,
        columns=None,
        values={int(tag_for_keyword(keyword) or 0): value for keyword, value in elements.items()},
        texts=(),
        texts_left_out=0,
        dataset_offset=300,
        dataset_size=400,
        elements=4,
        depth=0,
        notes=(),
    )


def facts_examined(*character_sets: str, **elements: bytes) -> InstanceFacts:
    return facts_of(examined(*character_sets, **elements), county_timezone="Asia/Shanghai")


def test_an_examination_keeps_every_element_that_the_facts_need() -> None:
    assert {int(tag_for_keyword(keyword) or 0) for keyword in TAGS} <= KEPT_TAGS


@pytest.mark.parametrize("character_set", ["GB18030", "GBK", "ISO_IR 192"])
def test_the_facts_of_an_examination_are_read_in_its_character_set(character_set: str) -> None:
    python = {"ISO_IR 192": "utf-8"}.get(character_set, "gb18030")
    found = facts_examined(
        character_set,
        PatientName="Wang^XiaoDong=王^小东 ".encode(python),
        StudyDescription="胸部正位".encode(python),
        BodyPartExamined=b"CHEST\\ABDOMEN ",
        InstanceNumber=b"7 ",
        StudyDate=b"20261125",
        StudyTime=b"080000.5",
    )
    assert (found.patient_name, found.patient_name_latin, found.description) == ("王小东", "wang xiaodong", "胸部正位")
    assert (found.body_part, found.instance_number) == ("CHEST, ABDOMEN", 7)
    assert found.performed_at == datetime(2026, 11, 25, 0, 0, tzinfo=UTC)
    assert found.sop_instance_uid == "1.2.3.1"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "value", [b"", b"\0\0", b"\xff\xfe\xb2\xb2", b"\\\\\\", b"=^=^=^=", b"9" * 5000, b"nan", b"1e999", b"\x1b$)A\x1b"]
)
@pytest.mark.parametrize("character_sets", [(), ("GB18030",), ("bogus", "ISO 2022 IR 87"), ("", "ISO 2022 IR 58")])
def test_no_value_makes_the_facts_fail(value: bytes, character_sets: tuple[str, ...]) -> None:
    uids = {"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}
    found = facts_examined(*character_sets, **{keyword: value for keyword in TAGS if keyword not in uids})
    assert found.instance_number is None
    assert "\0" not in found.patient_name + found.description + found.patient_identifier


@pytest.mark.parametrize(
    ("date_", "time", "zone"),
    [(b"00010101", b"000000", b"+0800"), (b"20261125", b"999999", b"+9999"), (b"99991231", b"235960", b"-1200")],
)
def test_days_at_the_ends_of_time_and_impossible_zones_do_no_harm(date_: bytes, time: bytes, zone: bytes) -> None:
    found = facts_examined(StudyDate=date_, StudyTime=time, TimezoneOffsetFromUTC=zone, PatientBirthDate=date_)
    assert found.performed_at is None or found.performed_at.tzinfo is UTC
