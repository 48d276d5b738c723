"""Slide files become DICOM that a validator and the archive take, with the laboratory's words in them."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pydicom.config
import pytest
import tifffile
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import generate_frames
from wsidicom import WsiDicom

from pacs_bridge.credentials import archive_credentials
from pacs_bridge.slides.convert import SlideDamaged, SlideWithoutScale, UnknownSlideFormat, convert_slide
from pacs_bridge.slides.description import SlidePatient
from tests.conftest import RunningArchive
from tests.pacs_bridge.slides.slide_files import draw_slide, write_svs

_LEVEL = "VOLUME"


def headers(files: list[Path]) -> list[Dataset]:
    return [pydicom.dcmread(file, stop_before_pixels=True) for file in files]


@pytest.fixture(scope="module")
def converted(drawn_slide: Path, laboratory: SlidePatient, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return convert_slide(drawn_slide, tmp_path_factory.mktemp("dicom"), laboratory)


def test_a_slide_becomes_a_tiled_pyramid_down_to_one_tile(converted: list[Path]) -> None:
    levels = [header for header in headers(converted) if header.ImageType[2] == _LEVEL]
    assert {header.DimensionOrganizationType for header in levels} == {"TILED_FULL"}
    assert sorted(header.TotalPixelMatrixColumns for header in levels) == [256, 512, 1024]
    assert min(int(header.NumberOfFrames) for header in levels) == 1
    assert len({header.SeriesInstanceUID for header in levels}) == 1


def test_every_instance_carries_the_patient_in_chinese(converted: list[Path]) -> None:
    for header in headers(converted):
        assert header.SpecificCharacterSet == "ISO_IR 192"
        assert header.PatientName.ideographic == "王^小明"
        assert header.AccessionNumber == "B2026-0001"
        assert (header.StudyDate, header.StudyTime, header.TimezoneOffsetFromUTC) == ("20261120", "093000", "+0800")
        assert header.ContainerIdentifier == "B2026-0001-A1-1"
        specimen = header.SpecimenDescriptionSequence[0]
        assert specimen.SpecimenShortDescription == "皮肤，切除"
        assert "Paraffin wax" in str(specimen)
        assert "hematoxylin stain" in str(specimen)


def test_a_study_that_an_order_opened_keeps_its_uid(drawn_slide: Path, laboratory: SlidePatient, tmp_path: Path) -> None:
    ordered = replace(laboratory, study_instance_uid="2.25.123456789", series_number=2)
    found = headers(convert_slide(drawn_slide, tmp_path, ordered))
    assert {header.StudyInstanceUID for header in found} == {"2.25.123456789"}
    assert {int(header.SeriesNumber) for header in found} == {2}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_the_validator_has_nothing_to_say(converted: list[Path]) -> None:
    for file in converted:
        said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
        assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith(("Error", "Warning"))] == []


def test_the_archive_takes_every_file(converted: list[Path], running_archive: RunningArchive) -> None:
    credentials = archive_credentials(running_archive.settings.secrets)
    with httpx.Client(
        base_url=running_archive.settings.archive_address, auth=(credentials.username, credentials.password), timeout=30
    ) as client:
        for file in converted:
            assert client.post("/instances", content=file.read_bytes()).json()["Status"] == "Success"


def test_pydicom_still_reads_what_devices_send(converted: list[Path]) -> None:
    assert converted
    assert pydicom.config.enforce_valid_values is False


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("slide.kfb", b"KFB\x00" + bytes(200), "江丰"),
        ("slide.sdpc", b"SQ" + bytes(200), "生强"),
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(200), "JPEG"),
        ("slide.dcm", bytes(128) + b"DICM" + bytes(50), "DICOM"),
        ("slide.svs", b"", "empty"),
        ("slide.bin", b"nothing known" * 20, "unknown"),
    ],
)
def test_a_file_that_is_no_slide_is_named_with_a_remedy(
    name: str, content: bytes, found: str, laboratory: SlidePatient, tmp_path: Path
) -> None:
    source = tmp_path / name
    source.write_bytes(content)
    with pytest.raises(UnknownSlideFormat) as refused:
        convert_slide(source, tmp_path / "out", laboratory)
    assert found in str(refused.value)
    assert refused.value.remedy
    assert list((tmp_path / "out").iterdir()) == []


def test_a_picture_without_a_scale_is_refused(laboratory: SlidePatient, tmp_path: Path) -> None:
    source = tmp_path / "camera.tif"
    tifffile.imwrite(source, np.full((512, 512, 3), 200, np.uint8), photometric="rgb", tile=(256, 256))
    with pytest.raises(SlideWithoutScale, match="micrometres"):
        convert_slide(source, tmp_path / "out", laboratory)


def test_a_slide_cut_short_is_refused_whole(drawn_slide: Path, laboratory: SlidePatient, tmp_path: Path) -> None:
    source = tmp_path / "short.svs"
    content = bytearray(drawn_slide.read_bytes())
    content[3000:-200000] = bytes(len(content) - 203000)
    source.write_bytes(content)
    with pytest.raises((SlideDamaged, UnknownSlideFormat)):
        convert_slide(source, tmp_path / "out", laboratory)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_naive_time_is_refused(drawn_slide: Path, laboratory: SlidePatient, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        convert_slide(drawn_slide, tmp_path, replace(laboratory, studied_at=laboratory.studied_at.replace(tzinfo=None)))


def test_a_real_slide_keeps_its_label_and_overview(real_slide: Path, laboratory: SlidePatient, tmp_path: Path) -> None:
    found = headers(convert_slide(real_slide, tmp_path, laboratory))
    flavours = [header.ImageType[2] for header in found]
    assert {"VOLUME", "THUMBNAIL", "LABEL", "OVERVIEW"} <= set(flavours)
    assert {header.BurnedInAnnotation for header in found if header.ImageType[2] == "LABEL"} == {"YES"}


def test_every_tile_fills_its_frame_and_shows_what_it_showed(laboratory: SlidePatient, tmp_path: Path) -> None:
    uneven = write_svs(tmp_path / "uneven.svs", draw_slide(1100))
    converted = convert_slide(uneven, tmp_path / "dicom", laboratory)
    levels = [header for header in headers(converted) if header.ImageType[2] == "VOLUME"]
    assert any(level.TotalPixelMatrixColumns % level.Columns for level in levels)  # there are tiles that had to be filled
    for file in converted:
        level = pydicom.dcmread(file)
        for frame in generate_frames(level.PixelData, number_of_frames=int(level.get("NumberOfFrames", 1))):
            with Image.open(io.BytesIO(frame)) as tile:
                assert tile.size == (level.Columns, level.Rows)
    with WsiDicom.open(converted) as slide:
        whole = np.asarray(slide.read_region((0, 0), 0, (slide.size.width, slide.size.height))).astype(float)
        half = np.asarray(slide.read_region((0, 0), 1, (slide.size.width // 2, slide.size.height // 2))).astype(float)
    strip = whole[:, -64:].mean(axis=(0, 1))
    assert np.abs(strip - half[:, -32:].mean(axis=(0, 1))).max() < 4
