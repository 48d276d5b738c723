"""The folder of the models that a county added: versions side by side, one word for which of them works, the county's rules.

::

    models/NAME/VERSION/     a bundle, as it was tried
    models/in_use.json       name to version; what stands here reads studies
    models/routing.toml      the county's own routing rules; an administrator writes it
    models/words/NAME.json   words that a bundle brought; they stay, because pre-reads that exist still speak them

Workers look at the two files of the middle and take up a change without a restart.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import SumuError
from models.bundle import Bundle, describe_bundle
from models.bundle_fields import BundleRefused
from models.bundle_routing import county_rules

#: A name is a pre-read's engine too, which has 32 characters.
NAME = re.compile(r"[a-z][a-z0-9_]{1,31}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,31}")
_WORDS = "words"


class UnknownModel(SumuError):
    """No such model or version was added."""

    def __init__(self, name: str, version: str | None, known: str) -> None:
        super().__init__(
            f"There is no model '{name}'{f' of version {version}' if version else ''} here.",
            remedy=f"Known: {known or 'none'}. sumu model list shows all; sumu model add brings one in.",
        )
        self.name, self.version = name, version


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One version of one model in the folder."""

    name: str
    version: str
    folder: Path
    in_use: bool

    def described(self) -> Bundle:
        """Return what it says of itself."""
        return describe_bundle(self.folder)


class ModelHome:
    """The models' folder. Every change is one rename, so that a reader sees the old state or the new one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def routing_file(self) -> Path:
        """The county's own rules."""
        return self.folder / "routing.toml"

    @property
    def words_folder(self) -> Path:
        """Words that bundles brought."""
        return self.folder / _WORDS

    def stamp(self) -> tuple[object, object]:
        """Return what changes when another model works or the county's rules are other ones."""
        return _state_of(self.folder / "in_use.json"), _state_of(self.routing_file)

    def county_rules(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the county's routing rules by model."""
        return county_rules(self.routing_file)

    def in_use(self) -> dict[str, str]:
        """Return the version that works by model."""
        file = self.folder / "in_use.json"
        return {str(name): str(version) for name, version in json.loads(file.read_text()).items()} if file.is_file() else {}

    def kept(self, name: str | None = None) -> list[Kept]:
        """Return all versions of all models, or of one, by name and version."""
        working = self.in_use()
        folders = [place for place in sorted(self.folder.glob("*/*/configs/metadata.json")) if NAME.fullmatch(place.parts[-4])]
        found = [(place.parents[2].name, place.parents[1].name, place.parents[1]) for place in folders]
        return [
            Kept(name=its_name, version=version, folder=folder, in_use=working.get(its_name) == version)
            for its_name, version, folder in sorted(found, key=lambda one: (one[0], _in_order(one[1])))
            if name in (None, its_name)
        ]

    def find(self, name: str, version: str | None = None) -> Kept:
        """Return a version, or where none is given the one that works, else the newest.

        Raises
        ------
        UnknownModel
            If it is not here.
        """
        versions = self.kept(name)
        fitting = [one for one in versions if version in (None, one.version)]
        if not fitting:
            known = [f"{one.name} {one.version}" for one in versions or self.kept()]
            raise UnknownModel(name, version, ", ".join(known))
        return next((one for one in fitting if one.in_use), fitting[-1])

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Lend an empty folder on the same disk; what is left in it afterwards goes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=self.folder) as scratch:
            yield Path(scratch)

    def keep(self, staged: Path, bundle: Bundle) -> Kept:
        """Move a staged bundle to its place in one step.

        Raises
        ------
        BundleRefused
            If another bundle of the same name and version is there.
        """
        target = self.folder / bundle.name / bundle.version
        target.parent.mkdir(exist_ok=True)
        staged.chmod(0o755)
        try:
            staged.rename(target)
        except OSError as error:
            if not target.exists():
                raise
            raise BundleRefused(
                bundle.name,
                f"version {bundle.version} is here already",
                remedy="Raise the version in its metadata: what pre-reads named by this version never changes.",
            ) from error
        _sync(target.parent)
        return Kept(name=bundle.name, version=bundle.version, folder=target, in_use=False)

    def keep_words(self, name: str, words: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep the words that a bundle brought, beside those of its earlier versions."""
        file = self.words_folder / f"{name}.json"
        with self._alone():
            self.words_folder.mkdir(exist_ok=True)
            had = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            _write(file, {kind: {**had.get(kind, {}), **words.get(kind, {})} for kind in {*had, *words}})

    def put_to_work(self, name: str, version: str, *, instead_of: tuple[str, ...] = ()) -> None:
        """Let a version read from now on, and the models of ``instead_of`` no longer."""
        with self._alone():
            rest = {other: its for other, its in self.in_use().items() if other not in instead_of}
            _write(self.folder / "in_use.json", {**rest, name: version})

    def rest(self, *names: str) -> None:
        """Let models read no longer."""
        with self._alone():
            _write(self.folder / "in_use.json", {name: its for name, its in self.in_use().items() if name not in names})

    def remove(self, one: Kept) -> None:
        """Remove a version; a pre-read that it made keeps its name, version and hash."""
        if one.in_use:
            self.rest(one.name)
        with self.staging() as scratch:
            one.folder.rename(scratch / "removed")
            shutil.rmtree(scratch / "removed")
        if not any(one.folder.parent.iterdir()):
            one.folder.parent.rmdir()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other command write meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write(file: Path, content: Mapping[str, Any]) -> None:
    draft = file.with_name(f".{file.name}.draft")
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, ensure_ascii=False, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    _sync(file.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _state_of(file: Path) -> object:
    """Return what differs when a file was written again or another one took its place, even within one tick of the clock."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _in_order(version: str) -> list[tuple[int, int, str]]:
    """Return a key by which 1.10 follows 1.9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"[._+-]", version)]
