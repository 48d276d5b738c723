"""The shape that every engine has: a settled study goes in, a pre-read comes out.

An engine is pure: it reads files that the workflow has laid on disk and returns values. It knows no database,
no archive and no queue, so it can be tested on a folder of DICOM files and run in any process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from pydicom import Dataset

from models.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class InstanceFile:
    """One SOP instance on the worker's disk."""

    #: The Part 10 file.
    path: Path
    #: Everything before the pixels; text decoded by its own character set.
    header: Dataset

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID (0008,0018)."""
        return str(self.header.SOPInstanceUID)

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID (0008,0016)."""
        return str(self.header.SOPClassUID)

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID (0020,000E)."""
        return str(self.header.SeriesInstanceUID)

    @property
    def modality(self) -> str:
        """Modality (0008,0060), empty when the device left it out."""
        return str(self.header.get("Modality", ""))


@dataclass(frozen=True, kw_only=True)
class StudyFiles:
    """A settled study as an engine sees it."""

    study_instance_uid: str
    instances: tuple[InstanceFile, ...]


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where a finding was seen."""

    sop_instance_uid: str
    #: Frame number, from 1 (PS3.3 C.7.6.16); 1 for a single-frame image.
    frame: int = 1
    #: x, y, width, height in pixels of the stored image, origin at its top left corner; None for the whole image.
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement: a code of ``inference/vocabulary/findings.toml``, how sure, and where."""

    code: str
    #: 0 to 1, calibrated as the model's card says; None for a rule over measurements.
    probability: float | None = None
    region: Region | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number: a code of ``inference/vocabulary/measurements.toml``, which also names its UCUM unit."""

    code: str
    value: float
    sop_instance_uid: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Who says it: named on every result."""

    name: str
    version: str
    #: SHA-256 of the ONNX file, hexadecimal; None for a method without weights, such as a delineator.
    weights_sha256: str | None = None
    #: One line: what was done to the pixels or samples before the model saw them.
    preprocessing: str

    @classmethod
    def of(cls, bundle: Bundle) -> ModelIdentity:
        """Return who speaks where a bundle's network does."""
        return cls(
            name=bundle.name, version=bundle.version, weights_sha256=bundle.weights_sha256, preprocessing=bundle.preprocessing
        )


class Outcome(StrEnum):
    """How a reading ended."""

    READ = "read"
    NO_MODEL = "no_model"
    DECLINED = "declined"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything that one engine says of one study. It is never a report."""

    outcome: Outcome
    #: Why it was declined or not read: a code of ``inference/vocabulary/reasons.toml``.
    reason: str | None = None
    models: tuple[ModelIdentity, ...] = ()
    findings: tuple[Finding, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    #: What the pages draw beside the images; JSON values only, the engine's module says which keys.
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """What the workflow asks of an engine.

    Errors that an engine raises mark the pre-read failed, with the error's text, and stop nothing else.
    """

    #: Lower-case noun, unique in the house: ``ecg``, ``radiograph``, ``pathology``.
    name: str

    def wants(self, instance: Dataset) -> bool:
        """Return whether this instance, known by its header alone, is the kind that the engine was built for."""
        ...

    def read(self, study: StudyFiles) -> Reading:
        """Read the wanted instances of a study."""
        ...
