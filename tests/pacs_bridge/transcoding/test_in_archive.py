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

from pacs_bridge.credentials import archive_credentials
from pacs_bridge.transcoding import needs_transcoding, transcode_guarded
from tests.conftest import RunningArchive
from tests.pacs_bridge.transcoding.coded_images import (
    HTJ2K,
    JPEG_XL,
    JPEG_XL_OF_JPEG,
    LOSSLESS,
    colour,
    grey,
    htj2k,
    jpeg_xl,
    written,
)

FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
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
