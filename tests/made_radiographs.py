"""Radiographs made for a test: one grey ramp, whose share of bright pixels is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid


def half_bright(share: float, *, rows: int = 96, columns: int = 64) -> NDArray[np.uint16]:
    """Return a picture of which the upper ``share`` is white."""
    picture = np.zeros((rows, columns), np.uint16)
    picture[: round(share * rows)] = 4095
    return picture


def radiograph(folder: Path, picture: NDArray[np.uint16], **tags: Any) -> Path:
    """Write a DX image and return its file; a tag of None is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.BodyPartExamined, image.ViewPosition, image.PatientAge = "DX", "CHEST", "PA", "050Y"
    image.Manufacturer, image.ManufacturerModelName = "Made", "DR 2"
    image.PixelSpacing = [0.2, 0.2]
    image.Rows, image.Columns = picture.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelData = picture.astype("<u2").tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path, enforce_file_format=True)
    return path
