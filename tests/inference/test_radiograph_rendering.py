"""Our rendering beside DCMTK's ``dcmj2pnm``: every path from stored values to grey levels, then every public file there is.

The table over the files of ../shared/data/dicom: ``pytest tests/inference/test_radiograph_rendering.py -k table -s``.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEGExtended12Bit, generate_uid

from inference.radiograph.rendering import UnreadablePixels, displayed, grey_levels
from pacs_bridge.transcoding import CannotTranscode, needs_transcoding, transcode_for_archive

PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "dicom"
#: Rounding of either side.
ALLOWED = 2


def ramp(bits: int = 12, *, signed: bool = False) -> NDArray[Any]:
    """Return every value of so many bits, or of 65 536 as many as fit, with noise so that no row is even."""
    lowest = -(1 << bits - 1) if signed else 0
    values = np.linspace(0, (1 << bits) - 1, 120 * 100).reshape(120, 100) + np.random.default_rng(1).integers(0, 9, (120, 100))
    kind = f"<{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return (np.clip(values, 0, (1 << bits) - 1).astype(np.int64) + lowest).astype(kind)


def write(folder: Path, pixels: NDArray[Any], **tags: Any) -> Path:
    """Write a DX image of these stored values; ``tags`` set elements."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = generate_uid(), generate_uid(), "DX"
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = pixels.dtype.itemsize * 8
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(image, name, value)
    image.HighBit = tags.get("HighBit", image.BitsStored - 1)
    image.PixelData = pixels.tobytes()
    image["PixelData"].VR = "OW"
    path = folder / "image.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def table(entries: NDArray[Any], first: int, bits: int) -> Dataset:
    """Return one item of a LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


def curve(count: int, bits: int) -> NDArray[np.uint16]:
    """Return a table that darkens and brightens."""
    share = np.linspace(0, 1, count)
    return np.asarray(np.rint(share**1.7 * ((1 << bits) - 1)), np.uint16)


def by_dcmtk(path: Path, folder: Path, *options: str) -> NDArray[np.int64]:
    """Return 8-bit grey levels as DCMTK renders them, without overlays."""
    target = folder / "dcmtk.pgm"
    command = ["dcmj2pnm", "--no-overlays", *options, "--write-raw-pnm", str(path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return np.asarray(Image.open(target)).astype(np.int64)


def differences(path: Path, folder: Path, *options: str) -> NDArray[np.int64]:
    """Return how far ours is from DCMTK's rendering, in grey levels."""
    return np.asarray(np.abs(by_dcmtk(path, folder, *options) - grey_levels(path)))


WHOLE_RANGE, WINDOW, VOI_LUT = ("--min-max-window",), ("--use-window", "1"), ("--use-voi-lut", "1")
TWELVE = {"BitsStored": 12}
RESCALED = {"RescaleSlope": "2.5", "RescaleIntercept": "-1000"}

