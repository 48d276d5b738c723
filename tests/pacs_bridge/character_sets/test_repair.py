"""Repair: the texts become right, the pixels stay, and the original comes back byte for byte."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from pacs_bridge.character_sets import elements, inflation
from pacs_bridge.character_sets.detection import detect
from pacs_bridge.character_sets.device_statistics import DeviceStatistics
from pacs_bridge.character_sets.elements import UnreadableElements, mapped, text_elements, walk
from pacs_bridge.character_sets.inflation import TooLargeInflated
from pacs_bridge.character_sets.repair import NotRepairable, NotRepaired, repair, restore
from pacs_bridge.character_sets.verdict import Finding, Verdict
from tests.conftest import RunningArchive
from tests.pacs_bridge.character_sets.instances import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_BASELINE,
    Writer,
    part10,
    pixels,
)

SYNTAXES = [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, JPEG_BASELINE]
AT = datetime(2026, 11, 25, 8, 30, tzinfo=UTC)


def gbk(text: str) -> bytes:
    return text.encode("gb18030")


def instance(
    path: Path,
    syntax: str = EXPLICIT,
    *,
    declared: bytes | None = b"ISO_IR 100",
    undefined: bool = False,
    coerced: bool = False,
    history: bool = False,
    group_lengths: bool = False,
    signed: bool = False,
) -> Path:
    """Write an instance of a device that writes GBK whatever it declares: names, descriptions, a sequence in a sequence."""
    w = Writer(EXPLICIT if syntax == DEFLATED else syntax)
    reason = w.element(0x00080100, "SH", b"A1") + w.element(0x00080104, "LO", gbk("腰椎平扫"))
    step = w.element(0x00400007, "LO", gbk("胸部CT平扫")) + w.sequence(0x00400008, [reason, reason], undefined=not undefined)
    group8 = b"" if declared is None else w.element(0x00080005, "CS", declared)
    group8 += w.element(0x00080015, "DT", b"20200101000000") if coerced else b""
    group8 += w.element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.7") + w.element(0x00080018, "UI", b"2.25.1")
    group8 += w.element(0x00080060, "CS", b"CT") + w.element(0x00080080, "LO", gbk("巴林左旗人民医院"))
    group8 += w.element(0x00081080, "LO", b"PNEUMONIA")
    if group_lengths:
        group8 = w.element(0x00080000, "UL", len(group8).to_bytes(4, "big" if syntax == BIG_ENDIAN else "little")) + group8
    body = group8
    body += w.element(0x00100010, "PN", gbk("Wang^XiaoDong=王^晓东")) + w.element(0x00100020, "LO", b"CN0001")
    body += w.element(0x00104000, "LT", gbk("咳嗽三天\r\n发热")) + w.element(0x0020000D, "UI", b"2.25.2")
    if history:
        was = w.element(0x00080005, "CS", b"") + w.element(0x00100010, "PN", gbk("王^小东"))
        item = w.sequence(0x04000550, [was], undefined=undefined) + w.element(0x04000563, "LO", b"RIS")
        later = w.sequence(0x00400275, [step], undefined=undefined) + w.sequence(0x04000561, [item], undefined=undefined)
    else:
        later = w.sequence(0x00400275, [step], undefined=undefined)
    body += later
    body += w.sequence(0x4FFE0001, [w.element(0x04000005, "US", b"\x01\x00")], undefined=False) if signed else b""
    return part10(path, syntax, body + pixels(w))


def judged(path: Path) -> Verdict:
    return detect(*text_elements(path))


VARIANTS = [
    {},
    {"declared": None},
    {"declared": b""},
    {"declared": b"ISO_IR 192"},
    {"undefined": True},
    {"coerced": True},
    {"history": True},
    {"history": True, "undefined": True, "coerced": True},
    {"group_lengths": True},
    {"group_lengths": True, "declared": None},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_repaired_file_reads_right_and_the_original_comes_back_byte_for_byte(
    tmp_path: Path, syntax: str, variant: dict[str, object]
) -> None:
    source = instance(tmp_path / "source", syntax, **variant)  # type: ignore[arg-type]
    verdict = judged(source)
    assert (verdict.finding, verdict.found) == (Finding.DISAGREES, "GB18030")
    made = repair(source, tmp_path / "repaired", verdict, source_of_values="CT_TOWN", at=AT)
    assert made.character_set == "ISO_IR 192"
    assert len(made.changed) == 6

    repaired = pydicom.dcmread(tmp_path / "repaired")
    assert repaired.SpecificCharacterSet == "ISO_IR 192"
    assert repaired.PatientName == "Wang^XiaoDong=王^晓东"
    assert repaired.PatientComments == "咳嗽三天\r\n发热"
    assert repaired.InstitutionName == "巴林左旗人民医院"
    step = repaired.RequestAttributesSequence[0]
    assert step.ScheduledProcedureStepDescription == "胸部CT平扫"
    assert [code.CodeMeaning for code in step.ScheduledProtocolCodeSequence] == ["腰椎平扫"] * 2
    assert (repaired.file_meta.TransferSyntaxUID, repaired.SOPInstanceUID) == (syntax, "2.25.1")
    assert repaired.PixelData == pydicom.dcmread(source).PixelData

    agreed = judged(tmp_path / "repaired")
    assert agreed.finding is Finding.AGREES
    assert restore(tmp_path / "repaired", tmp_path / "restored").exact
    if syntax == DEFLATED:  # what was deflated by another engine need not come out in the same bytes, but inflates to them
        assert _inflated(tmp_path / "restored") == _inflated(source)
    else:
        assert (tmp_path / "restored").read_bytes() == source.read_bytes()


def _inflated(path: Path) -> bytes:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    return b"".join(element.value if isinstance(element.value, bytes) else str(element).encode() for element in dataset)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_what_stood_there_is_kept_in_original_attributes(tmp_path: Path, syntax: str) -> None:
    source = instance(tmp_path / "source", syntax)
    repair(source, tmp_path / "repaired", judged(source), source_of_values="CT_TOWN", at=AT)
    dataset = pydicom.dcmread(tmp_path / "repaired")
    (record,) = dataset.OriginalAttributesSequence
    assert (record.ModifyingSystem, record.SourceOfPreviousValues) == ("SUMU", "CT_TOWN")
    assert record.ReasonForTheAttributeModification == "COERCE"
    assert record.AttributeModificationDateTime == "20261125083000.000000+0000"
    assert dataset.InstanceCoercionDateTime == "20261125083000.000000+0000"
    (before,) = record.ModifiedAttributesSequence
    assert before.SpecificCharacterSet == "ISO_IR 100"
    assert before.get_item("PatientName").value == gbk("Wang^XiaoDong=王^晓东") + b" "
    assert before.RequestAttributesSequence[0].get_item(0x00400007).value == gbk("胸部CT平扫")


def test_what_an_earlier_system_kept_stays_as_it_is(tmp_path: Path) -> None:
    source = instance(tmp_path / "source", history=True)
    repair(source, tmp_path / "repaired", judged(source))
    records = pydicom.dcmread(tmp_path / "repaired").OriginalAttributesSequence
    assert [record.ModifyingSystem for record in records] == ["RIS", "SUMU"]
    assert records[0].ModifiedAttributesSequence[0].get_item("PatientName").value == gbk("王^小东") + b" "


def test_dcmtk_reads_every_repaired_file(tmp_path: Path) -> None:
    for number, syntax in enumerate(SYNTAXES):
        source = instance(tmp_path / f"{number}", syntax, undefined=bool(number % 2))
        target = tmp_path / f"{number}.dcm"
        repair(source, target, judged(source))
        shown = subprocess.run(["dcmdump", "-q", "+L", str(target)], capture_output=True, check=False)
        assert shown.returncode == 0, shown.stderr.decode()
        assert "王^晓东".encode() in shown.stdout


def test_the_archive_shows_the_name_and_gives_back_what_can_be_restored(tmp_path: Path, running_archive: RunningArchive) -> None:
    w = Writer()
    uid, study, series = (generate_uid().encode() for _ in range(3))
    body = w.element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.7") + w.element(0x00080018, "UI", uid)
    body += w.element(0x00100010, "PN", gbk("郭^誠錦")) + w.element(0x00104000, "LT", gbk("巴林左旗人民医院"))
    body += w.element(0x0020000D, "UI", study) + w.element(0x0020000E, "UI", series)
    source = part10(tmp_path / "source", EXPLICIT, body + pixels(w))
    repair(source, tmp_path / "repaired", judged(source))
    with (tmp_path / "repaired").open("rb") as file:
        archived = running_archive.archive.store(file)
    assert running_archive.archive.header(archived)["PatientName"] == "郭^誠錦"
    stored = running_archive.archive.fetch(archived, tmp_path / "stored")
    assert restore(stored, tmp_path / "restored").exact
    assert (tmp_path / "restored").read_bytes().endswith(body + pixels(w))


def test_gb18030_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    source = instance(tmp_path / "source", declared=None)
    repair(source, tmp_path / "repaired", judged(source), character_set="GB18030")
    dataset = pydicom.dcmread(tmp_path / "repaired")
    assert (dataset.SpecificCharacterSet, dataset.PatientName) == ("GB18030", "Wang^XiaoDong=王^晓东")
    assert restore(tmp_path / "repaired", tmp_path / "restored").exact


def test_an_instance_that_agrees_can_be_given_another_character_set(tmp_path: Path) -> None:
    source = instance(tmp_path / "source", declared=b"GB18030")
    verdict = judged(source)
    assert verdict.finding is Finding.AGREES
    repair(source, tmp_path / "repaired", verdict)
    assert pydicom.dcmread(tmp_path / "repaired").SpecificCharacterSet == "ISO_IR 192"


def test_group_lengths_stay_right(tmp_path: Path) -> None:
    source = instance(tmp_path / "source", group_lengths=True, declared=None)
    repair(source, tmp_path / "repaired", judged(source))
    with mapped(tmp_path / "repaired") as view:
        layout = walk(view)
        spans = {span.tag: span for span in layout.spans if span.container < 0}
        length = int.from_bytes(view[spans[0x00080000].value : spans[0x00080000].end], "little")
        assert spans[0x00100010].start - spans[0x00080000].end == length


def test_the_pixels_and_what_follows_are_copied_as_they_are(tmp_path: Path) -> None:
    source = instance(tmp_path / "source")
    with source.open("ab") as file:
        file.write(b"whatever stands behind, even no element")
    repair(source, tmp_path / "repaired", judged(source))
    tail = source.read_bytes()[source.read_bytes().index(b"\xe0\x7f\x10\x00") :]
    assert (tmp_path / "repaired").read_bytes().endswith(tail)


def test_nothing_is_written_without_a_sure_finding(tmp_path: Path) -> None:
    w = Writer()
    source = part10(tmp_path / "source", EXPLICIT, w.element(0x00100010, "PN", gbk("嬲^嫐")) + pixels(w))
    verdict = judged(source)
    assert verdict.finding is Finding.UNDECIDED
    with pytest.raises(NotRepairable, match="no sure finding"):
        repair(source, tmp_path / "repaired", verdict)
    ruled = detect(*text_elements(source), statistics=DeviceStatistics(rule="GB18030"))
    repair(source, tmp_path / "repaired", ruled)
    assert pydicom.dcmread(tmp_path / "repaired").PatientName == "嬲^嫐"


def test_the_finding_of_another_file_is_refused(tmp_path: Path) -> None:
    w = Writer()
    other = part10(tmp_path / "other", EXPLICIT, w.element(0x00100010, "PN", gbk("张^建国")) + pixels(w))
    with pytest.raises(NotRepairable, match="another file"):
        repair(instance(tmp_path / "source"), tmp_path / "repaired", judged(other))
    assert not (tmp_path / "repaired").exists()


def test_a_signed_instance_is_not_touched(tmp_path: Path) -> None:
    source = instance(tmp_path / "source", signed=True)
    with pytest.raises(NotRepairable, match="signed"):
        repair(source, tmp_path / "repaired", judged(source))


def test_an_existing_target_is_never_overwritten(tmp_path: Path) -> None:
    source = instance(tmp_path / "source")
    (tmp_path / "repaired").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        repair(source, tmp_path / "repaired", judged(source))
    assert (tmp_path / "repaired").read_bytes() == b"mine"


def test_a_file_that_was_not_repaired_has_nothing_to_restore(tmp_path: Path) -> None:
    with pytest.raises(NotRepaired):
        restore(instance(tmp_path / "source", history=True), tmp_path / "restored")


def test_a_restoration_that_another_program_has_rewritten_says_that_it_is_not_exact(tmp_path: Path) -> None:
    source = instance(tmp_path / "source")
    repair(source, tmp_path / "repaired", judged(source))
    dataset = pydicom.dcmread(tmp_path / "repaired")
    dataset.Manufacturer = "SOMEBODY"
    dataset.save_as(tmp_path / "rewritten")
    assert not restore(tmp_path / "rewritten", tmp_path / "restored").exact
    assert pydicom.dcmread(tmp_path / "restored").get_item("PatientName").value.rstrip() == gbk("Wang^XiaoDong=王^晓东")


@pytest.mark.parametrize("depth", [60, 70, 100_000])
def test_nesting_costs_no_recursion_and_has_a_limit(tmp_path: Path, depth: int) -> None:
    w = Writer(IMPLICIT)
    opening = w.element(0x00081140, "SQ", b"", length=0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00" + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    name = w.element(0x00100010, "PN", gbk("王^晓东"))
    source = part10(tmp_path / "source", IMPLICIT, opening * depth + name + closing * depth + pixels(w))
    if depth > 64:
        with pytest.raises(UnreadableElements, match="nests deeper"):
            text_elements(source)
        return
    verdict = judged(source)
    repair(source, tmp_path / "repaired", verdict)
    assert restore(tmp_path / "repaired", tmp_path / "restored").exact
    assert (tmp_path / "restored").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (Writer().element(0x00104000, "UT", b"\xce\xb0" * (1 << 20)), "texts are larger"),
        (Writer().element(0x00104000, "UT", b"\xce\xb0" * (1 << 18)) * 9, "texts are larger"),
        (Writer().element(0x00100010, "LO", b"ab", length=40_000), "is longer than"),
        (Writer().element(0x00400275, "SQ", b"abcdefgh", length=8), "outside its items"),
    ],
    ids=["long text", "much text", "length", "sequence"],
)
def test_a_hostile_file_costs_little_and_is_refused(tmp_path: Path, body: bytes, problem: str) -> None:
    source = part10(tmp_path / "source", EXPLICIT, body)
    with pytest.raises(UnreadableElements, match=problem):
        text_elements(source)


@pytest.mark.parametrize(
    "many", [Writer().element(0x00101001, "PN", b"") * 50, Writer().sequence(0x00400275, [b""] * 50, undefined=True)]
)
def test_a_file_of_too_many_elements_or_items_is_refused(tmp_path: Path, many: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    source = part10(tmp_path / "source", EXPLICIT, many)
    assert text_elements(source)[1] == ""
    monkeypatch.setattr(elements, "MOST_ELEMENTS", 40)
    with pytest.raises(UnreadableElements, match="more than 40"):
        text_elements(source)


def test_a_deflated_data_set_that_does_not_inflate_or_inflates_too_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = instance(tmp_path / "source", DEFLATED)
    broken = bytearray(source.read_bytes())
    broken[-400:-300] = bytes(100)
    (tmp_path / "broken").write_bytes(broken)
    with pytest.raises(UnreadableElements):
        text_elements(tmp_path / "broken")
    monkeypatch.setattr(inflation, "LARGEST_INFLATED", 1000)
    with pytest.raises(TooLargeInflated):
        repair(source, tmp_path / "repaired", judged(source))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "source"]


@pytest.mark.parametrize("cut", [0, 50, 140, 200, 330, 400])
def test_a_file_that_ends_early_is_refused_with_a_reason(tmp_path: Path, cut: int) -> None:
    source = instance(tmp_path / "source")
    (tmp_path / "cut").write_bytes(source.read_bytes()[:cut])
    with pytest.raises(UnreadableElements):
        text_elements(tmp_path / "cut")
