"""Deflated and big-endian data sets, with DCMTK's dcmconv as the one that writes them and as the one that knows better."""

from __future__ import annotations

import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

from pacs_bridge.part10 import dataset_digest
from pacs_bridge.transcoding import CannotTranscode, needs_transcoding, transcode_for_archive
from pacs_bridge.transcoding.data_sets import NotReadable, inflate
from tests.pacs_bridge.transcoding.coded_images import colour, grey, instance

#: Options of dcmconv, by transfer syntax.
OPTIONS: dict[str, str] = {DeflatedExplicitVRLittleEndian: "+td", ExplicitVRBigEndian: "+tb", ExplicitVRLittleEndian: "+te"}
WHOLE = [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]


def converted(source: Path, syntax: str, target: Path) -> Path:
    subprocess.run(["dcmconv", OPTIONS[syntax], str(source), str(target)], check=True, capture_output=True)
    return target


def data_set_of(path: Path) -> bytes:
    """Return the bytes behind the meta information."""
    data = path.read_bytes()
    return data[144 + int.from_bytes(data[140:144], "little") :]


def saved(data_set: Dataset, path: Path) -> Path:
    data_set.save_as(path, enforce_file_format=True, little_endian=True, implicit_vr=False)
    return path


def image(folder: Path) -> Path:
    """Write a 12-bit image of 3 frames."""
    picture = grey(12)
    made = instance(picture, ExplicitVRLittleEndian, [b"1", b"2", b"3"], BitsStored=12)
    made.PixelData = picture.tobytes() * 3
    made["PixelData"].VR = "OW"
    return saved(made, folder / "image.dcm")


def coloured(folder: Path) -> Path:
    """Write a colour image, whose pixels are single bytes."""
    made = instance(colour(), ExplicitVRLittleEndian, [b"1"])
    made.PixelData = colour().tobytes()
    made["PixelData"].VR = "OB"
    return saved(made, folder / "colour.dcm")


