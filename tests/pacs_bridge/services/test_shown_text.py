"""Text as devices can show it."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from pacs_bridge.services.data_sets import write_answer
from pacs_bridge.services.shown_text import character_set_for, person_name, show, shown

GB2312 = "\\ISO 2022 IR 58"


@pytest.mark.parametrize(
    ("name", "latin", "character_set", "expected"),
    [
        ("张伟", "zhang wei", "GB18030", "ZHANG^WEI=张^伟"),
        ("欧阳修", "ou yang xiu", "GB18030", "OU YANG^XIU=欧阳^修"),
        ("欧阳修", "ouyang xiu", "GB18030", "OUYANG^XIU=欧阳^修"),  # as the device spelled it
        ("张伟", "zhang wei", "ISO_IR 100", "ZHANG^WEI"),
        ("赵䶮", "zhao yan", GB2312, "ZHAO^YAN=赵^yan"),
        ("Doe John", "doe john", "GB18030", "Doe^John"),
        ("Müller", "muller", "ISO_IR 6", "MULLER"),
        ("Müller", "muller", "ISO_IR 100", "Müller"),
        ("Батаа", "bataa", "ISO_IR 100", "BATAA"),
        ("Батаа", "bataa", "GB18030", "Батаа"),
    ],
)
def test_a_name_is_written_for_a_device(name: str, latin: str, character_set: str, expected: str) -> None:
    assert person_name(name, latin, character_set) == expected


def test_what_has_no_place_in_a_character_set_becomes_pinyin_or_plain() -> None:
    assert shown("胸部CT平扫", "ISO_IR 100") == "xiong bu CT ping sao"
    assert shown("胸部CT平扫", "GBK") == "胸部CT平扫"
    assert shown("Ångström (肺)", "ISO_IR 6") == "Angstrom ( fei )"
    assert shown("ᠮᠣᠩᠭᠣᠯ", "ISO_IR 100") == "??????"


def test_a_long_text_stays_within_its_element() -> None:
    answer = Dataset()
    answer.AccessionNumber, answer.StudyDescription = "张" * 30, "胸" * 90
    show(answer, "ISO_IR 100")
    assert (len(answer.AccessionNumber), len(answer.StudyDescription)) <= (16, 64)


def test_iso_2022_ir_58_calls_gb2312_in_every_line_and_item() -> None:
    answer, item = Dataset(), Dataset()
    item.ScheduledProcedureStepDescription = "胸CT部"
    answer.ScheduledProcedureStepSequence = [item]
    answer.PatientComments = "一行\r\n二"
    show(answer, character_set_for(Dataset(), "ISO 2022 IR 58"))
    encoded = write_answer(answer, "1.2.840.10008.1.2.1")
    assert b"\x1b$)A" + "一行".encode("gb2312") + b"\r\n\x1b$)A" + "二".encode("gb2312") in encoded
    assert b"LO\x0a\x00\x1b$)A" + "胸CT部".encode("gb2312") in encoded
