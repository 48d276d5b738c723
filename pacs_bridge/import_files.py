"""The files that somebody brought: a folder or a ZIP archive walked within bounds, each file named as the person sees it."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.errors import SumuError
from pacs_bridge.file_names import readable

_PIECE = 1 << 20
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
#: What desktops leave behind; nobody brought it.
_DEBRIS = {"__MACOSX", "System Volume Information", "$RECYCLE.BIN", "Thumbs.db", "desktop.ini"}


class ImportTooLarge(SumuError):
    """There is more in it than an import takes at once."""

    def __init__(self, source: Path, what: str) -> None:
        super().__init__(f"{source.name} holds {what}.", remedy="Import it in parts: one folder after the other.")


class NothingToImport(SumuError):
    """The source does not exist or cannot be opened."""

    def __init__(self, source: Path, why: str) -> None:
        super().__init__(f"{source} {why}.", remedy="Give a folder, a ZIP archive or one file.")


@dataclass(frozen=True, kw_only=True)
class ImportLimits:
    """Bounds of one import; a DVD of computed tomography holds some thousand files and less than 9 GB."""

    files: int = 50_000
    #: All files together, unpacked.
    total_bytes: int = 64 << 30


@dataclass(frozen=True, kw_only=True)
class BroughtFile:
    """One file, and its name inside the folder or the archive."""

    path: Path
    name: str


@contextmanager
def brought_files(source: Path, limits: ImportLimits, workplace: Path) -> Iterator[list[BroughtFile]]:
    """Yield the files of a folder or a ZIP archive, or the one file itself; what was unpacked is gone afterwards.

    Parameters
    ----------
    workplace
        Folder on a disk with room for an unpacked archive.

    Raises
    ------
    NothingToImport
        If there is no such source, or the archive is damaged or encrypted.
    ImportTooLarge
        If it goes beyond the limits.
    """
    if source.is_dir():
        yield _walk(source, source, limits)
    elif source.is_file() and zipfile.is_zipfile(source):
        workplace.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=workplace) as place:
            _unpack(source, Path(place), limits)
            yield _walk(Path(place), source, limits)
    elif source.is_file():
        yield [BroughtFile(path=source, name=readable(source.name))]
    else:
        raise NothingToImport(source, "is not there")


def _walk(folder: Path, source: Path, limits: ImportLimits) -> list[BroughtFile]:
    files: list[BroughtFile] = []
    total = 0
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        # A link on a stick may point anywhere in this machine.
        if path.is_symlink() or not path.is_file() or any(part in _DEBRIS or part.startswith(".") for part in parts):
            continue
        files.append(BroughtFile(path=path, name=readable("/".join(parts))))
        total += path.stat().st_size
        _check(source, len(files), total, limits)
    return files


def _unpack(source: Path, place: Path, limits: ImportLimits) -> None:
    """Unpack within bounds that hold for what comes out, whatever the archive claims."""
    total = 0
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check(source, len(members), sum(member.file_size for member in members), limits)
            if sum(member.file_size for member in members) > shutil.disk_usage(place).free:
                raise ImportTooLarge(source, "more than this disk has room for")
            for member in members:
                target = _place_of(member, place, source)
                if target is None:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, target.open("wb") as plain:
                    while piece := packed.read(_PIECE):
                        total += len(piece)
                        _check(source, len(members), total, limits)
                        plain.write(piece)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise NothingToImport(source, f"cannot be unpacked ({error})") from error


def _place_of(member: zipfile.ZipInfo, place: Path, source: Path) -> Path | None:
    """Return where a member goes; a link goes nowhere.

    Raises
    ------
    NothingToImport
        If it is encrypted, or its name leads out of the archive: whoever packed it so means no good.
    """
    name = _name_of(member)
    if member.flag_bits & _ENCRYPTED:
        raise NothingToImport(source, "is encrypted; unpack it with its password and import the folder")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise NothingToImport(source, f"holds a file that leads out of it ('{name}')")
    return None if stat.S_ISLNK(member.external_attr >> 16) else place / path


def _name_of(member: zipfile.ZipInfo) -> str:
    """Return a member's name; Windows in Chinese packs names in GBK and does not say so."""
    if member.flag_bits & _UTF8_NAME or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return member.filename


def _check(source: Path, files: int, total: int, limits: ImportLimits) -> None:
    if files > limits.files:
        raise ImportTooLarge(source, f"more than {limits.files} files")
    if total > limits.total_bytes:
        raise ImportTooLarge(source, f"more than {limits.total_bytes >> 20} MiB")
