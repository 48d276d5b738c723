"""What townships send, generated: CT slices, radiographs, ultrasound loops, with noise that no compression shortens."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One kind of instance, and how many of them."""

    name: str
    sop_class_uid: str
    modality: str
    rows: int
    columns: int
    bits: int
    frames: int
    count: int
    #: Instances of one study.
    per_study: int

    @property
    def bytes_each(self) -> int:
        """Bytes of one instance's pixels."""
        return self.rows * self.columns * self.bits // 8 * self.frames


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="ct", sop_class_uid="1.2.840.10008.5.1.4.1.1.2", modality="CT",
            rows=512, columns=512, bits=16, frames=1, count=400, per_study=100,
        ),
        Workload(
            name="radiograph", sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1", modality="DX",
            rows=2560, columns=2048, bits=16, frames=1, count=24, per_study=1,
        ),
        Workload(
            name="ultrasound", sop_class_uid="1.2.840.10008.5.1.4.1.1.3.1", modality="US",
            rows=768, columns=1024, bits=8, frames=254, count=8, per_study=1,
        ),
    )
}  # fmt: skip


def write_instances(workload: Workload, folder: Path, senders: int) -> list[Path]:
    """Write a workload under fresh UIDs into one folder a sender, and return the folders."""
    folders = [folder / f"sender-{number}" for number in range(senders)]
    for number in range(workload.count):
        target = folders[number * senders // workload.count]
        target.mkdir(parents=True, exist_ok=True)
        if number % workload.per_study == 0:
            study, series = generate_uid(), generate_uid()
        _write(workload, target / f"{number:05d}.dcm", study, series, number)
    return folders


def _write(workload: Workload, path: Path, study: str, series: str, number: int) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = workload.sop_class_uid, generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = UID(workload.sop_class_uid)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientID, dataset.PatientName = study[-16:], "Bench^Ingest"
    dataset.Modality, dataset.StudyDate, dataset.InstanceNumber = workload.modality, "20260101", number + 1
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = workload.rows, workload.columns, workload.frames
    dataset.BitsAllocated = dataset.BitsStored = workload.bits
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = workload.bits - 1, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.add_new(0x7FE00010, "OW" if workload.bits == 16 else "OB", os.urandom(workload.bytes_each))
    dataset.save_as(path, enforce_file_format=True)
