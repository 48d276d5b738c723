"""``sumu custody``: the ledger of what was received, and a second look at every byte of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Select, or_, select

from core.clock import in_county
from core.database import Database
from core.errors import SumuError
from core.lifecycles.custody import CustodyState
from core.migrations import upgrade
from core.settings import Settings
from core.tables import Device, Instance, Study
from pacs_bridge.archive import Archive, NotInArchive
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.part10 import DatasetDigest, NotPart10, dataset_digest
from pacs_bridge.spool import Spool


class NothingInCustody(SumuError):
    """The ledger has no entry under these words."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Nothing is in custody under '{what}'.",
            remedy="Give a Study Instance UID, an accession number, a device's AE title, or a day as 2026-11-25.",
        )


def print_ledger(settings: Settings, what: str, *, verify: bool) -> int:
    """Print the entries under ``what`` and return 1 if a second look found a fault, else 0."""
    database = Database(settings.database_address)
    upgrade(database)
    rows = ledger(database, what, settings.county.timezone)
    if not rows:
        raise NothingInCustody(what)
    faults = 0
    archive = Archive(settings.archive_address, archive_credentials(settings.secrets))
    for row in rows:
        verdict = ""
        if verify:
            fault = fault_of(row, archive, settings)
            verdict, faults = fault or "whole", faults + (fault is not None)
        typer.echo(line(row, settings.county.timezone, verdict))
    typer.echo(f"{len(rows)} instances, {sum(row.size for row in rows) / 1e6:.1f} MB" + (f", {faults} faults" if verify else ""))
    database.close()
    return 1 if faults else 0


def ledger(database: Database, what: str, timezone: str) -> Sequence[Instance]:
    """Return the custody rows under ``what``, in the order of receipt."""
    with database.reading() as session:
        rows = session.scalars(_query(what, timezone).order_by(Instance.received_at, Instance.id)).all()
        for row in rows:
            _ = row.device, row.study
        return rows


def fault_of(row: Instance, archive: Archive, settings: Settings) -> str | None:
    """Read an instance everywhere where it lies and return what is wrong with it, or None."""
    try:
        for digest, expected in _digests(row, archive, settings):
            if digest.sha256 != expected:
                return f"DIFFERS ({digest.sha256[:12]})"
    except (NotInArchive, FileNotFoundError):
        return "MISSING"
    except NotPart10:
        return "DAMAGED"
    return None


def line(row: Instance, timezone: str, verdict: str = "") -> str:
    """Return one entry of the ledger."""

    def clock(moment: datetime | None) -> str:
        return f"{in_county(moment, timezone):%m-%d %H:%M:%S}" if moment else "—"

    by = row.device.ae_title if row.device else row.door.value
    return (
        f"{clock(row.received_at)}  {by:<16} {row.modality:<4} {row.sop_instance_uid}  {row.size:>11,} B  {row.sha256[:12]}  "
        f"{row.state.value:<11} delivered {clock(row.delivered_at)}  compared {clock(row.compared_at)}"
        + (f"  text repaired from {row.repair_character_set}" if row.delivered_sha256 and row.repair_character_set else "")
        + ("  original kept" if row.original_name else "")
        + (f"  sent again {row.repeats} times" if row.repeats else "")
        + (f"  {verdict}" if verdict else "")
    )


def _digests(row: Instance, archive: Archive, settings: Settings) -> Iterator[tuple[DatasetDigest, str]]:
    """Yield what an instance's bytes are, and what they should be, for every place that holds it."""
    name = row.spool_name or ""
    if row.state is CustodyState.COMPARED:
        if row.archive_id is None:  # at an edge: the county holds it, and has answered with the same hash
            return
        yield archive.digest(row.archive_id or ""), row.delivered_sha256 or row.sha256
        if row.original_name is not None:
            yield dataset_digest(settings.originals / row.original_name), row.sha256
    elif row.state is CustodyState.QUARANTINED:
        yield dataset_digest(settings.quarantine / name), row.sha256
    else:
        yield dataset_digest(Spool(settings.spool, receiver="custody").path(name)), row.sha256


def _query(what: str, timezone: str) -> Select[Instance]:
    try:
        day = date.fromisoformat(what)
    except ValueError:
        found = or_(Study.study_instance_uid == what, Study.accession_number == what, Device.ae_title == what)
        return select(Instance).join(Study).outerjoin(Device, Instance.device_id == Device.id).where(found)
    midnight = datetime.combine(day, time(), ZoneInfo(timezone))
    return select(Instance).where(Instance.received_at >= midnight, Instance.received_at < midnight + timedelta(days=1))
