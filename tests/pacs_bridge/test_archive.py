"""The archive's client against a real Orthanc."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from pacs_bridge.archive import ArchiveRefused, NotInArchive
from pacs_bridge.part10 import dataset_digest
from tests.conftest import RunningArchive


def ct_slice(folder: Path) -> Path:
    """Write pydicom's CT slice under fresh UIDs."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = folder / "slice.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_what_is_stored_reads_back_with_the_same_hash(running_archive: RunningArchive, tmp_path: Path) -> None:
    path, archive = ct_slice(tmp_path), running_archive.archive
    with path.open("rb") as file:
        archive_id = archive.store(file)
    ours, theirs = dataset_digest(path), archive.digest(archive_id)
    assert (theirs.size, theirs.sha256) == (ours.size, ours.sha256)
    assert archive.fetch(archive_id, tmp_path / "back.dcm").read_bytes() == path.read_bytes()


def test_an_instance_is_found_by_its_uid_with_its_series_and_study(running_archive: RunningArchive, tmp_path: Path) -> None:
    path, archive = ct_slice(tmp_path), running_archive.archive
    dataset = pydicom.dcmread(path)
    with path.open("rb") as file:
        archive_id = archive.store(file)
    found = archive.find_instance(dataset.SOPInstanceUID)
    assert found is not None
    assert found.archive_id == archive_id
    assert (found.series_instance_uid, found.study_instance_uid) == (dataset.SeriesInstanceUID, dataset.StudyInstanceUID)
    assert archive.find_instance(generate_uid()) is None


def test_a_preview_is_a_jpeg(running_archive: RunningArchive, tmp_path: Path) -> None:
    with ct_slice(tmp_path).open("rb") as file:
        archive_id = running_archive.archive.store(file)
    assert running_archive.archive.preview(archive_id)[:2] == b"\xff\xd8"


def test_what_is_no_dicom_is_refused_and_what_is_gone_is_said_to_be(running_archive: RunningArchive) -> None:
    with pytest.raises(ArchiveRefused):
        running_archive.archive.store(io.BytesIO(b"not an image" * 100))
    with pytest.raises(NotInArchive):
        running_archive.archive.digest("00000000-00000000-00000000-00000000-00000000")
