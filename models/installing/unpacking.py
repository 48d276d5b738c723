"""Copies a bundle from a folder or a ZIP archive into a folder of our own, and trusts nothing that it finds on the way.

Links, paths that lead elsewhere, names that no model needs and more bytes than allowed are refused. Code is refused too
unless an administrator allows it, and then it is left behind: Sumu runs none of it, so the models' folder holds none.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from models.bundle_fields import BundleRefused

#: A bundle has a handful of files.
MOST_FILES = 500
_DEEPEST, _LONGEST = 8, 200
_PIECE = 1 << 20
#: PKWARE's APPNOTE 4.4.4, bit 0.
_ENCRYPTED = 0x1
_PLAIN_NAME = re.compile(r"[\w\-. +()&,]+", re.ASCII)
#: What a Python program, PyTorch's loaders or a notebook would run.
CODE = frozenset(
    (
        *(".py", ".pyc", ".pyo", ".pyw", ".ipynb", ".ts", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"),
        *(".sh", ".bat", ".ps1", ".whl", ".egg", ".jar"),
    )
)
#: What a runtime would load into its own process.
LIBRARIES = frozenset([".so", ".dll", ".dylib", ".pyd", ".exe", ".node"])


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A bundle's files in a folder of our own."""

    folder: Path
    #: Code that was left behind, by its name in the bundle.
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Entry:
    name: PurePosixPath
    stream: IO[bytes]


def unpack(source: Path, target: Path, *, most_bytes: int, allow_code: bool) -> Unpacked:
    """Copy the bundle in ``source`` into the empty folder ``target``.

    Raises
    ------
    BundleRefused
        If it is neither a folder nor a ZIP archive, or holds what must not come in.
    """
    try:
        left_out = _copied(source, target, most_bytes)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BundleRefused(
            source.name, f"the ZIP archive cannot be read ({error})", remedy="Pack or copy it again; use plain deflate."
        ) from error
    except OSError as error:
        raise BundleRefused(
            source.name, f"it cannot be copied ({error})", remedy="Look at the rights of its files and at the free space."
        ) from error
    if left_out and not allow_code:
        raise BundleRefused(
            source.name,
            f"it holds code or weights that run code: {', '.join(left_out[:5])}{' …' if len(left_out) > 5 else ''}",
            remedy="Remove them, or add it with --allow-code: then they are left behind. Sumu runs the ONNX file alone.",
        )
    return Unpacked(folder=target, left_out=tuple(left_out))


def _copied(source: Path, target: Path, most_bytes: int) -> list[str]:
    """Copy everything but code, and return what was left out."""
    left_out: list[str] = []
    room = most_bytes
    for count, entry in enumerate(_entries(source), start=1):
        if count > MOST_FILES:
            raise BundleRefused(
                source.name, f"it has more than {MOST_FILES} files", remedy="Pack the bundle alone, without data and results."
            )
        suffixes = {suffix.lower() for suffix in entry.name.suffixes}
        if suffixes & LIBRARIES:
            raise BundleRefused(
                source.name,
                f"it holds the library {entry.name}",
                remedy="Export the model with ONNX's own operators and leave the library out; Sumu loads none.",
            )
        if suffixes & CODE:
            left_out.append(str(entry.name))
            continue
        room -= _copy(source, entry, target / entry.name, room, most_bytes)
    return left_out


def _copy(source: Path, entry: _Entry, file: Path, room: int, most_bytes: int) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    copied = 0
    with file.open("xb") as stream:
        while piece := entry.stream.read(_PIECE):
            copied += len(piece)
            if copied > room:
                raise BundleRefused(
                    source.name,
                    f"it unpacks to more than {most_bytes / 1e6:.0f} MB",
                    remedy="Remove what the model does not need, or raise the setting models.unpacked_bytes.",
                )
            stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    return copied


def _entries(source: Path) -> Iterator[_Entry]:
    if source.is_dir():
        yield from _of_folder(source)
    elif source.is_file() and zipfile.is_zipfile(source):
        yield from _of_archive(source)
    else:
        raise BundleRefused(
            source.name,
            f"{source} is neither a folder nor a ZIP archive" if source.exists() else f"{source} is not there",
            remedy="Give the bundle's folder, the one that holds configs/, or the ZIP archive of it.",
        )


def _of_folder(source: Path) -> Iterator[_Entry]:
    for folder, folders, files in os.walk(source):
        for name in (*folders, *files):
            path = Path(folder) / name
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise _odd(source, str(path.relative_to(source)), "is a link or no plain file")
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            if not name.startswith("."):
                # A name that was swapped for a link meanwhile is not followed.
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                    yield _Entry(name=_checked(source, path.relative_to(source).as_posix()), stream=stream)


def _of_archive(source: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(source) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        names = {member.filename: _checked(source, member.filename) for member in members}
        if len(names) != len(members):
            raise _odd(source, "one name", "stands in it twice")
        top = _one_top_folder(names.values())
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _odd(source, member.filename, "is a link or no plain file")
            if member.flag_bits & _ENCRYPTED or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _odd(source, member.filename, "is encrypted, or packed otherwise than by deflate")
            name = names[member.filename]
            if not any(part.startswith(".") or part == "__MACOSX" for part in name.parts):
                name = name.relative_to(top) if top else name
                with archive.open(member) as stream:
                    yield _Entry(name=name, stream=stream)


def _one_top_folder(names: Iterable[PurePosixPath]) -> str:
    """Return the folder that holds everything, as packers make it, or nothing."""
    tops = {name.parts[0] if len(name.parts) > 1 else "" for name in names if name.parts[0] != "__MACOSX"}
    only = tops.pop() if len(tops) == 1 else ""
    return "" if only in ("configs", "models", "docs") else only


def _checked(source: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in name
    if outside:
        raise _odd(source, name, "leads out of its folder")
    if len(name) > _LONGEST or len(path.parts) > _DEEPEST or not all(map(_PLAIN_NAME.fullmatch, path.parts)):
        raise _odd(source, name, "is longer, deeper or stranger than a bundle needs")
    return path


def _odd(source: Path, name: str, problem: str) -> BundleRefused:
    return BundleRefused(
        source.name,
        f"'{name[:_LONGEST]}' {problem}",
        remedy="Pack the bundle anew from plain files with plain names; if you did not make it, ask who did.",
    )
