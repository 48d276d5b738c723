"""What is written is the same instance: its values, its header, its frames in their order."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless

from pacs_bridge.part10 import dataset_digest
from pacs_bridge.transcoding import CannotTranscode, needs_transcoding, transcode_for_archive
from tests.pacs_bridge.transcoding.coded_images import (
    DEFLATED_FRAMES,
    ENCAPSULATED_UNCOMPRESSED,
    HTJ2K,
    HTJ2K_LOSSLESS,
    JPEG_2000_PART_2,
    JPEG_XL,
    JPEG_XL_LOSSLESS,
    JPEG_XL_OF_JPEG,
    LOSSLESS,
    colour,
    deflated,
    grey,
    htj2k,
    instance,
    jpeg_xl,
    write,
    written,
)


def transcoded(source: Path) -> Dataset:
    """Return the instance that is made of ``source``."""
    target = source.with_name("target.dcm")
    transcode_for_archive(source, target)
    return dcmread(target)


@pytest.mark.parametrize("syntax", [*LOSSLESS, JPEG_XL_OF_JPEG, JPEG_XL, HTJ2K])
def test_what_orthanc_does_not_know_is_transcoded(syntax: str) -> None:
    assert needs_transcoding(syntax)


@pytest.mark.parametrize(
    "number", ["1.2", "1.2.1", "1.2.5", "1.2.4.50", "1.2.4.51", "1.2.4.70", "1.2.4.80", "1.2.4.90", "1.2.4.102"]
)
def test_what_orthanc_knows_is_left_alone(number: str) -> None:
    assert not needs_transcoding(f"1.2.840.10008.{number}")


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(
    ("picture", "tags"),
    [
        (grey(8), {}),
        (grey(12), {"BitsStored": 12}),
        (grey(16), {}),
        (grey(12), {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}),
        (colour(), {}),
        (grey(8, rows=1, columns=1), {}),
        (grey(8, rows=31, columns=17), {}),
    ],
    ids=["8 bits", "12 bits", "16 bits", "MONOCHROME1", "colour", "one pixel", "odd size"],
)
def test_every_value_stays_what_it_was(tmp_path: Path, syntax: str, picture: NDArray[Any], tags: dict[str, Any]) -> None:
    image = transcoded(written(tmp_path, picture, syntax, LOSSLESS[syntax](picture), **tags))
    assert np.array_equal(pixel_array(image), picture)
    assert image.PhotometricInterpretation == tags.get("PhotometricInterpretation", "RGB" if picture.ndim == 3 else "MONOCHROME2")


@pytest.mark.parametrize("syntax", [syntax for syntax in LOSSLESS if syntax != JPEG_XL_LOSSLESS])
@pytest.mark.parametrize(
    ("bits", "target"), [(8, JPEGLSLossless), (12, ExplicitVRLittleEndian), (16, JPEGLSLossless)], ids=["8", "12", "16"]
)
def test_signed_values_keep_their_sign(tmp_path: Path, syntax: str, bits: int, target: str) -> None:
    picture = grey(bits, signed=True)
    image = transcoded(written(tmp_path, picture, syntax, LOSSLESS[syntax](picture), BitsStored=bits))
    assert np.array_equal(pixel_array(image), picture)
    assert image.file_meta.TransferSyntaxUID in (target, ExplicitVRLittleEndian)


def test_signed_values_in_a_bitstream_that_knows_no_sign_keep_their_sign(tmp_path: Path) -> None:
    picture = grey(12, signed=True)
    image = transcoded(written(tmp_path, picture, JPEG_XL_LOSSLESS, jpeg_xl((picture & 0xFFF).astype(np.uint16)), BitsStored=12))
    assert np.array_equal(pixel_array(image), picture)


def test_values_beyond_the_bits_stored_are_not_cut_off(tmp_path: Path) -> None:
    picture = grey(16)
    image = transcoded(written(tmp_path, picture, HTJ2K_LOSSLESS, htj2k(picture), BitsStored=12))
    assert image.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert image.PixelData == picture.tobytes()


def test_a_colour_transform_is_undone_and_said_so(tmp_path: Path) -> None:
    source = written(
        tmp_path, colour(), HTJ2K_LOSSLESS, htj2k(colour()), PhotometricInterpretation="YBR_RCT", PlanarConfiguration=1
    )
    image = transcoded(source)
    assert (image.PhotometricInterpretation, image.PlanarConfiguration) == ("RGB", 0)
    assert np.array_equal(pixel_array(image), colour())


def test_colour_that_may_or_may_not_be_transformed_is_not_guessed(tmp_path: Path) -> None:
    source = written(tmp_path, colour(), JPEG_XL, jpeg_xl(colour()), PhotometricInterpretation="YBR_FULL")
    with pytest.raises(CannotTranscode, match="YBR_FULL"):
        transcoded(source)


@pytest.mark.parametrize("picture", [grey(8), colour()], ids=["grey", "colour"])
def test_a_jpeg_comes_back_bit_for_bit(tmp_path: Path, picture: NDArray[Any]) -> None:
    jpegs = [bytes(imagecodecs.jpeg8_encode(picture, level=level)) for level in (60, 90)]
    tags = {"PhotometricInterpretation": "YBR_FULL_422"} if picture.ndim == 3 else {}
    streams = [bytes(imagecodecs.jpegxl_encode_jpeg(jpeg)) for jpeg in jpegs]
    image = transcoded(written(tmp_path, picture, JPEG_XL_OF_JPEG, *streams, **tags))
    assert image.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert image.PhotometricInterpretation == tags.get("PhotometricInterpretation", "MONOCHROME2")
    frames = list(generate_frames(image.PixelData, number_of_frames=2))
    assert [frame[: len(jpeg)] for frame, jpeg in zip(frames, jpegs, strict=True)] == jpegs


def test_lossy_pictures_are_decompressed_without_further_loss(tmp_path: Path) -> None:
    stream = bytes(imagecodecs.jpegxl_encode(colour(), distance=2.0))
    image = transcoded(written(tmp_path, colour(), JPEG_XL, stream, PhotometricInterpretation="XYB"))
    assert image.PhotometricInterpretation == "RGB"
    assert np.array_equal(pixel_array(image), imagecodecs.jpegxl_decode(stream))


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_the_header_is_copied_byte_for_byte(tmp_path: Path, syntax: str) -> None:
    picture, rest = grey(8), b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0rest"
    before = instance(picture, syntax, [b""])
    before.PatientName = "王小东".encode("gb18030").decode("latin-1")
    source = write(tmp_path / "source.dcm", before, [LOSSLESS[syntax](picture)], rest=rest)
    target = tmp_path / "target.dcm"
    result = transcode_for_archive(source, target)
    header = source.read_bytes().split(b"\x08\x00\x16\x00UI", 1)[1].split(b"\xe0\x7f\x10\x00O", 1)[0]
    assert b"\x08\x00\x16\x00UI" + header + b"\xe0\x7f\x10\x00O" in target.read_bytes()
    assert target.read_bytes().endswith(rest)
    after = dcmread(target)
    assert after.file_meta.TransferSyntaxUID == result.transfer_syntax_uid
    assert after.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
    assert (after.LossyImageCompression, after.LossyImageCompressionRatio) == ("01", 12.5)
    digest = dataset_digest(target)
    assert (result.sha256, result.size) == (digest.sha256, digest.size)


def test_a_real_signed_ct_in_htj2k_is_what_it_was(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    before = dcmread(str(get_testdata_file("CT_small.dcm")))
    picture = before.pixel_array
    tags = {"BitsStored": before.BitsStored, "RescaleIntercept": before.RescaleIntercept, "RescaleSlope": before.RescaleSlope}
    after = transcoded(written(tmp_path, picture, HTJ2K_LOSSLESS, htj2k(picture), **tags))
    assert np.array_equal(pixel_array(after), picture)
    assert after.RescaleIntercept == before.RescaleIntercept


def five() -> list[NDArray[Any]]:
    """Return five frames that differ."""
    return [grey(12, seed=seed) for seed in range(5)]


def split(stream: bytes) -> list[bytes]:
    """Return a bitstream in two fragments of even length."""
    middle = len(stream) // 4 * 2
    return [stream[:middle], stream[middle:]]


@pytest.mark.parametrize("offsets", ["none", "basic", "extended"])
def test_frames_in_several_fragments_are_put_together(tmp_path: Path, offsets: str) -> None:
    streams = [htj2k(frame) for frame in five()]
    streams = [stream + bytes(len(stream) % 2) for stream in streams]
    fragments = [fragment for stream in streams for fragment in split(stream)]
    starts = list(np.cumsum([0] + [len(stream) + 16 for stream in streams[:-1]]))
    image = instance(five()[0], HTJ2K_LOSSLESS, streams, BitsStored=12)
    if offsets == "extended":
        image.ExtendedOffsetTable = struct.pack("<5Q", *starts)
        image.ExtendedOffsetTableLengths = struct.pack("<5Q", *map(len, streams))
    basic = struct.pack("<5I", *starts) if offsets == "basic" else b""
    after = transcoded(write(tmp_path / "source.dcm", image, fragments, basic))
    assert np.array_equal(pixel_array(after), np.stack(five()))
    assert "ExtendedOffsetTable" not in after


@pytest.mark.parametrize("syntax", [ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAMES])
def test_single_bits_lose_the_padding_between_their_frames(tmp_path: Path, syntax: str) -> None:
    masks = np.random.default_rng(3).integers(0, 2, (4, 5, 7), np.uint8)
    coded = [np.packbits(mask.ravel(), bitorder="little") for mask in masks]
    frames = [deflated(frame) if syntax == DEFLATED_FRAMES else frame.tobytes() for frame in coded]
    after = transcoded(written(tmp_path, masks[0], syntax, *frames, BitsAllocated=1, BitsStored=1))
    assert after.PixelData == np.packbits(masks.ravel(), bitorder="little").tobytes()
    assert np.array_equal(pixel_array(after), masks)


def test_colour_by_plane_stays_by_plane_where_nothing_is_decoded(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(colour(), -1, 0))
    after = transcoded(written(tmp_path, colour(), DEFLATED_FRAMES, deflated(planes), PlanarConfiguration=1))
    assert after.PlanarConfiguration == 1
    assert np.array_equal(pixel_array(after), colour())


def test_more_than_4_gib_get_extended_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_bridge.transcoding.writing.LONGEST", 10_000)
    after = transcoded(written(tmp_path, five()[0], HTJ2K_LOSSLESS, *map(htj2k, five()), BitsStored=12))
    assert len(after.ExtendedOffsetTable) == 5 * 8
    assert np.array_equal(pixel_array(after), np.stack(five()))
    tables = after.ExtendedOffsetTable, after.ExtendedOffsetTableLengths
    assert len(list(generate_frames(after.PixelData, number_of_frames=5, extended_offsets=tables))) == 5


def test_native_pixels_of_4_gib_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_bridge.transcoding.writing.LONGEST", 10_000)
    with pytest.raises(CannotTranscode, match="4 GiB"):
        transcoded(written(tmp_path, grey(8), DEFLATED_FRAMES, *[deflated(grey(8))] * 5))


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    frame = grey(16, rows=512, columns=512)

    def peak(frames: int) -> int:
        source = written(tmp_path, frame, HTJ2K_LOSSLESS, *[htj2k(frame)] * frames)
        tracemalloc.start()
        transcode_for_archive(source, tmp_path / "target.dcm")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    transcode_for_archive(written(tmp_path, frame, HTJ2K_LOSSLESS, htj2k(frame)), tmp_path / "target.dcm")
    few, many = peak(4), peak(40)
    assert many < few + frame.nbytes // 2


def refused(source: Path, why: str) -> None:
    """See that ``source`` is refused for this reason and nothing is left behind."""
    before = source.read_bytes()
    with pytest.raises(CannotTranscode, match=why) as error:
        transcode_for_archive(source, source.with_name("target.dcm"))
    assert error.value.remedy
    assert source.read_bytes() == before
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("syntax", [syntax for syntax in LOSSLESS if syntax not in (ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAMES)])
def test_a_bitstream_larger_than_its_header_says_is_not_decoded(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for decoder in ("htj2k_decode", "jpeg2k_decode", "jpegxl_decode"):
        monkeypatch.setattr(imagecodecs, decoder, lambda *_, **__: pytest.fail("decoded"))
    refused(written(tmp_path, grey(8), syntax, LOSSLESS[syntax](grey(8, rows=100, columns=90))), "claims 100 x 90")


def test_a_bitstream_that_claims_sixty_thousand_squared_is_refused_at_once(tmp_path: Path) -> None:
    stream = bytearray(htj2k(grey(8)))
    stream[8:16] = struct.pack(">II", 60_000, 60_000)
    refused(written(tmp_path, grey(8), HTJ2K_LOSSLESS, bytes(stream)), "claims 60000 x 60000")
    refused(written(tmp_path, grey(8), HTJ2K_LOSSLESS, bytes(stream), Rows=60_000, Columns=60_000), "too large")


def test_a_deflate_bomb_is_not_inflated(tmp_path: Path) -> None:
    bomb = deflated(np.zeros(1 << 24, np.uint8))
    tracemalloc.start()
    refused(written(tmp_path, grey(8), DEFLATED_FRAMES, bomb), "has not the 3072 bytes")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 21


@pytest.mark.parametrize("syntax", [*LOSSLESS, JPEG_XL_OF_JPEG, JPEG_XL])
def test_bytes_that_are_no_picture_are_refused(tmp_path: Path, syntax: str) -> None:
    noise = np.random.default_rng(0).bytes(500)
    refused(written(tmp_path, grey(8), syntax, noise), "cannot be transcoded")


@pytest.mark.parametrize("syntax", [JPEG_XL_LOSSLESS, JPEG_2000_PART_2, HTJ2K_LOSSLESS])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_bitstream_cut_short_is_refused(tmp_path: Path, syntax: str, share: float) -> None:
    picture = grey(12, rows=256, columns=256)
    stream = LOSSLESS[syntax](picture)
    refused(written(tmp_path, picture, syntax, stream[: int(len(stream) * share)], BitsStored=12), "cannot be transcoded")


def test_a_bitstream_of_several_tiles_is_whole(tmp_path: Path) -> None:
    picture = grey(12, rows=200, columns=200)
    stream = bytes(imagecodecs.htj2k_encode(picture, reversible=True, tile=(64, 64), tilepart=True))
    assert np.array_equal(pixel_array(transcoded(written(tmp_path, picture, HTJ2K_LOSSLESS, stream, BitsStored=12))), picture)


def test_noise_that_jpeg_ls_would_make_longer_is_left_uncompressed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (200, 200), np.uint16)
    image = transcoded(written(tmp_path, noise, HTJ2K_LOSSLESS, htj2k(noise)))
    assert np.array_equal(pixel_array(image), noise)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path, grey(8), HTJ2K_LOSSLESS, htj2k(grey(8)))
    source.write_bytes(source.read_bytes()[:-100])
    refused(source, "end before their time")


def test_more_frames_than_fragments_are_refused(tmp_path: Path) -> None:
    refused(written(tmp_path, grey(8), HTJ2K_LOSSLESS, *[htj2k(grey(8))] * 2, NumberOfFrames=2_000_000_000), "2 fragments")


def test_a_transfer_syntax_that_nothing_undoes_is_refused(tmp_path: Path) -> None:
    refused(written(tmp_path, grey(8), "1.2.840.10008.1.2.4.204", htj2k(grey(8))), "4.204")


def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.dcm"
    source.write_bytes(b"no DICOM" * 100)
    refused(source, "InvalidDicomError")


def test_sixteen_bits_in_an_eight_bit_header_are_refused(tmp_path: Path) -> None:
    refused(written(tmp_path, grey(8), HTJ2K_LOSSLESS, htj2k(grey(16))), "do not fit into 8 bits")
