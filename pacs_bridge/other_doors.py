"""Instances that came into the archive past the node: DICOMweb, Orthanc's own pages, a restored backup.

They get the same custody row as what the node received, with size and hash as the archive's disk has them. Looking
(the archive is asked, a file is read) and taking in (rows are written) are apart, so that no transaction waits for a disk.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import audit
from core.clock import now
from core.errors import SumuError
from core.settings import Settings
from core.tables import Door, Instance, Level, Organisation, Study
from pacs_bridge.archive import Archive, ArchiveRefused, NotInArchive
from pacs_bridge.examination.guard import Examiner
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import Poisoned
from pacs_bridge.headers import InstanceFacts, UnusableHeader, facts_of
from pacs_bridge.part10 import DatasetDigest, NotPart10, dataset_digest
from pacs_bridge.quarantine import set_down
from pacs_bridge.registration import Arrival, Registered, register

log = structlog.get_logger("other_doors")


class NoHome(SumuError):
    """A study came by another door, and no organisation stands for the county."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody owns a study that stands in the archive: there is no organisation of the level 'county'.",
            remedy="Add the county's organisation, then send the study again through its device.",
        )


@dataclass(frozen=True, kw_only=True)
class Notice:
    """The archive keeps a new instance; ``origin`` is Orthanc's word for its door."""

    archive_id: str
    origin: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What such an instance is, as read back from the archive."""

    notice: Notice
    facts: InstanceFacts
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """An instance that the archive keeps and that cannot be read; a copy lies in the quarantine under ``file_name``."""

    notice: Notice
    file_name: str
    error: SumuError


def in_custody(session: Session, *, archive_id: str | None = None, sop_instance_uid: str | None = None) -> bool:
    """Return whether an instance has its custody row, by either of its names."""
    query = select(Instance.id)
    query = (
        query.where(Instance.archive_id == archive_id)
        if archive_id
        else query.where(Instance.sop_instance_uid == sop_instance_uid)
    )
    return session.scalar(query) is not None


def look(archive: Archive, notice: Notice, settings: Settings) -> Found | Unreadable | None:
    """Read an instance back from the archive; None when it was deleted meanwhile.

    Raises
    ------
    ArchiveUnreachable
        The archive is asked again later; nothing is skipped.
    """
    with tempfile.TemporaryDirectory(prefix="sumu-") as folder:
        file = Path(folder) / "instance.dcm"
        try:
            archive.fetch(notice.archive_id, file)
            with Examiner(Limits(**settings.examination.model_dump())) as examiner:
                (verdict,) = examiner.examine_many([file])
            if isinstance(verdict, SumuError):
                raise verdict
            facts = facts_of(verdict, county_timezone=settings.county.timezone)
            digest: DatasetDigest = dataset_digest(file)
        except NotInArchive:
            return None
        except (Poisoned, UnusableHeader, NotPart10, ArchiveRefused) as error:
            return _set_aside(file, notice, error, settings.quarantine)
    return Found(notice=notice, facts=facts, size=digest.size, sha256=digest.sha256)


def take_in(session: Session, found: Found, *, settings: Settings) -> Registered:
    """Give an instance its rows; one that has them already is left as it is.

    Raises
    ------
    NoHome
        If its study is unknown and no county stands ready to own it.
    """
    facts = found.facts
    if in_custody(session, sop_instance_uid=facts.sop_instance_uid):
        return Registered.REPEAT
    arrival = Arrival(
        door=Door.ARCHIVE,
        organisation_id=_home(session, facts.study_instance_uid),
        received_at=now(),
        size=found.size,
        sha256=found.sha256,
        machine=settings.machine,
        archive_id=found.notice.archive_id,
    )
    outcome, instance = register(session, facts, arrival)
    audit.record(
        session,
        f"archive:{found.notice.origin or 'unknown'}"[:96],
        "instance_found_in_archive",
        f"study:{facts.study_instance_uid}",
        {"instance": instance.sop_instance_uid, "address": found.notice.address},
    )
    return outcome


def quarantine(session: Session, unreadable: Unreadable) -> None:
    """Write down what was set aside, once."""
    set_down(session, unreadable.file_name, unreadable.error, actor="process:web")


def unowned(found: Found, error: SumuError) -> Unreadable:
    """Return what is written down of an instance that could be read but belongs to nobody; its bytes stay in the archive."""
    return Unreadable(notice=found.notice, file_name=_file_name(found.notice), error=error)


def _home(session: Session, study_instance_uid: str) -> int:
    """Return who owns what came past the node: the owner of its study, else the county."""
    owner = session.scalar(select(Study.organisation_id).where(Study.study_instance_uid == study_instance_uid))
    if owner is None:
        owner = session.scalar(select(Organisation.id).where(Organisation.level == Level.COUNTY).order_by(Organisation.id))
    if owner is None:
        raise NoHome
    return owner


def _set_aside(file: Path, notice: Notice, error: SumuError, quarantine: Path) -> Unreadable:
    name = _file_name(notice)
    if file.exists():
        quarantine.mkdir(parents=True, exist_ok=True)
        shutil.move(file, quarantine / name)
    return Unreadable(notice=notice, file_name=name, error=error)


def _file_name(notice: Notice) -> str:
    return f"archive-{notice.archive_id}.dcm"
