"""The detective at work on what devices send: reads its verdicts into the instance, and remembers each device's habits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.tables import CharacterSetSighting
from pacs_bridge.character_sets.detection import detect
from pacs_bridge.character_sets.device_statistics import DeviceStatistics
from pacs_bridge.character_sets.elements import TextElement
from pacs_bridge.character_sets.verdict import Finding, Verdict
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.examination.examined import Examined

log = structlog.get_logger("registrar")

ORIGINAL_ATTRIBUTES = 0x04000561
#: What a sighting says where nobody can tell; the columns hold at most so many characters.
UNDECIDED = "undecided"
_LONGEST_DECLARED, _LONGEST_FOUND = 128, 64


@dataclass(frozen=True, kw_only=True)
class Looked:
    """An instance whose text reads as it was meant, and the character set to repair it from, where it must be repaired."""

    examined: Examined
    repair_from: str | None = None


class Detective:
    """Looks at every instance with text beyond ASCII."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statistics: dict[int, DeviceStatistics] = {}
        self._unwritten: Counter[tuple[int, str, str]] = Counter()
        self._examples: dict[tuple[int, str, str], str] = {}

    def look(self, examined: Examined, device: AdmittedDevice | None) -> Looked:
        """Return the instance with its text decoded; undecided text stays as the device declared it, and is counted.

        What people bring has no device, and nothing is remembered of it.
        """
        # What an earlier system kept in (0400,0561) is in the character set of then, and says so; it is history.
        texts = [text for text in examined.texts if all(tag != ORIGINAL_ATTRIBUTES for tag, _ in text.path)]
        if not texts:
            return Looked(examined=examined)
        statistics = DeviceStatistics()
        if device is not None:
            statistics = replace(self._statistics_of(device.id), rule=device.character_set_rule)
        declared = "\\".join(examined.character_sets)
        elements = [
            TextElement(
                (*(part for step in text.path for part in step), text.tag), text.vr, text.value,
                None if text.character_sets == examined.character_sets else "\\".join(text.character_sets),
            )
            for text in texts
        ]  # fmt: skip
        verdict = detect(elements, declared, statistics=statistics)
        if device is not None:
            self._remember(verdict, statistics, examined, device.id)
        if verdict.finding not in (Finding.AGREES, Finding.DISAGREES):
            return Looked(examined=examined)
        readable = {value.path[0]: value.text.encode() for value in verdict.values if len(value.path) == 1}
        values = {tag: readable.get(tag, value) for tag, value in examined.values.items()}
        return Looked(
            examined=replace(examined, values=values, character_sets=("ISO_IR 192",)),
            repair_from=verdict.found if verdict.may_be_repaired else None,
        )

    def write(self, session: Session) -> None:
        """Add what was seen since the last time to the devices' statistics."""
        for key, count in self._unwritten.items():
            device_id, declared, found = key
            row = session.scalar(
                select(CharacterSetSighting).where(
                    CharacterSetSighting.device_id == device_id,
                    CharacterSetSighting.declared == declared,
                    CharacterSetSighting.found == found,
                )
            )
            if row is None:
                row = CharacterSetSighting(device_id=device_id, declared=declared, found=found, count=0)
                session.add(row)
            row.count += count
            row.last_at, row.example_uid = now(), self._examples[key]
        self._unwritten.clear()
        self._examples.clear()

    def _statistics_of(self, device_id: int) -> DeviceStatistics:
        if device_id not in self._statistics:
            with self._database.reading() as session:
                self._statistics[device_id] = statistics_of(session, device_id)
        return self._statistics[device_id]

    def _remember(self, verdict: Verdict, statistics: DeviceStatistics, examined: Examined, device_id: int) -> None:
        after = statistics.after(verdict)
        if after is statistics:
            return
        self._statistics[device_id] = replace(after, rule=None)
        key = (device_id, verdict.declared[:_LONGEST_DECLARED], (verdict.found or UNDECIDED)[:_LONGEST_FOUND])
        self._unwritten[key] += 1
        self._examples[key] = examined.sop_instance_uid
        if verdict.finding is Finding.UNDECIDED:
            log.warning(
                "character_set_undecided", instance=examined.sop_instance_uid, declared=verdict.declared,
                candidates=[candidate.encoding for candidate in verdict.candidates[:3]],
                remedy="Look at the device's page; if you know what it writes: sumu device admit AE --writes TERM",
            )  # fmt: skip


def statistics_of(session: Session, device_id: int | None) -> DeviceStatistics:
    """Return what a device has declared and written before."""
    rows = session.scalars(select(CharacterSetSighting).where(CharacterSetSighting.device_id == device_id))
    return DeviceStatistics(counts={(row.declared, "" if row.found == UNDECIDED else row.found): row.count for row in rows})
