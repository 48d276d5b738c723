"""The detective: what it finds, what it leaves alone, and when it says that it does not know."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from pacs_bridge.character_sets.detection import detect
from pacs_bridge.character_sets.device_statistics import DeviceStatistics, UnknownCharacterSet
from pacs_bridge.character_sets.elements import TextElement
from pacs_bridge.character_sets.verdict import REPAIR_CONFIDENCE, Finding
from tests.pacs_bridge.character_sets.instances import value
from tests.pacs_bridge.character_sets.names import CHINESE, FOREIGN, UNDECLARED, WITH_PINYIN

DECLARATIONS = [
    "", "ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 144", "ISO_IR 13", "ISO_IR 192", "GB18030", "GBK", "\\ISO 2022 IR 58",
    "\\ISO 2022 IR 87", "GB2312", "UTF-8", "no such term",
]  # fmt: skip


def escaped(text: str) -> bytes:
    """Encode as ISO 2022 IR 58 asks: every component calls the set anew."""
    return b"^".join(b"\x1b$)A" + part.encode("gb2312") for part in text.split("^"))


ENCODERS = {
    "GB18030": lambda text: text.encode("gb18030"),
    "UTF-8": lambda text: text.encode(),
    "IR 58": escaped,
    "IR 58, called once": lambda text: b"\x1b$)A" + text.encode("gb2312"),
}


def gbk(text: str) -> bytes:
    return text.encode("gb18030")


@pytest.mark.parametrize("encoding", ENCODERS)
def test_sixty_names_in_every_encoding_under_every_declaration_are_never_read_wrong(encoding: str) -> None:
    outcomes: Counter[str] = Counter()
    for name in CHINESE:
        for declared in DECLARATIONS:
            verdict = detect([value("PN", ENCODERS[encoding](name))], declared)
            if verdict.finding is Finding.UNDECIDED:
                outcomes["undecided"] += 1
                continue
            outcomes["right" if verdict.values[0].text == name else f"wrong: {name} under {declared!r}"] += 1
    wrong = [outcome for outcome in outcomes if outcome.startswith("wrong")]
    assert wrong == []
    # A bare name of four bytes under a set of another script may stay open; no more than that.
    assert outcomes["undecided"] <= (0.05 if encoding == "GB18030" else 0) * outcomes.total()


@pytest.mark.parametrize("encoding", ENCODERS)
def test_the_hospital_beside_the_name_leaves_nothing_open(encoding: str) -> None:
    encode = ENCODERS[encoding]
    for name in CHINESE:
        for declared in DECLARATIONS:
            elements = [value("PN", encode(name)), value("LO", encode("巴林左旗人民医院")), value("LO", encode("胸部CT平扫"))]
            verdict = detect(elements, declared)
            assert [read.text for read in verdict.values] == [name, "巴林左旗人民医院", "胸部CT平扫"], (name, declared)


@pytest.mark.parametrize("declared", DECLARATIONS)
@pytest.mark.parametrize("name", WITH_PINYIN)
def test_a_name_that_sounds_as_its_latin_letters_is_found(name: str, declared: str) -> None:
    text = f"{WITH_PINYIN[name]}={name}"
    verdict = detect([value("PN", gbk(text))], declared)
    assert verdict.values[0].text == text
    assert any("sound" in line for line in verdict.evidence)


@pytest.mark.parametrize("declared", ["", "ISO_IR 100", "ISO_IR 192", "GB18030"])
def test_big5_is_never_repaired_into_something_else(declared: str) -> None:
    for name in ("陳^怡君", "林^志豪", "黃^淑芬", "張^雅婷", "劉^俊傑", "歐陽^建國", "吳^美玲"):
        elements = [value("PN", name.encode("big5")), value("LO", "臺北醫院".encode("big5"))]
        verdict = detect(elements, declared)
        assert not verdict.may_be_repaired or [read.text for read in verdict.values] == [name, "臺北醫院"]
        assert verdict.finding is Finding.DISAGREES


@pytest.mark.parametrize(("term", "codec", "names"), FOREIGN)
def test_names_of_others_declared_right_are_left_alone(term: str, codec: str, names: str) -> None:
    for name in names.split():
        verdict = detect([value("PN", name.encode(codec))], term)
        assert (verdict.finding, verdict.values[0].text) == (Finding.AGREES, name)


@pytest.mark.parametrize("declared", DECLARATIONS)
@pytest.mark.parametrize(("codec", "names"), [(codec, names) for _, codec, names in FOREIGN] + UNDECLARED)
def test_names_of_others_declared_wrong_are_never_repaired(codec: str, names: str, declared: str) -> None:
    for name in names.split():
        raw = name.encode(codec, "ignore")
        verdict = detect([value("PN", raw)], declared)
        assert not verdict.may_be_repaired, (name, declared, verdict.values)


@pytest.mark.parametrize(
    ("declared", "raw", "text"),
    [
        ("\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou=山田^太郎"),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        ("\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
        ("\\ISO 2022 IR 58", b"Wang^Wei=\x1b$)A\xcd\xf5^\x1b$)A\xce\xb0=", "Wang^Wei=王^伟="),
    ],
)
def test_code_extensions_as_the_standard_wants_them_agree(declared: str, raw: bytes, text: str) -> None:
    verdict = detect([value("PN", raw)], declared)
    assert (verdict.finding, verdict.values[0].text) == (Finding.AGREES, text)
    undeclared = detect([value("PN", raw)], "")
    assert undeclared.finding in (Finding.DISAGREES, Finding.UNDECIDED)
    assert undeclared.finding is Finding.UNDECIDED or undeclared.values[0].text == text


def test_escape_sequences_that_are_missing_are_a_disagreement_with_a_reason() -> None:
    verdict = detect([value("PN", b"\x1b$)A" + gbk("张^伟"))], "\\ISO 2022 IR 58")
    assert (verdict.finding, verdict.values[0].text) == (Finding.DISAGREES, "张^伟")
    assert "escape sequences are missing" in verdict.reason


def test_a_character_beyond_gb2312_behind_its_escape_sequence_is_read() -> None:
    verdict = detect([value("PN", b"\x1b$)A" + gbk("朱^镕基"))], "\\ISO 2022 IR 58")
    assert verdict.may_be_repaired
    assert verdict.values[0].text == "朱^镕基"


def test_a_backslash_inside_a_character_does_not_cut_it() -> None:
    elements = [value("PN", gbk("郭^誠錦")), value("LO", gbk("肺部\\縗\\胸部")), value("LO", gbk("巴林左旗人民医院"))]
    assert b"\x5c" in gbk("誠錦縗")
    verdict = detect(elements, "")
    assert [read.text for read in verdict.values][:2] == ["郭^誠錦", "肺部\\縗\\胸部"]


def test_values_in_two_character_sets_are_read_each_in_its_own() -> None:
    elements = [value("PN", gbk("张^伟")), value("LO", "巴林左旗人民医院".encode()), value("LO", "胸部平扫".encode())]
    verdict = detect(elements, "ISO_IR 192")
    assert [(read.text, read.encoding) for read in verdict.values] == [
        ("张^伟", "GB18030"),
        ("巴林左旗人民医院", "ISO_IR 192"),
        ("胸部平扫", "ISO_IR 192"),
    ]
    assert verdict.may_be_repaired
    assert "different character sets" in verdict.reason


def test_a_western_text_beside_a_chinese_name_is_not_made_chinese() -> None:
    elements = [value("PN", gbk("张^伟")), value("LO", "Schädel nativ".encode("latin_1"))]
    declared = detect(elements, "ISO_IR 100")
    assert [read.text for read in declared.values] == ["张^伟", "Schädel nativ"]
    assert detect(elements, "").finding is Finding.UNDECIDED


def test_a_value_cut_inside_a_character_loses_only_that_character() -> None:
    cut = detect([value("PN", gbk("张^伟")), value("SH", gbk("A腹部平扫加增强扫描")[:16])], "GB18030")
    assert (cut.values[1].text, cut.values[1].truncated, cut.finding) == ("A腹部平扫加增强", True, Finding.DISAGREES)
    assert "ends inside a character" in cut.reason
    utf8 = detect([value("PN", "张^伟".encode()), value("LO", ("医院" * 11).encode()[:64])], "ISO_IR 192")
    assert utf8.values[1].text == "医院" * 10 + "医"


def test_text_that_a_gateway_encoded_twice_is_found() -> None:
    twice = [value(vr, gbk(text).decode("latin_1").encode()) for vr, text in (("PN", "张^伟"), ("LO", "人民医院"))]
    verdict = detect(twice, "ISO_IR 192")
    assert [read.text for read in verdict.values] == ["张^伟", "人民医院"]


@pytest.mark.parametrize("text", ["Өлзий^Дорж", "བཀྲ་ཤིས", "ئايگۈل", "ᠪᠠᠲᠤ", "阿依古丽·买买提", "乌云其其格"])
def test_utf8_of_every_people_of_the_county_is_found_undeclared(text: str) -> None:
    verdict = detect([value("PN", text.encode())], "")
    assert (verdict.found, verdict.values[0].text) == ("ISO_IR 192", text)


@pytest.mark.parametrize("raw", [gbk("嬲^嫐"), gbk("左"), b"30\xb0", b"\xb5m", b"\xff\xfe\x81", b"A\xce"])
def test_what_nobody_can_tell_is_undecided_and_says_what_it_might_be(raw: bytes) -> None:
    verdict = detect([value("LO", raw)], "")
    assert verdict.finding is Finding.UNDECIDED
    assert verdict.values == ()
    assert not verdict.may_be_repaired
    assert verdict.reason


def test_all_ascii_is_plain_whatever_is_declared() -> None:
    for declared in DECLARATIONS:
        assert detect([value("PN", b"Wang^Wei"), value("LO", b"CHEST \\ 5mm")], declared).finding is Finding.PLAIN


def test_an_operators_rule_decides_what_bytes_alone_do_not() -> None:
    elements = [value("PN", gbk("嬲^嫐"))]
    verdict = detect(elements, "ISO_IR 100", statistics=DeviceStatistics(rule="GB18030"))
    assert (verdict.values[0].text, verdict.confidence, verdict.may_be_repaired) == ("嬲^嫐", 1.0, True)
    assert "operator" in verdict.reason
    unfit = detect([value("PN", b"M\xfcller^J")], "ISO_IR 100", statistics=DeviceStatistics(rule="ISO_IR 192"))
    assert unfit.finding is Finding.UNDECIDED
    with pytest.raises(UnknownCharacterSet):
        DeviceStatistics(rule="GB1830")


def test_what_a_device_did_before_tips_the_scale_but_not_against_the_bytes() -> None:
    doubtful = [value("PN", gbk("蔡^杨"))]
    fresh = detect(doubtful, "ISO_IR 144")
    assert fresh.finding is Finding.UNDECIDED
    known = DeviceStatistics()
    certain = detect([value("PN", gbk("王^建国")), value("LO", gbk("人民医院"))], "ISO_IR 144")
    for _ in range(500):
        known = known.after(certain)
    assert known.disagreements() == {("ISO_IR 144", "GB18030"): 500}
    assert detect(doubtful, "ISO_IR 144", statistics=known).values[0].text == "蔡^杨"
    russian = detect([value("PN", "Иванов^Пётр".encode("iso8859_5"))], "ISO_IR 144", statistics=known)
    assert russian.finding is not Finding.DISAGREES


def test_an_item_with_a_character_set_of_its_own_is_judged_by_it() -> None:
    item = TextElement((0x00321064, 0, 0x00100010), "PN", "王^伟".encode(), "ISO_IR 192")
    assert detect([value("PN", gbk("王^伟")), item], "GB18030").finding is Finding.AGREES
    wrong = detect([value("PN", gbk("王^伟")), item._replace(value=gbk("王^伟"))], "GB18030")
    assert (wrong.finding, [read.text for read in wrong.values]) == (Finding.DISAGREES, ["王^伟", "王^伟"])


def test_the_confidence_of_what_is_repaired_is_high_and_the_evidence_is_said() -> None:
    verdict = detect([value("PN", gbk("王^建国"))], "ISO_IR 100")
    assert verdict.confidence >= REPAIR_CONFIDENCE
    assert "'王^建国' is a Chinese name." in verdict.evidence
    assert verdict.candidates[0].encoding == "GB18030"


def test_an_ascii_header_costs_less_than_a_millisecond_and_a_chinese_one_less_than_five() -> None:
    plain = [value("LO", b"CHEST ROUTINE 5.0 B31f", 0x00080000 + number) for number in range(100)]
    chinese = [
        *plain,
        value("PN", gbk("Wang^JianGuo=王^建国")),
        value("LO", gbk("巴林左旗人民医院")),
        value("LO", gbk("胸部平扫")),
    ]
    detect(chinese, "ISO_IR 100")
    for elements, limit in ((plain, 0.001), (chinese, 0.005)):
        took = []
        for _ in range(50):
            start = time.perf_counter()
            detect(elements, "ISO_IR 100")
            took.append(time.perf_counter() - start)
        assert sorted(took)[25] < limit
