"""A burst as townships send it: 2500 x 2000 chests, half of them native 12 of 16 bits, the others in lossless and lossy JPEG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    generate_uid,
)

from cli.bench.phantom import chest

ROWS, COLUMNS = 2500, 2000
#: Pictures that are drawn; under fresh UIDs they are as many patients as wanted.
DRAWN = 8
#: Standard deviation of a detector's noise at 12 bits.
NOISE = 10.0


@dataclass(frozen=True, kw_only=True)
class Coding:
    """One way to write the pixels."""

    syntax: UID
    #: What storescu must be told to propose it.
    proposing: tuple[str, ...]
    bits: int
    encode: Callable[[NDArray[np.uint16]], bytes]


CODINGS = {
    "native": Coding(syntax=ExplicitVRLittleEndian, proposing=(), bits=12, encode=lambda pixels: pixels.tobytes()),
    "JPEG lossless": Coding(
        syntax=JPEGLosslessSV1,
        proposing=("-xs",),
        bits=12,
        encode=lambda pixels: bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=12)),
    ),
    "JPEG baseline": Coding(
        syntax=JPEGBaseline8Bit,
        proposing=("-xy",),
        bits=8,
        encode=lambda pixels: bytes(imagecodecs.jpeg8_encode((pixels >> 4).astype(np.uint8), level=90)),
    ),
}
#: Shares of a burst, by sender: two devices write native pixels.
SENDERS = ("native", "native", "JPEG lossless", "JPEG baseline")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one device sends in one association."""

    folder: Path
    coding: str


class Radiographs:
    """Draws and codes pictures once, and writes them as often as wanted."""

    def __init__(self, pictures: Path | None = None) -> None:
        """Draw chests, or take the pictures (PNG or JPEG) of a folder."""
        greys = [_enlarged(file) for file in sorted(pictures.iterdir())[:DRAWN]] if pictures else list(_drawn())
        self._coded = {name: [_image(coding, grey) for grey in greys] for name, coding in CODINGS.items()}

    def write(self, folder: Path, coding: str, count: int) -> Batch:
        """Write ``count`` studies of one image each under fresh UIDs."""
        folder.mkdir(parents=True)
        for number in range(count):
            image = self._coded[coding][number % len(self._coded[coding])]
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
            image.PatientID = image.StudyInstanceUID[-16:]
            image.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
        return Batch(folder=folder, coding=coding)

    def burst(self, folder: Path, count: int) -> list[Batch]:
        """Write ``count`` studies, a share for each sender."""
        share = [count // len(SENDERS) + (number < count % len(SENDERS)) for number in range(len(SENDERS))]
        return [
            self.write(folder / f"sender-{number}", coding, share[number])
            for number, coding in enumerate(SENDERS)
            if share[number]
        ]


def study_of(file: Path) -> str:
    """Return the Study Instance UID of a file."""
    return str(dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)


def _drawn() -> Sequence[NDArray[np.uint16]]:
    small = (Image.fromarray(chest(ROWS // 5, COLUMNS // 5, seed)) for seed in range(DRAWN))
    return [_noisy(_large(picture), seed) for seed, picture in enumerate(small)]


def _enlarged(file: Path) -> NDArray[np.uint16]:
    return _noisy(_large(Image.open(file).convert("L")) / 255, 0)


def _large(picture: Image.Image) -> NDArray[np.float32]:
    return np.asarray(picture.resize((COLUMNS, ROWS), Image.Resampling.BICUBIC), np.float32)


def _noisy(picture: NDArray[Any], seed: int) -> NDArray[np.uint16]:
    noise = np.random.default_rng(seed).normal(0, NOISE, picture.shape)
    return np.clip(picture * 4000 + noise, 0, 4095).astype(np.uint16)


def _image(coding: Coding, grey: NDArray[np.uint16]) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = coding.syntax
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    image.SpecificCharacterSet, image.PatientName, image.PatientSex, image.PatientAge = "ISO_IR 192", "Bench^Chest", "F", "050Y"
    image.StudyDate, image.StudyTime, image.Modality, image.PresentationIntentType = (
        "20260101",
        "080000",
        "DX",
        "FOR PRESENTATION",
    )
    image.BodyPartExamined, image.ViewPosition, image.PatientOrientation = "CHEST", "PA", ["L", "F"]
    image.SeriesNumber = image.InstanceNumber = 1
    image.ImagerPixelSpacing = ["0.175", "0.175"]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = grey.shape
    image.BitsAllocated, image.PixelRepresentation = (16 if coding.bits > 8 else 8), 0
    image.BitsStored, image.HighBit = coding.bits, coding.bits - 1
    image.WindowCenter, image.WindowWidth = 1 << coding.bits - 1, 1 << coding.bits
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "US"
    image.PresentationLUTShape = "IDENTITY"
    pixels = coding.encode(grey)
    image.PixelData = encapsulate([pixels]) if coding.syntax.is_compressed else pixels
    image["PixelData"].VR = "OW" if coding.bits > 8 else "OB"
    return image
