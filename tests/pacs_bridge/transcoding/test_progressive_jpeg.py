"""Progressive JPEG, as DCMTK's dcmcjpeg writes it: shown with the values that decoders give, or left as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from pacs_bridge.transcoding import CannotTranscode, needs_transcoding, transcode_for_archive
from tests.pacs_bridge.transcoding.coded_images import colour, grey, instance, write

SPECTRAL, FULL = "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"
OPTIONS = {SPECTRAL: "+es", FULL: "+ep"}
PICTURES: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
    "8 bits": (grey(8), {}),
    "12 bits": (grey(12), {"BitsStored": 12}),
    "colour": (colour(), {}),
    "inverted": (grey(8), {"PhotometricInterpretation": "MONOCHROME1"}),
}


def progressive(folder: Path, syntax: str, picture: NDArray[Any], frames: int = 2, **tags: Any) -> Path:
    """Write an image as DCMTK compresses it."""
    given = instance(picture, ExplicitVRLittleEndian, [b""] * frames, **tags)
    given.PixelData = picture.tobytes() * frames
    given["PixelData"].VR = "OW" if picture.dtype.itemsize > 1 else "OB"
    given.save_as(folder / "given.dcm", enforce_file_format=True)
    command = ["dcmcjpeg", OPTIONS[syntax], "+q", "95", "+un", str(folder / "given.dcm"), str(folder / "source.dcm")]
    subprocess.run(command, check=True, capture_output=True)
    assert dcmread(folder / "source.dcm").file_meta.TransferSyntaxUID == syntax
    return folder / "source.dcm"


@pytest.mark.parametrize("syntax", OPTIONS)
@pytest.mark.parametrize("which", PICTURES)
def test_the_values_are_those_that_dcmtk_decodes(tmp_path: Path, syntax: str, which: str) -> None:
    assert needs_transcoding(syntax)
    picture, tags = PICTURES[which]
    source = progressive(tmp_path, syntax, picture, **tags)
    result = transcode_for_archive(source, tmp_path / "target.dcm")
    made, given = dcmread(tmp_path / "target.dcm"), dcmread(source)
    assert (result.transfer_syntax_uid, result.frames) == (made.file_meta.TransferSyntaxUID, 2)
    subprocess.run(["dcmdjpeg", str(source), str(tmp_path / "dcmtk.dcm")], check=True, capture_output=True)
    expected = pixel_array(dcmread(tmp_path / "dcmtk.dcm")).astype(int)
    # Two decoders of one lossy JPEG may differ by rounding; in colours they also enlarge chroma in different ways.
    allowed = 24 if which == "colour" else 1
    shown = pixel_array(made, raw=True).astype(int)
    assert np.abs(shown - expected).max() <= allowed
    assert np.abs(shown - picture.astype(int)).mean() < {"colour": 5, "12 bits": 16}.get(which, 2)
    assert made.PhotometricInterpretation == ("RGB" if which == "colour" else given.PhotometricInterpretation)
    if which == "8 bits":
        assert made.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert (made.SOPInstanceUID, made.LossyImageCompression) == (given.SOPInstanceUID, "01")


def frames_of(source: Path) -> list[bytes]:
    return list(generate_frames(dcmread(source).PixelData, number_of_frames=2))


def rewritten(source: Path, frames: list[bytes], **tags: Any) -> Path:
    image = dcmread(source)
    del image.PixelData
    for name, value in tags.items():
        setattr(image, name, value)
    return write(source, image, frames)


def refused(source: Path, why: str) -> None:
    with pytest.raises(CannotTranscode, match=why):
        transcode_for_archive(source, source.with_name("target.dcm"))
    assert not source.with_name("target.dcm").exists()


def test_a_frame_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    source = progressive(tmp_path, FULL, grey(8))
    first, second = frames_of(source)
    refused(rewritten(source, [first, second[: len(second) // 2]]), "ends before its time")


def test_a_frame_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    source = progressive(tmp_path, FULL, grey(8))
    refused(rewritten(source, frames_of(source), Rows=24), "claims")


def test_colours_are_not_guessed(tmp_path: Path) -> None:
    source = progressive(tmp_path, FULL, colour())  # a JFIF file: its colours are luma and chroma
    refused(rewritten(source, frames_of(source), PhotometricInterpretation="RGB"), "header says RGB")
