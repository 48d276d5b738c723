"""What an import tells of each file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a file."""

    #: In custody now.
    NEW = "new"
    #: In custody before.
    REPEAT = "repeat"
    #: Belongs to another file, or lists others.
    PASSED_OVER = "passed_over"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class ImportedFile:
    """What became of one file."""

    #: Its name inside the folder or the archive.
    name: str
    outcome: Outcome
    #: ``DICOM`` or the name of an ECG format; empty when nothing is known of it.
    format: str = ""
    study_instance_uid: str = ""
    sop_instance_uid: str = ""
    #: Why it was refused or passed over, or what a reader has to know of the conversion.
    remark: str = ""
    remedy: str = ""
