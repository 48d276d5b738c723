"""Writes a recording as a DICOM ECG object (PS3.3 A.34.3 to A.34.5), sample by sample as the machine wrote it.

The same recording always becomes the same bytes: identifiers follow from the original file's hash, and no clock is read.
So a file that is imported twice is one object.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacs_bridge.ecg.codes import code_item
from pacs_bridge.ecg.originals import Original
from pacs_bridge.ecg.printed import annotations_of
from pacs_bridge.ecg.recording import EcgRecording
from pacs_bridge.ecg.waveform_group import multiplex_group, sop_class_of
from pacs_bridge.patient_names import latin_name

#: Name space of the identifiers that follow from an original (RFC 9562 5.5); made once, never to change.
_NAMESPACE = uuid.UUID("7c1f6f52-1a0e-4b8e-9d9e-52d04a7a3c11")
_LO, _ST = 64, 1024


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a recording comes from."""

    #: The files that the machine wrote, the one that was opened first.
    originals: tuple[Original, ...]
    #: When the first one was last written; stands in where the recording carries no time.
    written_at: datetime

    @property
    def identity(self) -> str:
        """Hash of all originals, in order of their own hashes."""
        return " ".join(sorted(original.sha256 for original in self.originals))


def sop_instance_uid_of(provenance: Provenance) -> str:
    """Return the identifier that the object of these originals has."""
    return _uid("instance", provenance.identity)


def ecg_object(recording: EcgRecording, provenance: Provenance, *, timezone: str) -> Dataset:
    """Return the object, with its file meta information.

    Parameters
    ----------
    timezone
        The county's, for times that name no zone.
    """
    ecg = Dataset()
    ecg.file_meta = FileMetaDataset()
    ecg.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ecg.SpecificCharacterSet = "ISO_IR 192"
    ecg.SOPClassUID = ecg.file_meta.MediaStorageSOPClassUID = sop_class_of(recording)
    ecg.SOPInstanceUID = ecg.file_meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid_of(provenance))
    _patient(ecg, recording)
    _study(ecg, recording, provenance, timezone)
    _equipment(ecg, recording)
    ecg.ContributingEquipmentSequence = [_conversion(recording, provenance)]
    ecg.AcquisitionContextSequence = []
    ecg.WaveformSequence = [multiplex_group(recording)]
    if annotations := annotations_of(recording.printed):
        ecg.WaveformAnnotationSequence = annotations
    return ecg


def person_name(family: str, given: str) -> str:
    """Return a person name (PS3.5 6.2): Chinese in the ideographic group, its pinyin in the alphabetic one."""
    family, given = (part.replace("^", " ").replace("=", " ").replace("\\", " ").strip()[:_LO] for part in (family, given))
    whole = "^".join(part for part in (family, given) if part)
    if not whole or whole.isascii():
        return whole
    latin = "^".join(latin_name(f"={part}") for part in (family, given) if part)
    return f"{latin[:_LO]}={whole}"


def _patient(ecg: Dataset, recording: EcgRecording) -> None:
    patient = recording.patient
    ecg.PatientName = person_name(patient.family_name, patient.given_name)
    ecg.PatientID = _line(patient.identifier, _LO)
    ecg.PatientBirthDate = patient.birth_date.strftime("%Y%m%d") if patient.birth_date else ""
    ecg.PatientSex = patient.sex
    if patient.age_years is not None and 0 <= patient.age_years <= 999:
        ecg.PatientAge = f"{patient.age_years:03d}Y"


def _study(ecg: Dataset, recording: EcgRecording, provenance: Provenance, timezone: str) -> None:
    zone = ZoneInfo(timezone)
    taken = recording.taken_at
    if taken is not None:
        taken = taken.astimezone(zone) if taken.tzinfo else taken.replace(tzinfo=zone)
    # Type 1 in the waveform's module (PS3.3 C.10.8), so something true must stand there; the study's own date stays empty.
    known = taken or provenance.written_at.astimezone(zone)
    ecg.StudyDate, ecg.StudyTime = (taken.strftime("%Y%m%d"), taken.strftime("%H%M%S")) if taken else ("", "")
    ecg.ContentDate, ecg.ContentTime = known.strftime("%Y%m%d"), known.strftime("%H%M%S")
    # Before zones were law, offsets had seconds, which DICOM has no room for.
    offset = known.strftime("%z")[:5]
    ecg.AcquisitionDateTime, ecg.TimezoneOffsetFromUTC = known.strftime("%Y%m%d%H%M%S") + offset, offset
    ecg.StudyInstanceUID = _uid("study", provenance.identity)
    ecg.SeriesInstanceUID = _uid("series", provenance.identity)
    ecg.StudyID, ecg.AccessionNumber, ecg.ReferringPhysicianName = "ECG", "", ""
    ecg.SeriesNumber = ecg.InstanceNumber = "1"
    ecg.Modality = "ECG"
    ecg.StudyDescription = "12导联心电图" if len(recording.leads) >= 12 else "心电图"


def _equipment(ecg: Dataset, recording: EcgRecording) -> None:
    device = recording.device
    ecg.Manufacturer = _line(device.manufacturer, _LO)
    for keyword, value in (
        ("ManufacturerModelName", device.model),
        ("DeviceSerialNumber", device.serial_number),
        ("SoftwareVersions", device.software_version),
        ("InstitutionName", device.institution),
    ):
        if value:
            setattr(ecg, keyword, _line(value, _LO))


def _conversion(recording: EcgRecording, provenance: Provenance) -> Dataset:
    """PS3.3 C.12.1: what was converted, from which file, and what a reader has to know of it."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item("109103", "DCM", "Modifying Equipment")]
    item.Manufacturer, item.ManufacturerModelName = "Sumu", "ECG import"
    words = [f"Converted from {recording.format}."]
    words += [f"Original {original.name} SHA-256 {original.sha256}." for original in provenance.originals]
    if recording.taken_at is None:
        words.append("The file carries no time of recording; acquisition time is when it was written.")
    item.ContributionDescription = " ".join((*words, *recording.notes))[:_ST]
    return item


def _line(text: str, length: int) -> str:
    return text.replace("\\", "/").strip()[:length]


def _uid(*words: str) -> str:
    """2.25 and a UUID that follows from the words (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, ' '.join(words)).int}"