CASES: dict[str, tuple[NDArray[Any], dict[str, Any], tuple[str, ...]]] = {
    "8 bits": (ramp(8), {}, WHOLE_RANGE),
    "12 bits": (ramp(12), TWELVE, WHOLE_RANGE),
    "16 bits": (ramp(16), {}, WHOLE_RANGE),
    "12 bits signed": (ramp(12, signed=True), TWELVE, WHOLE_RANGE),
    "16 bits signed": (ramp(16, signed=True), {}, WHOLE_RANGE),
    "MONOCHROME1": (ramp(12), {**TWELVE, "PhotometricInterpretation": "MONOCHROME1"}, WHOLE_RANGE),
    "rescaled": (ramp(12), {**TWELVE, **RESCALED}, WHOLE_RANGE),
    "window": (ramp(12), {**TWELVE, "WindowCenter": "1500", "WindowWidth": "900"}, WINDOW),
    "narrow window": (ramp(12), {**TWELVE, "WindowCenter": "1500", "WindowWidth": "1"}, WINDOW),
    "window beyond the values": (ramp(12), {**TWELVE, "WindowCenter": "2000", "WindowWidth": "9000"}, WINDOW),
    "first of two windows": (ramp(12), {**TWELVE, "WindowCenter": ["1500", "20"], "WindowWidth": ["900", "30"]}, WINDOW),
    "window, MONOCHROME1": (
        ramp(12),
        {**TWELVE, "WindowCenter": "1500", "WindowWidth": "900", "PhotometricInterpretation": "MONOCHROME1"},
        WINDOW,
    ),
    "window after rescaling": (ramp(12), {**TWELVE, **RESCALED, "WindowCenter": "1500", "WindowWidth": "4000"}, WINDOW),
    "window after a negative slope": (
        ramp(12),
        {**TWELVE, "RescaleSlope": "-1", "RescaleIntercept": "4095", "WindowCenter": "1500", "WindowWidth": "900"},
        WINDOW,
    ),
    "window, signed": (ramp(12, signed=True), {**TWELVE, "WindowCenter": "-500", "WindowWidth": "1200"}, WINDOW),
    "sigmoid": (ramp(12), {**TWELVE, "WindowCenter": "2048", "WindowWidth": "1500", "VOILUTFunction": "SIGMOID"}, WINDOW),
    "modality LUT": (ramp(12), {**TWELVE, "ModalityLUTSequence": [table(curve(4096, 16), 0, 16)]}, WHOLE_RANGE),
    "modality LUT of some values": (ramp(12), {**TWELVE, "ModalityLUTSequence": [table(curve(1000, 12), 700, 12)]}, WHOLE_RANGE),
    "modality LUT from a negative value": (
        ramp(12, signed=True),
        {**TWELVE, "ModalityLUTSequence": [table(curve(4096, 14), -2048, 14)]},
        WHOLE_RANGE,
    ),
    "modality LUT, then window": (
        ramp(12),
        {**TWELVE, "ModalityLUTSequence": [table(curve(4096, 12), 0, 12)], "WindowCenter": "1500", "WindowWidth": "900"},
        WINDOW,
    ),
    "VOI LUT": (ramp(12), {**TWELVE, "VOILUTSequence": [table(curve(4096, 16), 0, 16)]}, VOI_LUT),
    "VOI LUT of 10 bits": (ramp(12), {**TWELVE, "VOILUTSequence": [table(curve(4096, 10), 0, 10)]}, VOI_LUT),
    "VOI LUT of 8 bits": (ramp(12), {**TWELVE, "VOILUTSequence": [table(curve(4096, 8), 0, 8)]}, VOI_LUT),
    "VOI LUT of some values": (ramp(12), {**TWELVE, "VOILUTSequence": [table(curve(1000, 12), 700, 12)]}, VOI_LUT),
    "VOI LUT after rescaling": (
        ramp(12),
        {**TWELVE, "RescaleSlope": "2", "RescaleIntercept": "100", "VOILUTSequence": [table(curve(8192, 12), 100, 12)]},
        VOI_LUT,
    ),
    "VOI LUT, signed": (ramp(12, signed=True), {**TWELVE, "VOILUTSequence": [table(curve(4096, 12), -2048, 12)]}, VOI_LUT),
    "VOI LUT before a window": (
        ramp(12),
        {**TWELVE, "VOILUTSequence": [table(curve(4096, 12), 0, 12)], "WindowCenter": "15", "WindowWidth": "9"},
        VOI_LUT,
    ),
    "high bit at the top": (ramp(12) << 4, {**TWELVE, "HighBit": 15}, WHOLE_RANGE),
    "overlay bits above the values": (ramp(12) | 0x3000, TWELVE, WHOLE_RANGE),
}


@pytest.mark.parametrize("case", CASES)
def test_every_path_gives_the_grey_levels_of_dcmtk(tmp_path: Path, case: str) -> None:
    pixels, tags, options = CASES[case]
    apart = differences(write(tmp_path, pixels, **tags), tmp_path, *options)
    assert apart.max() <= ALLOWED, f"{case}: maximum {apart.max()}, mean {apart.mean():.3f}"


@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_presentation_lut_shape_decides_and_inverts_once(tmp_path: Path, shape: str, photometric: str) -> None:
    path = write(tmp_path, ramp(8), PresentationLUTShape=shape, PhotometricInterpretation=photometric)
    plain = by_dcmtk(write(tmp_path, ramp(8)), tmp_path, *WHOLE_RANGE)
    path = write(tmp_path, ramp(8), PresentationLUTShape=shape, PhotometricInterpretation=photometric)
    assert np.abs(grey_levels(path) - (255 - plain if shape == "INVERSE" else plain)).max() <= ALLOWED


