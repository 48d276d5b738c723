"""From a file of an ECG machine to a DICOM file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pacs_bridge.ecg.dicom import Provenance, ecg_object, sop_instance_uid_of
from pacs_bridge.ecg.formats import WFDB, readable_format_of
from pacs_bridge.ecg.originals import Original, original_of
from pacs_bridge.ecg.reading import read_recording
from pacs_bridge.ecg.wfdb import signal_files


@dataclass(frozen=True, kw_only=True)
class EcgSource:
    """What one recording was read from: the file that was opened, and those that belong to it."""

    files: tuple[Path, ...]
    provenance: Provenance
    #: The object that it becomes; known before anything is converted.
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class ConvertedEcg:
    """A DICOM file that was made."""

    path: Path
    #: Name of the original's format.
    format: str
    sop_instance_uid: str
    originals: tuple[Original, ...]
    notes: tuple[str, ...]


def ecg_source(file: Path) -> EcgSource:
    """Return what belongs to a file's recording.

    Raises
    ------
    UnreadableEcg
        If it is of no format that is read here, too large, or a file that it needs is missing.
    """
    found = readable_format_of(file)
    files = (file, *signal_files(file)) if found is WFDB else (file,)
    provenance = Provenance(
        originals=tuple(original_of(part) for part in files),
        written_at=datetime.fromtimestamp(int(file.stat().st_mtime), UTC),
    )
    return EcgSource(files=files, provenance=provenance, sop_instance_uid=sop_instance_uid_of(provenance))


def convert_ecg(source: EcgSource, folder: Path, *, timezone: str) -> ConvertedEcg:
    """Write the recording as a DICOM file into ``folder``.

    Raises
    ------
    UnreadableEcg
        Naming the format that was found, and what is missing.
    """
    recording = read_recording(source.files[0])
    path = folder / f"{source.sop_instance_uid}.dcm"
    ecg_object(recording, source.provenance, timezone=timezone).save_as(path, enforce_file_format=True)
    return ConvertedEcg(
        path=path,
        format=recording.format,
        sop_instance_uid=source.sop_instance_uid,
        originals=source.provenance.originals,
        notes=recording.notes,
    )
