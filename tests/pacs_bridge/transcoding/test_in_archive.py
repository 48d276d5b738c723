"""Orthanc takes, describes and shows what is made; and it does not do so with what it is made of."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from pacs_bridge.credentials import archive_credentials
from pacs_bridge.transcoding import needs_transcoding, transcode_guarded
from tests.conftest import RunningArchive
from tests.pacs_bridge.transcoding import test_data_sets as data_sets
from tests.pacs_bridge.transcoding import test_progressive_jpeg as progressive
from tests.pacs_bridge.transcoding.coded_images import (
    HTJ2K,
    JPEG_XL,
    JPEG_XL_OF_JPEG,
    LOSSLESS,
    colour,
    grey,
    htj2k,
    instance,
    jpeg_xl,
    written,
)

FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
#: As OHIF asks for them, and decoded.
AS_STORED, DECODED = FRAMES, 'multipart/related; type="application/octet-stream"'
CODERS: dict[str, Callable[[NDArray[Any]], bytes]] = {
    **LOSSLESS,
    HTJ2K: htj2k,
    JPEG_XL: jpeg_xl,
    JPEG_XL_OF_JPEG: lambda picture: bytes(imagecodecs.jpegxl_encode_jpeg(imagecodecs.jpeg8_encode(picture, level=90))),
}


@pytest.fixture
def http(running_archive: RunningArchive) -> httpx.Client:
    """Orthanc's own interface."""
    credentials = archive_credentials(running_archive.settings.secrets)
    auth = (credentials.username, credentials.password)
    return httpx.Client(base_url=running_archive.settings.archive_address, auth=auth, trust_env=False)


def stored(http: httpx.Client, file: Path) -> tuple[str, str]:
    """Store a file and return its place in Orthanc and in DICOMweb."""
    answer = http.post("/instances", content=file.read_bytes())
    assert answer.status_code == 200, answer.text
    header = dcmread(file, stop_before_pixels=True)
    web = f"/dicom-web/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}/instances/{header.SOPInstanceUID}"
    return f"/instances/{answer.json()['ID']}", web


@pytest.mark.parametrize("syntax", CODERS)
def test_orthanc_neither_describes_nor_shows_the_original(http: httpx.Client, tmp_path: Path, syntax: str) -> None:
    assert needs_transcoding(syntax)
    place, _ = stored(http, written(tmp_path, grey(8), syntax, CODERS[syntax](grey(8))))
    assert http.get(f"{place}/preview").status_code == 415


@pytest.mark.parametrize("syntax", CODERS)
@pytest.mark.parametrize("picture", [grey(8), colour()], ids=["grey", "colour"])
def test_orthanc_describes_and_shows_what_is_made_of_it(
    http: httpx.Client, tmp_path: Path, syntax: str, picture: NDArray[Any]
) -> None:
    tags = {"PhotometricInterpretation": "YBR_FULL_422"} if syntax == JPEG_XL_OF_JPEG and picture.ndim == 3 else {}
    source = written(tmp_path, picture, syntax, *[CODERS[syntax](picture)] * 3, **tags)
    result = transcode_guarded(source, tmp_path / "target.dcm")
    place, web = stored(http, tmp_path / "target.dcm")
    assert http.get(f"{place}/metadata/TransferSyntax").text == result.transfer_syntax_uid
    preview = http.get(f"{place}/frames/2/preview", headers={"Accept": "image/png"})
    shown = np.asarray(Image.open(io.BytesIO(preview.content)), np.int16)
    # What a JPEG decoder does to colours is its own business, within a few grey levels.
    allowed = 40 if syntax == JPEG_XL_OF_JPEG else 0
    assert np.abs(shown - picture.astype(np.int16)).max() <= allowed
    assert http.get(f"{web}/metadata").status_code == 200
    assert http.get(f"{web}/rendered").status_code == 200
    for frame in (1, 3):
        assert http.get(f"{web}/frames/{frame}", headers={"Accept": FRAMES}).status_code == 200


def body_of(answer: httpx.Response) -> bytes:
    """Return the one part of a multipart answer."""
    boundary = answer.headers["content-type"].split("boundary=")[1].split(";")[0].strip('"').encode()
    return answer.content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + boundary, 1)[0]


def native(folder: Path, syntax: str) -> Path:
    """Write an image of 12 bits in a transfer syntax of whole data sets."""
    made = instance(grey(12), ExplicitVRLittleEndian, [b""] * 2, BitsStored=12)
    made.PixelData = grey(12).tobytes() * 2
    made["PixelData"].VR = "OW"
    given = data_sets.saved(made, folder / "given.dcm")
    return data_sets.converted(given, syntax, folder / "source.dcm")


#: What Orthanc decodes, and does not give to a viewer that asks for the frames as they are stored.
HALF_SHOWN: dict[str, Callable[[Path, str], Path]] = {
    DeflatedExplicitVRLittleEndian: native,
    ExplicitVRBigEndian: native,
    progressive.SPECTRAL: lambda folder, syntax: progressive.progressive(folder, syntax, grey(12), BitsStored=12),
    progressive.FULL: lambda folder, syntax: progressive.progressive(folder, syntax, grey(12), BitsStored=12),
}


@pytest.mark.parametrize("syntax", HALF_SHOWN)
def test_frames_that_orthanc_refuses_as_they_are_stored_are_given_after_transcoding(
    http: httpx.Client, tmp_path: Path, syntax: str
) -> None:
    source = HALF_SHOWN[syntax](tmp_path, syntax)
    _, web = stored(http, source)
    assert http.get(f"{web}/frames/1", headers={"Accept": AS_STORED}).status_code == 500
    decoded_before = body_of(http.get(f"{web}/frames/2", headers={"Accept": DECODED}))
    (place,) = http.post(
        "/tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": str(dcmread(source).SOPInstanceUID)}}
    ).json()
    http.delete(f"/instances/{place}")

    result = transcode_guarded(source, tmp_path / "target.dcm")
    _, web = stored(http, tmp_path / "target.dcm")
    as_stored = http.get(f"{web}/frames/2", headers={"Accept": AS_STORED})
    decoded = http.get(f"{web}/frames/2", headers={"Accept": DECODED})
    assert (as_stored.status_code, decoded.status_code) == (200, 200)
    assert f"transfer-syntax={result.transfer_syntax_uid}" in as_stored.content.split(b"\r\n\r\n", 1)[0].decode()
    difference = np.frombuffer(body_of(decoded), "<u2").astype(int) - np.frombuffer(decoded_before, "<u2").astype(int)
    assert np.abs(difference).max() <= (0 if syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian) else 1)
    assert http.get(f"{web}/rendered").status_code == 200


@pytest.mark.parametrize("number", ["100", "102", "104", "107"])
def test_video_is_kept_as_it_came_and_shown_by_nothing_of_orthancs(http: httpx.Client, tmp_path: Path, number: str) -> None:
    syntax = f"1.2.840.10008.1.2.4.{number}"
    assert not needs_transcoding(syntax)
    stream = b"\x00\x00\x01\xb3" + bytes(500)
    source = written(tmp_path, colour(), syntax, stream, NumberOfFrames=2, PhotometricInterpretation="YBR_PARTIAL_420")
    place, web = stored(http, source)
    assert http.get(f"{web}/frames/1", headers={"Accept": AS_STORED}).status_code == 500
    assert http.get(f"{place}/preview").status_code == 415
    assert http.get(f"{place}/file").content == source.read_bytes()
