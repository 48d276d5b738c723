"""What is asked of whoever reads a study, what is answered, and the reading itself: fetch, open, read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pydicom

from inference.engine import Engine, InstanceFile, Reading, StudyFiles


class Files(Protocol):
    """Where a study's files come from."""

    def fetch(self, archive_id: str, target: Path) -> Path:
        """Write an instance's Part 10 file to ``target`` and return it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One study for one engine."""

    engine: str
    study_instance_uid: str
    #: Orthanc's identifiers of the instances that the engine wants.
    archive_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyRead:
    """An engine's reading, and what the objects that carry it need of the images."""

    reading: Reading
    #: By SOP Instance UID: the Part 10 file up to its pixels.
    headers: Mapping[str, bytes]


def read_study(assignment: Assignment, engine: Engine, archive: Files, begun: Callable[[], None]) -> StudyRead:
    """Fetch a study's instances, call ``begun`` when they lie on this machine, and read them.

    Raises
    ------
    ArchiveUnreachable
        If the archive is away; everything else that is raised is the engine's or the study's.
    """
    with tempfile.TemporaryDirectory(prefix="pre-read-") as folder:
        paths = [
            archive.fetch(archive_id, Path(folder) / f"{number}.dcm") for number, archive_id in enumerate(assignment.archive_ids)
        ]
        begun()
        opened = [_open(path) for path in paths]
        files = tuple(file for file, _ in opened)
        reading = engine.read(StudyFiles(study_instance_uid=assignment.study_instance_uid, instances=files))
        return StudyRead(reading=reading, headers={file.sop_instance_uid: start for file, start in opened})


def _open(path: Path) -> tuple[InstanceFile, bytes]:
    with path.open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        end = file.tell()
        file.seek(0)
        start = file.read(end)
    header.remove_private_tags()
    return InstanceFile(path=path, header=header), start
