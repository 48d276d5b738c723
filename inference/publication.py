"""What a pre-read made goes the way of every instance: spool, custody row, archive, comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import now
from core.settings import Settings
from core.tables import Door, Instance, PreRead, Study
from pacs_bridge.headers import facts_of, read_header
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.registration import Arrival, register
from pacs_bridge.spool import Spool


def in_custody(session: Session, sop_instance_uid: str) -> bool:
    """Return whether an instance of this UID has its custody row."""
    return session.scalar(select(Instance.id).where(Instance.sop_instance_uid == sop_instance_uid)) is not None


def is_published(session: Session, pre_read: PreRead) -> bool:
    """Return whether the objects of a pre-read are in custody: all of them are when its report is."""
    return pre_read.sr_sop_instance_uid is not None and in_custody(session, pre_read.sr_sop_instance_uid)


def publish(session: Session, settings: Settings, spool: Spool, pre_read: PreRead, documents: Sequence[Dataset]) -> None:
    """Put the objects of a pre-read, its report first, into custody together, in the caller's transaction."""
    for document in documents:
        put_in_custody(session, settings, spool, pre_read, document)
    pre_read.sr_sop_instance_uid = str(documents[0].SOPInstanceUID)


def put_in_custody(session: Session, settings: Settings, spool: Spool, pre_read: PreRead, document: Dataset) -> None:
    """Make ``document`` durable in the spool and write its custody row in the caller's transaction."""
    uid = str(document.SOPInstanceUID)
    draft = spool.arriving / f"ours.{uid}.part"
    document.save_as(draft, enforce_file_format=True)
    name = spool.keep_ours(draft, uid)
    path: Path = spool.path(name)
    digest = dataset_digest(path)
    study = session.get_one(Study, pre_read.study_id)
    arrival = Arrival(
        door=Door.OURS,
        organisation_id=study.organisation_id,
        received_at=now(),
        size=digest.size,
        sha256=digest.sha256,
        machine=settings.machine,
        spool_name=name,
    )
    register(session, facts_of(read_header(path), county_timezone=settings.county.timezone), arrival)
