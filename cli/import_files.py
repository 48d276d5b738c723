"""The command that takes in what people bring: CDs, USB sticks, files of ECG machines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer

from cli.admission import ACTOR, database_in, organisation_called
from core.settings import Settings
from pacs_bridge.import_door import ImportDoor
from pacs_bridge.import_outcomes import ImportedFile, Outcome
from pacs_bridge.spool import Spool

_WORDS = {
    Outcome.NEW: "taken",
    Outcome.REPEAT: "had it",
    Outcome.PASSED_OVER: "passed over",
    Outcome.REFUSED: "REFUSED",
}
_WIDEST_NAME = 60


def import_files(settings: Settings, source: Path, organisation: str) -> int:
    """Take in what is in ``source``, print a line a file, and return 1 if any was refused, else 0."""
    database = database_in(settings.data)
    with database.reading() as session:
        organisation_id = organisation_called(session, organisation).id
    door = ImportDoor(settings, database, Spool(settings.spool, free_bytes=settings.node.free_bytes))
    files = door.take_in(source, organisation_id=organisation_id, actor=ACTOR)
    database.close()
    for line in table_of(files):
        typer.echo(line)
    return 1 if any(file.outcome is Outcome.REFUSED for file in files) else 0


def table_of(files: list[ImportedFile]) -> list[str]:
    """Return the lines that are printed: one a file, and how many there were of each outcome."""
    if not files:
        return ["There is no file in it."]
    width = min(max(len(file.name) for file in files), _WIDEST_NAME)
    lines = [
        f"{_WORDS[file.outcome]:<12} {file.name:<{width}}  {file.format or '—':<18} {_told(file)}".rstrip() for file in files
    ]
    counts = Counter(file.outcome for file in files)
    return [*lines, "", ", ".join(f"{counts[outcome]} {word}" for outcome, word in _WORDS.items() if counts[outcome])]


def _told(file: ImportedFile) -> str:
    if file.outcome is Outcome.REFUSED:
        return f"{file.remark} {file.remedy}"
    return " ".join(part for part in (file.study_instance_uid and f"study {file.study_instance_uid}", file.remark) if part)
