"""The folders into which ECG machines write their files: what has stopped growing is imported, and told of beside the file.

Each organisation has a folder named by its code. A file goes from there by rename alone: to ``.taking`` when it is whole, and
when its custody row is written to ``done/<day>``, or to ``refused/<day>`` with a note beside it. What lies in ``.taking`` after
a crash is imported again; the door knows what it has, so nothing is doubled and nothing is lost.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import select

from core.clock import in_county, now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Organisation
from pacs_bridge.import_door import ImportDoor
from pacs_bridge.import_files import ImportTooLarge, NothingToImport
from pacs_bridge.import_outcomes import ImportedFile, Outcome
from pacs_bridge.import_words import in_chinese
from pacs_bridge.spool import Spool

log = structlog.get_logger("drop_folder")

ACTOR = "process:drop_folder"
DONE, REFUSED = "done", "refused"
_TAKING, _LOOSE = ".taking", "dropped"
_LOCK = ".lock"
#: Names under which programs write what is not whole yet.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", "~")
_NOTE = ".txt"

#: Size and modification time of every file of an entry.
_Look = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _Seen:
    look: _Look
    since: float


class DropFolder:
    """Takes in what lies in the folders of all organisations."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._spool = Spool(settings.spool, free_bytes=settings.node.free_bytes)
        self._door = ImportDoor(settings, database, self._spool)
        self._seen: dict[Path, _Seen] = {}

    def round(self) -> int:
        """Take in what is whole by now, and return the number of files and folders that found their place.

        Of several workers one takes; the others return 0 at once.

        Raises
        ------
        SpoolFull
            If there is no room; what lies there waits.
        """
        self._settings.drop_folder.mkdir(parents=True, exist_ok=True)
        with (self._settings.drop_folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            return self._round()

    def _round(self) -> int:
        moved, present = 0, set[Path]()
        for organisation_id, folder in self._folders():
            entries = [entry for entry in sorted(folder.iterdir()) if _is_brought(entry)]
            present |= set(entries)
            for entry in entries:
                if self._is_whole(entry):
                    _set_apart(entry, folder / _TAKING)
            if any((folder / _TAKING).glob("*")):
                self._spool.check_space()
                moved += self._take_in(folder, organisation_id)
        self._seen = {path: seen for path, seen in self._seen.items() if path in present}
        return moved

    def _folders(self) -> Iterator[tuple[int, Path]]:
        """Yield each organisation with its folder, which is made for those that have none."""
        with self._database.reading() as session:
            organisations = session.execute(select(Organisation.id, Organisation.code).order_by(Organisation.id)).all()
        for organisation_id, code in organisations:
            folder = self._settings.drop_folder / code
            if folder.parent == self._settings.drop_folder:
                folder.mkdir(parents=True, exist_ok=True)
                yield organisation_id, folder

    def _is_whole(self, entry: Path) -> bool:
        """Return whether nothing of an entry has changed for the quiet time, and nobody has it open for writing."""
        quiet = self._settings.drop.quiet_seconds
        try:
            look = _look(entry)
        except FileNotFoundError:
            return False
        seen = self._seen.get(entry)
        if seen is None or seen.look != look:
            self._seen[entry] = _Seen(look, time.monotonic())
            return quiet == 0 and bool(look)
        is_quiet = time.monotonic() - seen.since >= quiet
        return is_quiet and bool(look) and not any(_is_being_written(file) for file in _files(entry))

    def _take_in(self, folder: Path, organisation_id: int) -> int:
        """Import what was set apart: loose files together, since some belong to each other, each archive or folder alone."""
        apart = folder / _TAKING
        moved = 0
        loose = apart / _LOOSE
        if loose.is_dir() and any(loose.iterdir()):
            moved += self._take_in_loose(folder, loose, organisation_id)
        for entry in sorted(apart.iterdir()):
            if entry != loose:
                told = self._told_of(entry, organisation_id)
                refused = [file for file in told if file.outcome is Outcome.REFUSED]
                self._put(entry, folder, refused)
                moved += 1
        return moved

    def _take_in_loose(self, folder: Path, loose: Path, organisation_id: int) -> int:
        told = self._told_of(loose, organisation_id)
        refused = {file.name: file for file in told if file.outcome is Outcome.REFUSED}
        names = {file.name for file in told}
        moved = 0
        for entry in sorted(loose.iterdir()):
            # What belongs to a recording that was refused stays with it.
            owner = refused.get(entry.name) or (refused.get(f"{entry.stem}.hea") if entry.name in names else None)
            self._put(entry, folder, [owner] if owner else [])
            moved += 1
        return moved

    def _told_of(self, source: Path, organisation_id: int) -> list[ImportedFile]:
        try:
            return self._door.take_in(source, organisation_id=organisation_id, actor=ACTOR)
        except (NothingToImport, ImportTooLarge) as error:
            return [_refusal(source.name, error)]

    def _put(self, entry: Path, folder: Path, refused: list[ImportedFile]) -> None:
        """Give an entry its place for good; the note of a refused one is there before the file itself."""
        day = in_county(now(), self._settings.county.timezone).date().isoformat()
        place = folder / (REFUSED if refused else DONE) / day
        place.mkdir(parents=True, exist_ok=True)
        target = _free(place, entry.name)
        if refused:
            note = target.with_name(target.name + _NOTE)
            draft = note.with_name(f".{note.name}")
            draft.write_text(note_on(refused), encoding="utf-8")
            draft.replace(note)
            log.warning("dropped_file_refused", file=entry.name, folder=folder.name, reason=refused[0].remark)
        entry.rename(target)


def note_on(refused: Iterable[ImportedFile]) -> str:
    """Return the note that lies beside a refused file: reason and remedy in Chinese and English."""
    return "\n".join(
        f"{file.name}\n"
        f"原因：{in_chinese(file.remark)}\n处理：{in_chinese(file.remedy)}\n"
        f"Reason: {file.remark}\nRemedy: {file.remedy}\n"
        for file in refused
    )


def _refusal(name: str, error: SumuError) -> ImportedFile:
    return ImportedFile(name=name, outcome=Outcome.REFUSED, remark=str(error.args[0]), remedy=error.remedy)


def _is_brought(entry: Path) -> bool:
    """Return whether an entry is what a machine wrote: no link, nothing hidden, nothing unfinished, none of our own folders."""
    return not (
        entry.is_symlink()
        or entry.name in (DONE, REFUSED)
        or entry.name.startswith(".")
        or entry.name.lower().endswith(_UNFINISHED)
    )


def _files(entry: Path) -> list[Path]:
    if entry.is_dir():
        return [path for path in sorted(entry.rglob("*")) if path.is_file() and not path.is_symlink()]
    return [entry]


def _look(entry: Path) -> _Look:
    looks = []
    for file in _files(entry):
        state = file.stat()
        looks.append((str(file), state.st_size, state.st_mtime_ns))
    return tuple(looks)


def _is_being_written(file: Path) -> bool:
    """Return whether a process of this machine, a file server among them, has the file open for writing.

    The kernel grants a read lease only where there is no writer. Where it cannot tell (another owner's file, a network
    disk), the quiet time alone decides.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EBUSY)
    finally:
        os.close(descriptor)
    return False


def _set_apart(entry: Path, apart: Path) -> None:
    """Move a whole entry to where no machine writes: archives and folders by themselves, all other files together."""
    alone = entry.is_dir() or zipfile.is_zipfile(entry)
    place = apart if alone else apart / _LOOSE
    place.mkdir(parents=True, exist_ok=True)
    name = f"{_LOOSE}-folder" if alone and entry.name == _LOOSE else entry.name
    entry.rename(_free(place, name))


def _free(place: Path, name: str) -> Path:
    """Return a path in ``place`` that does not exist, with a number before the suffix where the name is taken."""
    target, number = place / name, 1
    while target.exists():
        number += 1
        target = place / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return target