def test_linear_exact_windows_reach_both_ends(tmp_path: Path) -> None:
    """DCMTK 3.6.7 takes LINEAR_EXACT for LINEAR, so the formula of PS3.3 C.11.2.1.3.2 is the reference."""
    pixels = ramp(12)
    path = write(tmp_path, pixels, BitsStored=12, WindowCenter="1500", WindowWidth="900", VOILUTFunction="LINEAR_EXACT")
    expected = np.clip((pixels.astype(float) - 1500) / 900 + 0.5, 0, 1) * 255
    assert np.abs(grey_levels(path) - expected).max() <= 0.51


@pytest.mark.parametrize("function", ["", "UNHEARD OF"])
def test_an_unknown_function_is_linear(tmp_path: Path, function: str) -> None:
    window = {"BitsStored": 12, "WindowCenter": "1500", "WindowWidth": "900"}
    plain = grey_levels(write(tmp_path, ramp(12), **window))
    assert np.array_equal(grey_levels(write(tmp_path, ramp(12), **window, VOILUTFunction=function)), plain)


def test_padding_is_black_and_does_not_set_the_contrast(tmp_path: Path) -> None:
    pixels = ramp(12)
    plain = grey_levels(write(tmp_path, pixels, BitsStored=12))[:, 20:]
    pixels = pixels.astype(np.uint16)
    pixels[:, :20] = 65535
    padded = grey_levels(write(tmp_path, pixels, PixelPaddingValue=65535))
    assert padded[:, :20].max() == padded[:, 20:].min()
    assert np.abs(padded[:, 20:].astype(int) - plain).max() <= ALLOWED


def test_an_overlay_is_not_drawn(tmp_path: Path) -> None:
    plain = grey_levels(write(tmp_path, ramp(8)))
    path = write(tmp_path, ramp(8))
    image = dcmread(path)
    image.add_new(0x60000010, "US", 120)
    image.add_new(0x60000011, "US", 100)
    image.add_new(0x60000040, "CS", "G")
    image.add_new(0x60000050, "SS", [1, 1])
    image.add_new(0x60000100, "US", 1)
    image.add_new(0x60000102, "US", 0)
    image.add_new(0x60003000, "OW", b"\xff" * 1500)
    image.save_as(path)
    assert np.array_equal(grey_levels(path), plain)
    assert np.abs(by_dcmtk(path, tmp_path, *WHOLE_RANGE) - plain).max() <= ALLOWED


def test_grey_levels_are_the_displayed_values_on_a_screen(tmp_path: Path) -> None:
    path = write(tmp_path, ramp(12), BitsStored=12, PhotometricInterpretation="MONOCHROME1", **RESCALED)
    values, levels = displayed(path), grey_levels(path)
    assert np.abs((values - values.min()) / np.ptp(values) * 255 - levels).max() <= 0.51


