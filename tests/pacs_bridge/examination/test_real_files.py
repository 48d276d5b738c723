"""Real files of many makers pass, but for those whose refusal was looked at one by one."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

import pytest

from pacs_bridge.examination.examine import examine
from pacs_bridge.examination.poisoned import Poisoned
from pacs_bridge.headers import facts_of, read_header

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "dicom"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the collection of real files is not here")

NO_STUDY = "is missing"
OTHER_UID = "in the data set and"
#: Refused, and rightly so: cut or damaged on purpose, no Part 10 files, anonymised halfway, no UIDs, or not of a patient.
REFUSED = {
    "chrJapMulti.dcm": OTHER_UID, "rtdose.dcm": OTHER_UID, "rtdose_1frame.dcm": OTHER_UID, "RTImageStorage.dcm": OTHER_UID,
    "sm_image_grayscale.dcm": OTHER_UID, "CR-ModalitySequenceLUT.dcm": OTHER_UID, "GH1146.dcm": OTHER_UID,
    "chrSQEncoding1.dcm": NO_STUDY, "fall.dcm": NO_STUDY, "summer.dcm": NO_STUDY, "JPEGLSNearLossless_08.dcm": NO_STUDY,
    "SC_rgb_jls_lossy_line.dcm": NO_STUDY, "UN_sequence.dcm": NO_STUDY, "empty_charset_LEI.dcm": NO_STUDY,
    "meta_missing_tsyntax.dcm": NO_STUDY, "HTJ2KLossless_08_RGB.dcm": NO_STUDY, "HTJ2K_08_RGB.dcm": NO_STUDY,
    "JLSL_08_07_0_1F.dcm": NO_STUDY, "priv_SQ.dcm": NO_STUDY, "NeurosurgeryPlan.dcm": NO_STUDY, "multiframe.dcm": NO_STUDY,
    "GH487.dcm": NO_STUDY, "bad_sequence.dcm": "is no UID", "jpeg2000-multiframe-multifragments.dcm": "is no UID",
    "DICOMDIR-bigEnd": "DICOMDIR", "DICOMDIR-empty.dcm": "DICOMDIR", "DICOMDIR-implicit": "DICOMDIR",
    "ExplVR_BigEndNoMeta.dcm": "does not begin", "JLSL_RGB_ILV2.dcm": "does not begin", "test_synthetic.dcm": "does not begin",
    "MR_truncated.dcm": "more than there are", "rtplan_truncated.dcm": "more than there are",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "break off", "GH1339.dcm": "break off",
    "JPEG2000-embedded-sequence-delimiter.dcm": "tiles", "SC_rgb_jpeg.dcm": "no value representation",
    "GH364.dcm": "group length", "GH626.dcm": "no element", "Tag-0040-A170-VR-CS.dcm": "where an item must begin",
}  # fmt: skip


def real_files() -> list[Path]:
    with (FOLDER / "index.csv").open(encoding="utf-8") as table:
        return [FOLDER / row["path"] for row in csv.DictReader(table)]


def test_every_real_file_passes_or_is_refused_for_a_reason_that_we_agree_with() -> None:
    wrong = {}
    passed = 0
    for path in real_files():
        try:
            examine(path)
        except Poisoned as poison:
            if REFUSED.get(path.name, "?") not in poison.reason:
                wrong[path.name] = poison.reason
        else:
            passed += 1
            if path.name in REFUSED:
                wrong[path.name] = "passed"
    assert not wrong
    assert passed > 190


@pytest.mark.filterwarnings("ignore")
def test_the_facts_of_an_examination_are_those_that_pydicom_reads() -> None:
    different = {}
    for path in real_files():
        try:
            examined = examine(path)
        except Poisoned:
            continue
        found = asdict(facts_of(examined, county_timezone="Asia/Shanghai"))
        expected = asdict(facts_of(read_header(path), county_timezone="Asia/Shanghai"))
        if found != expected:
            different[path.name] = {name: (found[name], expected[name]) for name in found if found[name] != expected[name]}
    assert set(different) <= {"20b_trail_5c_nocharset_CT.dcm"}, different
