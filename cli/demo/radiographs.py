"""Chest radiographs as a township's DR would write them: DX objects with Chinese names in GB18030.

The pictures are public ones of 8 bits without the detector's geometry, so the pixel spacing is nominal: a 350 mm field.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

FIELD_MM = 350.0
MINUTE = timedelta(minutes=1)

#: Romanised and written names of people who do not exist, by sex.
PEOPLE = {
    "F": (("Wang^Xiuying", "王^秀英"), ("Zhang^Guilan", "张^桂兰"), ("Bao^Lihua", "包^丽华"), ("Zhao^Fengqin", "赵^凤琴")),
    "M": (("Li^Jianguo", "李^建国"), ("Sun^Dehai", "孙^德海"), ("Bai^Yinhu", "白^音虎"), ("Chen^Yulin", "陈^玉林")),
}


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


_VIEWS = {"PA": _code("272479007", "SCT", "postero-anterior"), "AP": _code("399348003", "SCT", "antero-posterior")}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chest radiograph and what its source tells of the patient."""

    file: Path
    sex: str
    age: int
    view: str


def write_radiographs(pictures: Sequence[Picture], folder: Path, moment: datetime) -> list[Path]:
    """Write one DX study a picture and return the files. ``moment`` is the county's wall clock of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {sex: itertools.cycle(people) for sex, people in PEOPLE.items()}
    return [
        _write(
            picture,
            next(names.get(picture.sex, names["F"])),
            number,
            folder / f"chest-{number:02}.dcm",
            moment + 4 * number * MINUTE,
        )
        for number, picture in enumerate(pictures)
    ]


def _write(picture: Picture, name: tuple[str, str], number: int, path: Path, moment: datetime) -> Path:
    pixels = np.asarray(Image.open(picture.file).convert("L"), dtype=np.uint16) << 4
    latin, written = name
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "GB18030"
    image.SOPClassUID, image.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientName = f"{latin}={written}"
    image.PatientID = f"BY{moment:%Y%m%d}{number:03}"
    image.PatientSex, image.PatientAge = picture.sex, f"{picture.age:03}Y"
    image.PatientBirthDate = f"{moment.year - picture.age}0106"
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = f"{moment:%Y%m%d}"
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = f"{moment:%H%M%S}"
    image.StudyID, image.AccessionNumber = str(number + 1), f"BYDR{moment:%y%m%d}{number + 1:03}"
    image.ReferringPhysicianName = ""
    image.StudyDescription, image.SeriesDescription = "胸部正位", "胸部正位"
    image.Modality, image.PresentationIntentType = "DX", "FOR PRESENTATION"
    image.InstitutionName, image.StationName = "白音苏木卫生院", "BAIYIN-DR-1"
    image.Manufacturer, image.ManufacturerModelName, image.DeviceSerialNumber = "Township DR", "DR-350", "2026-0001"
    image.SoftwareVersions = "1.0"
    image.SeriesNumber = image.InstanceNumber = 1
    image.AcquisitionContextSequence = []
    image.AnatomicRegionSequence = [_code("816094009", "SCT", "Chest")]
    image.ViewCodeSequence = [_VIEWS[picture.view]]
    image.BodyPartExamined, image.ViewPosition, image.ImageLaterality = "CHEST", picture.view, "U"
    image.PatientOrientation = ["L", "F"]
    image.ImageType = ["DERIVED", "PRIMARY"]
    image.BurnedInAnnotation, image.LossyImageCompression = "NO", "00"
    image.PixelIntensityRelationship, image.PixelIntensityRelationshipSign = "LOG", -1
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.ImagerPixelSpacing = [f"{FIELD_MM / pixels.shape[1]:.4f}"] * 2
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "US"
    image.WindowCenter, image.WindowWidth = 2048, 4096
    image.PresentationLUTShape = "IDENTITY"
    image.DetectorType, image.PositionerType = "SCINTILLATOR", "NONE"
    image.PixelData = pixels.tobytes()
    pydicom.dcmwrite(path, image, enforce_file_format=True)
    return path