@pytest.mark.parametrize(("option", "bits"), [("+eb", 8), ("+ee", 8), ("+ee", 12), ("+el", 12), ("+e1", 16)])
def test_jpeg_of_every_depth_is_decoded_as_dcmtk_does(tmp_path: Path, option: str, bits: int) -> None:
    smooth = np.sort(ramp(bits), axis=None).reshape(120, 100)
    plain = write(tmp_path, smooth, BitsStored=bits)
    coded = tmp_path / "coded.dcm"
    subprocess.run(["dcmcjpeg", option, str(plain), str(coded)], check=True, capture_output=True)
    if (option, bits) == ("+ee", 12):
        assert dcmread(coded).file_meta.TransferSyntaxUID == JPEGExtended12Bit
    options = WINDOW if dcmread(coded).get("WindowCenter") is not None else WHOLE_RANGE
    assert differences(coded, tmp_path, *options).max() <= ALLOWED


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file of the table."""

    file: str
    syntax: str
    greatest: int | None
    mean: float | None
    remark: str


#: Why these differ by more than two grey levels, or give no image at all.
EXPLAINED = {
    "RI6XDosiGap.dcm": "window 0.2 wide without a function of its own: LINEAR needs 1; DCMTK shows black, we spread the range",
    "JPEG2000-embedded-sequence-delimiter.dcm": "a delimiter in the place of its size: 3.7 thousand million columns",
    "genFile.dcm": "bare pixels labelled JPEG Baseline",
    "MR_truncated.dcm": "62 bytes of pixels are missing",
    "GH1146.dcm": "Pixel Data is empty",
}


def rows(folder: Path, work: Path) -> Iterator[Row]:
    """Compare every single-frame grey file that ``folder/index.csv`` lists."""
    with (folder / "index.csv").open(encoding="utf-8") as listed:
        files = [folder / row["path"] for row in csv.DictReader(listed)]
    for file in files:
        try:
            header = dcmread(file, stop_before_pixels=True)
            shown = (
                str(header.get("PhotometricInterpretation", "")) in ("MONOCHROME1", "MONOCHROME2")
                and int(header.get("NumberOfFrames", 1) or 1) == 1
            )
        # Some of these files exist to be broken.
        except Exception:
            continue
        if shown:
            yield row_of(file, header, work)


def row_of(file: Path, header: Dataset, work: Path) -> Row:
    """Compare one file; what DCMTK cannot decode is decompressed first."""
    remark, greatest, mean = EXPLAINED.get(file.name, ""), None, None
    try:
        ours, native = grey_levels(readable(file, work)), decompressed(readable(file, work), work)
        padding = padded(native)
        apart = np.abs(by_dcmtk(native, work, *way(header, native, padding)) - ours)[~padding]
        greatest, mean = int(apart.max()), float(apart.mean())
    except (UnreadablePixels, CannotTranscode) as error:
        remark = remark or error.args[0].split(": ", 1)[-1].replace("\n", " ")[:90]
    except RuntimeError as error:
        remark = remark or f"DCMTK: {error}"
    return Row(file=file.name, syntax=str(header.file_meta.TransferSyntaxUID), greatest=greatest, mean=mean, remark=remark)


def readable(file: Path, work: Path) -> Path:
    """Return the file as the archive holds it."""
    if not needs_transcoding(str(dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID)):
        return file
    transcode_for_archive(file, work / "transcoded.dcm")
    return work / "transcoded.dcm"


def decompressed(file: Path, work: Path) -> Path:
    """Return a file whose transfer syntax ``dcmj2pnm`` reads: it knows JPEG and RLE."""
    image = dcmread(file)
    if not str(image.file_meta.TransferSyntaxUID).startswith(("1.2.840.10008.1.2.4.8", "1.2.840.10008.1.2.4.9")):
        return file
    image.PixelData = image.pixel_array.tobytes()
    # Some of these files hold, elsewhere, what pydicom cannot write.
    for tag in [tag for tag in image.keys() if tag.group not in (0x0008, 0x0028, 0x2050, 0x7FE0)]:  # noqa: SIM118
        del image[tag]
    image["PixelData"].is_undefined_length = False
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(work / "native.dcm")
    return work / "native.dcm"


def padded(file: Path) -> NDArray[np.bool_]:
    """Return where a file's pixels are padding, which only we leave out."""
    image = dcmread(file)
    value = image.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros((image.Rows, image.Columns), np.bool_)
    return np.asarray(image.pixel_array == value)


def way(header: Dataset, file: Path, padding: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the options by which DCMTK shows what we show."""
    if header.get("VOILUTSequence"):
        return VOI_LUT
    if header.get("WindowCenter") not in (None, "") and header.get("WindowWidth") not in (None, ""):
        return WINDOW
    if not padding.any():
        return WHOLE_RANGE
    image = dcmread(file)
    seen = image.pixel_array[~padding] * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))
    width = seen.max() - seen.min() + 1
    return ("--set-window", str((seen.max() + seen.min() + 1) / 2), str(width))


def test_the_table_over_the_public_files_is_within_two_grey_levels(tmp_path: Path) -> None:
    if not PUBLIC.is_dir():
        pytest.skip("needs the public DICOM files in ../shared/data/dicom")
    found = list(rows(PUBLIC, tmp_path))
    print("\n| file | transfer syntax | maximum | mean | remark |\n|---|---|---|---|---|")
    for row in found:
        numbers = "| - | - |" if row.greatest is None else f"| {row.greatest} | {row.mean:.3f} |"
        print(f"| {row.file} | {row.syntax} {numbers} {row.remark} |")
    apart = [row for row in found if row.greatest is not None and row.greatest > ALLOWED and not row.remark]
    assert not apart
    compared = [row for row in found if row.greatest is not None]
    assert len(compared) >= 100