def report(folder: Path) -> Path:
    """Write a report without pixels: text of China, numbers of every kind, sequences in sequences, private elements."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = ComprehensiveSRStorage, generate_uid()
    made.SpecificCharacterSet, made.PatientName, made.PatientID = "GB18030", "王^小东", "P1"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = generate_uid(), generate_uid(), "SR"
    made.SelectorFDValue, made.SelectorFLValue = [1.5, -2.25e300], [0.1, 7.0]
    made.SelectorULValue, made.SelectorUSValue = [1, 4_000_000_000], [258, 65_535]
    made.SelectorSLValue, made.SelectorSSValue = [-1, 70_000], [-2, 300]
    made.SelectorSVValue, made.SelectorUVValue = [-(1 << 40)], [1 << 63]
    made.SelectorATValue, made.SelectorOBValue = [0x00100020, 0x7FE00010], b"\x01\x02\x03\x04"
    made.SelectorOWValue, made.SelectorOFValue = b"\x01\x02\x03\x04", b"\0\0\x80?"
    inner = Dataset()
    inner.SelectorUSValue, inner.TextValue = 513, "三层"
    middle = Dataset()
    middle.ContentSequence = Sequence([inner, Dataset()])
    made.ContentSequence = Sequence([middle])
    made.ContentSequence.is_undefined_length = True
    made.private_block(0x0029, "TOWNSHIP DEVICE", create=True).add_new(1, "UN", b"\x01\x02\x03\x04")
    return saved(made, folder / "report.dcm")


def published(name: str) -> Callable[[Path], Path]:
    def take(_: Path) -> Path:
        return Path(str(get_testdata_file(name)))

    take.__name__ = name
    return take


SOURCES = [image, coloured, report, published("CT_small.dcm"), published("rtplan.dcm")]


@pytest.mark.parametrize("syntax", WHOLE)
@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_every_value_is_kept(tmp_path: Path, syntax: str, make: Callable[[Path], Path]) -> None:
    assert needs_transcoding(syntax)
    (folder := tmp_path / "given").mkdir()
    source = converted(make(folder), syntax, tmp_path / "source.dcm")
    before = source.read_bytes()
    result = transcode_for_archive(source, tmp_path / "target.dcm")
    again = converted(source, ExplicitVRLittleEndian, tmp_path / "dcmtk.dcm")
    assert data_set_of(tmp_path / "target.dcm") == data_set_of(again)
    assert (result.source_transfer_syntax_uid, result.transfer_syntax_uid) == (syntax, ExplicitVRLittleEndian)
    digest = dataset_digest(tmp_path / "target.dcm")
    assert (result.sha256, result.size) == (digest.sha256, digest.size)
    assert source.read_bytes() == before
    made, given = dcmread(tmp_path / "target.dcm"), dcmread(source)
    assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert made.file_meta.MediaStorageSOPInstanceUID == given.file_meta.MediaStorageSOPInstanceUID
    assert made.SOPInstanceUID == given.SOPInstanceUID


def test_pixels_of_big_endian_are_those_that_went_in(tmp_path: Path) -> None:
    transcode_for_archive(converted(image(tmp_path), ExplicitVRBigEndian, tmp_path / "source.dcm"), tmp_path / "target.dcm")
    made = dcmread(tmp_path / "target.dcm")
    assert np.array_equal(made.pixel_array, np.stack([grey(12)] * 3))


@pytest.mark.parametrize("syntax", WHOLE)
def test_memory_does_not_grow_with_the_frames(tmp_path: Path, syntax: str) -> None:
    picture = grey(16, rows=512, columns=512)

    def peak(frames: int) -> int:
        made = instance(picture, ExplicitVRLittleEndian, [b""] * frames)
        made.PixelData = picture.tobytes() * frames
        made["PixelData"].VR = "OW"
        source = converted(saved(made, tmp_path / "given.dcm"), syntax, tmp_path / "source.dcm")
        tracemalloc.start()
        transcode_for_archive(source, tmp_path / "target.dcm")
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(60) < peak(20) + (1 << 20)


def refused(source: Path, why: str) -> None:
    with pytest.raises(CannotTranscode, match=why):
        transcode_for_archive(source, source.with_name("target.dcm"))
    assert not source.with_name("target.dcm").exists()
    assert not source.with_name("target.dcm.part").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data[:-5], "has no place|middle of an element"),
        (lambda data: data + b"\0", "middle of an element"),
        (lambda data: data.replace(b"\x00\x10\x00\x20LO", b"\x00\x10\x00\x20ZZ"), "of the VR 'ZZ'"),
        (lambda data: data.replace(b"\x00\x28\x00\x10US\x00\x02", b"\x00\x28\x00\x10US\x00\x03"), "3 bytes"),
        (lambda data: data.replace(b"OW\0\0", b"OW\0\0\xff\xff\xff\xff", 1), "4294967295 bytes"),
    ],
)
def test_big_endian_that_is_broken_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], why: str) -> None:
    source = converted(image(tmp_path), ExplicitVRBigEndian, tmp_path / "source.dcm")
    whole = source.read_bytes()
    source.write_bytes(change(whole))
    assert source.read_bytes() != whole
    refused(source, why)


def deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def test_deflated_that_is_broken_is_refused(tmp_path: Path) -> None:
    source = converted(image(tmp_path), DeflatedExplicitVRLittleEndian, tmp_path / "source.dcm")
    whole = source.read_bytes()
    source.write_bytes(whole[:-20])
    refused(source, "ends before its time")
    source.write_bytes(whole[:400] + bytes(100))
    refused(source, "inflated|ends before")


def test_a_bomb_is_not_inflated_any_further(tmp_path: Path) -> None:
    bomb, out = tmp_path / "bomb", tmp_path / "out"
    bomb.write_bytes(deflate(bytes(64 << 20)))
    with bomb.open("rb") as source, out.open("wb") as target, pytest.raises(NotReadable, match="more than 8 MiB"):
        inflate(source, target, most_bytes=8 << 20)
    assert out.stat().st_size <= 10 << 20
