"""CT series made for a test: a bright ball in a body of water, whose volume is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

#: Hounsfield units of the ball, and of what is around it.
BALL_HU, BODY_HU = 400, 0
INTERCEPT = -1024


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A ball of the patient, in DICOM's coordinates (left, back, head) in millimetres."""

    centre: tuple[float, float, float] = (9.0, -11.0, 35.0)
    radius: float = 18.0

    @property
    def millilitres(self) -> float:
        """Its true volume."""
        return 4 / 3 * math.pi * self.radius**3 / 1000


def ct_series(
    folder: Path,
    *,
    ball: Ball | None = None,
    side: int = 64,
    slices: int = 40,
    pixel_mm: float = 1.1,
    slice_mm: float = 2.5,
    study: str = "",
    **tags: Any,
) -> list[Path]:
    """Write an axial series, feet first in the order of files, and return its files; ``tags`` are set in each header."""
    ball = ball or Ball()
    study, series, frame = study or generate_uid(), generate_uid(), generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    first = np.array([-side / 2 * pixel_mm, -side / 2 * pixel_mm, -slices / 2 * slice_mm + 30])
    files = []
    for number in range(slices):
        corner = first + np.array([0, 0, number * slice_mm])
        image = _header(study, series, frame, number, corner, side, pixel_mm, slice_mm, tags)
        image.PixelData = _pixels(ball, corner, side, pixel_mm).tobytes()
        path = folder / f"{series}.{number:03}.dcm"
        image.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


def _pixels(ball: Ball, corner: np.ndarray[Any, Any], side: int, pixel_mm: float) -> np.ndarray[Any, Any]:
    x = corner[0] + pixel_mm * np.arange(side)[None, :]
    y = corner[1] + pixel_mm * np.arange(side)[:, None]
    inside = (x - ball.centre[0]) ** 2 + (y - ball.centre[1]) ** 2 + (corner[2] - ball.centre[2]) ** 2 <= ball.radius**2
    return (np.where(inside, BALL_HU, BODY_HU) - INTERCEPT).astype("<u2")


def _header(
    study: str,
    series: str,
    frame: str,
    number: int,
    corner: np.ndarray[Any, Any],
    side: int,
    pixel_mm: float,
    slice_mm: float,
    tags: dict[str, Any],
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
    image.Modality, image.Manufacturer, image.ManufacturerModelName = "CT", "Made", "Generator 1"
    image.PatientName, image.PatientID, image.PatientSex, image.PatientAge = "Ball^Bright", "P-BALL", "O", "050Y"
    image.PatientBirthDate, image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "19760101", "1", "ACC-BALL", ""
    image.StudyDate, image.StudyTime = "20261125", "083000"
    image.SeriesNumber, image.InstanceNumber, image.AcquisitionNumber = 1, number + 1, 1
    image.BodyPartExamined, image.ImageType = "ABDOMEN", ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.PatientPosition, image.PositionReferenceIndicator, image.KVP = "HFS", "", "120"
    image.ImagePositionPatient = [round(float(value), 4) for value in corner]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [pixel_mm, pixel_mm], slice_mm
    image.Rows = image.Columns = side
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = INTERCEPT, 1, "HU"
    for keyword, value in tags.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image
