"""What the archive gets where it cannot use what came: text repaired, pixels in a transfer syntax that it can show.

The received file stays as it is and is kept among the originals; the archive's copy is the same instance, under the same
UID, and its own hash is what is compared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from core.database import Database
from core.errors import SumuError
from core.tables import Instance
from pacs_bridge.character_sets.detection import detect
from pacs_bridge.character_sets.detective import statistics_of
from pacs_bridge.character_sets.elements import text_elements
from pacs_bridge.character_sets.repair import repair
from pacs_bridge.devices import DeviceRegister
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.transcoding import needs_transcoding, transcode_guarded

log = structlog.get_logger("preparation")

SUFFIX = ".prepared"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is to be delivered in the place of the received file."""

    path: Path
    #: SHA-256 of its data set.
    sha256: str


def needs_preparation(instance: Instance) -> bool:
    """Return whether the archive is to get another form of an instance than the one that came."""
    return instance.repair_character_set is not None or needs_transcoding(instance.transfer_syntax_uid)


class Preparer:
    """Makes the archive's copies. Threads may share it."""

    def __init__(self, database: Database) -> None:
        self._database, self._devices = database, DeviceRegister(database)

    def prepare(self, received: Path, instance: Instance) -> Prepared | None:
        """Write the archive's copy beside the received file, once; None where it cannot be made, and the received one goes.

        A copy that a crash left is whole, as it got its name last, and is used again: what the archive may hold already has
        the same bytes.
        """
        target = received.with_name(received.name + SUFFIX)
        if not target.exists():
            drafts = [received.with_name(f".{received.name}.{step}") for step in ("repaired", "transcoded")]
            try:
                made = self._make(received, drafts, instance)
                if made is None:
                    return None
                _sync(made)
                os.rename(made, target)
                _sync(target.parent)
            finally:
                for draft in drafts:
                    draft.unlink(missing_ok=True)
        return Prepared(path=target, sha256=dataset_digest(target).sha256)

    def _make(self, received: Path, drafts: list[Path], instance: Instance) -> Path | None:
        made, (repaired, transcoded) = None, drafts
        for draft in drafts:
            draft.unlink(missing_ok=True)
        try:
            if instance.repair_character_set is not None:
                self._repair(received, repaired, instance)
                made = repaired
        except SumuError as error:
            _explain("text_delivered_as_it_came", instance, error)
        try:
            if needs_transcoding(instance.transfer_syntax_uid):
                transcode_guarded(made or received, transcoded)
                made = transcoded
        except SumuError as error:
            _explain("pixels_delivered_as_they_came", instance, error)
        return made

    def _repair(self, received: Path, target: Path, instance: Instance) -> None:
        device = next((one for one in self._devices.all().values() if one.id == instance.device_id), None)
        with self._database.reading() as session:
            statistics = statistics_of(session, instance.device_id)
        elements, declared = text_elements(received)
        verdict = detect(elements, declared, statistics=replace(statistics, rule=device.character_set_rule if device else None))
        repair(
            received, target, verdict, source_of_values=device.ae_title if device else "", at=instance.received_at,
        )  # fmt: skip


def _explain(event: str, instance: Instance, error: SumuError) -> None:
    log.warning(event, instance=instance.sop_instance_uid, reason=str(error.args[0]), remedy=error.remedy)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
