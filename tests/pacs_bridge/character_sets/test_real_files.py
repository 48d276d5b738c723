"""The detective on files of public test sets and of wrongly declared Chinese headers, where they are at hand."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from pacs_bridge.character_sets.detection import detect
from pacs_bridge.character_sets.elements import UnreadableElements, text_elements
from pacs_bridge.character_sets.repair import repair, restore
from pacs_bridge.character_sets.verdict import Finding

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dicom"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs DICOM files in ../shared/data/dicom")
KEYWORDS = {"PatientName": 0x00100010, "InstitutionName": 0x00080080, "StudyDescription": 0x00081030, "OperatorsName": 0x00081070}


def test_every_chinese_header_comes_out_as_expected_and_can_be_taken_back(tmp_path: Path) -> None:
    folder = SHARED / "derived" / "cn_charset"
    for case in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        elements, declared = text_elements(folder / case["file"])
        verdict = detect(elements, declared)
        texts = {read.path: read.text for read in verdict.values}
        for keyword, expected in case["expect"].items():
            assert texts[(KEYWORDS[keyword],)] == expected, case["file"]
        repair(folder / case["file"], tmp_path / "repaired", verdict)
        assert restore(tmp_path / "repaired", tmp_path / "restored").exact
        assert (tmp_path / "restored").read_bytes() == (folder / case["file"]).read_bytes()
        (tmp_path / "repaired").unlink()
        (tmp_path / "restored").unlink()


def test_no_file_of_another_country_is_called_wrong() -> None:
    findings: Counter[Finding] = Counter()
    with (SHARED / "index.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            if "cn_charset" in row["path"]:
                continue
            try:
                elements, declared = text_elements(SHARED / row["path"])
            except UnreadableElements:
                continue
            findings[detect(elements, declared).finding] += 1
    assert findings[Finding.DISAGREES] == 0
    assert findings[Finding.UNDECIDED] == 0
    assert findings[Finding.AGREES] >= 16
