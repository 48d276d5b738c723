"""Prediction of pixels on the line: undone bit for bit whatever the bytes, and used only where it makes them smaller."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from core.clock import now
from pacs_bridge.edge.loads import Load, multipart
from pacs_bridge.edge.prediction import Prediction, predicted, prediction_of, restored
from tests.pacs_bridge.edge.conftest import CountySite, Township, drive
from tests.pacs_bridge.edge.line import Line

EXPLICIT = "1.2.840.10008.1.2.1"


def in_pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=4000),
    offset=st.integers(0, 300),
    columns=st.integers(1, 130),
    sample_bytes=st.sampled_from([1, 2]),
    size=st.integers(1, 900),
)
def test_any_bytes_come_back_as_they_were(content: bytes, offset: int, columns: int, sample_bytes: int, size: int) -> None:
    prediction = Prediction(offset=offset, columns=columns, sample_bytes=sample_bytes)
    there = b"".join(predicted(in_pieces(content, size), prediction))
    assert len(there) == len(content)
    assert b"".join(restored(in_pieces(there, 7 * size), prediction)) == content
    assert Prediction.parse(str(prediction)) == prediction


@pytest.mark.parametrize("sample_bytes", [1, 2])
def test_large_images_come_back_over_many_bands(sample_bytes: int) -> None:
    content = np.random.default_rng(1).integers(0, 256, 3_000_001, np.uint8).tobytes()
    prediction = Prediction(offset=1001, columns=512, sample_bytes=sample_bytes)
    there = b"".join(predicted(in_pieces(content, 1 << 18), prediction))
    assert there != content
    assert b"".join(restored(in_pieces(there, 1 << 16), prediction)) == content


@given(start=st.integers(0, 5000))
def test_a_piece_in_the_middle_begins_its_rows_where_the_whole_does(start: int) -> None:
    here = Prediction(offset=700, columns=100, sample_bytes=2).from_byte(start)
    assert (start + here.offset - 700) % 200 == 0
    assert 0 <= here.offset < 200 or start < 700


@pytest.mark.parametrize(
    "header",
    [
        "",
        "planar",
        "planar; offset=1; columns=0; bytes=2",
        "planar; offset=1; columns=99999; bytes=2",
        "paeth; offset=1; columns=5; bytes=2",
    ],
)
def test_a_header_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Prediction.parse(header)


def radiograph(path: Path, *, noise: bool = False) -> int:
    """Write a smooth 12-bit image of 1024 × 1024, or one of noise alone; return its size."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    y, x = np.mgrid[0:1024, 0:1024]
    grain = np.random.default_rng(2).normal(0, 4, (1024, 1024))
    image = (2000 + 900 * np.sin(x / 190) * np.cos(y / 130) + grain).astype(np.uint16)
    if noise:
        image = np.random.default_rng(3).integers(0, 65536, (1024, 1024), np.uint16)
    dataset.Rows = dataset.Columns = 1024
    dataset.PixelRepresentation, dataset.PixelData = 0, image.tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword in ("DataSetTrailingPadding", "SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.save_as(path, enforce_file_format=True)
    return path.stat().st_size


def squeezed(path: Path, *, predict: bool) -> int:
    load = Load(
        instance_id=1, sop_instance_uid="1.2", path=path, sha256="", size=0, received_at=now(),
        transfer_syntax_uid=EXPLICIT,
    )  # fmt: skip
    body = io.BytesIO()
    for piece in multipart([load], "b", predict=predict):
        body.write(piece)
    return len(zstandard.ZstdCompressor().compress(body.getvalue()))


def test_smooth_pixels_become_smaller_and_noise_is_left_alone(tmp_path: Path) -> None:
    smooth, noise = tmp_path / "smooth.dcm", tmp_path / "noise.dcm"
    radiograph(smooth)
    radiograph(noise, noise=True)
    assert squeezed(smooth, predict=True) < 0.8 * squeezed(smooth, predict=False)
    assert prediction_of(noise, EXPLICIT, 1) is None
    assert prediction_of(smooth, "1.2.840.10008.1.2.4.90", 1) is None
    smooth.write_bytes(smooth.read_bytes()[:2000])
    assert prediction_of(smooth, EXPLICIT, 1) is None


@pytest.mark.parametrize("piece_bytes", [16 << 20, 300_000])
def test_the_county_holds_the_very_bytes_and_the_line_carried_fewer(
    township: Township, county_site: CountySite, line: Line, tmp_path: Path, piece_bytes: int
) -> None:
    size = radiograph(tmp_path / "smooth.dcm")
    sent = township.take_file(tmp_path / "smooth.dcm")
    township.keep_books()
    forwarder = township.forwarder(piece_bytes=piece_bytes)
    drive(forwarder, lambda: not township.waiting())
    assert [name.sha256 for name in county_site.spooled()] == [sent]
    assert {row.tries for row in township.rows()} == {0}
    assert line.up < 0.45 * size
    forwarder.close()
