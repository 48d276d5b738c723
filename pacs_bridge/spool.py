"""The spool: the folder in which an instance is durable before its device hears that we have it.

Laid out like a maildir. ``arriving`` holds files that grow while a device sends; ``new`` holds what was acknowledged and
has no custody row yet; ``held`` holds what has one and waits for the archive. A file moves by rename alone, and its name
carries what must survive a crash: when it came, over which association, from which device, and what its bytes are. Beside
them ``associations`` holds a note for each association that begins or ends, until it is in the books.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.clock import now
from core.errors import SumuError


class SpoolFull(SumuError):
    """The disk has less free space than the settings want; devices keep what they have and send it later."""

    def __init__(self, free: int, wanted: int) -> None:
        super().__init__(
            f"The spool's disk has {free >> 20} MiB free, fewer than the {wanted >> 20} MiB that node.free_bytes asks for.",
            remedy="Free space on that disk; devices send again by themselves.",
        )


@dataclass(frozen=True, kw_only=True)
class SpoolName:
    """What a file's name tells."""

    received_at: datetime
    #: Association that brought it.
    association_id: str
    #: AE title of the device.
    ae_title: str
    #: The node process that received it.
    receiver: str
    #: SHA-256 of the data set as it came, hexadecimal.
    sha256: str
    #: Bytes of the data set.
    size: int

    def __str__(self) -> str:
        words = (
            f"{_microseconds(self.received_at):015x}", self.association_id, self.ae_title.encode().hex(), self.receiver,
            f"{self.size:x}", self.sha256, uuid.uuid4().hex[:8], "dcm",
        )  # fmt: skip
        return ".".join(words)

    @classmethod
    def parse(cls, name: str) -> SpoolName:
        """Read a name that ``str()`` made."""
        microseconds, association_id, ae_title, receiver, size, sha256, _, _ = name.split(".")
        return cls(
            received_at=_moment(microseconds),
            association_id=association_id,
            ae_title=bytes.fromhex(ae_title).decode(),
            receiver=receiver,
            sha256=sha256,
            size=int(size, 16),
        )


@dataclass(frozen=True, kw_only=True)
class AssociationNote:
    """A line for the books: an association began, or ended, or a node started and has none open."""

    at: datetime
    receiver: str
    #: ``opened``, ``released``, ``aborted``, ``lost``; or ``started``, of the node itself.
    event: str
    association_id: str = ""
    ae_title: str = ""
    address: str = ""


class ArrivingFile:
    """An instance while it comes: written and hashed piece by piece, gone unless it is kept."""

    def __init__(self, path: Path, head: bytes) -> None:
        """Begin the file with ``head``, its preamble and file meta information (PS3.10 7.1)."""
        self.path = path
        #: Bytes of the data set so far.
        self.size = 0
        self._hash = hashlib.sha256()
        self._handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._write(head)

    def write(self, piece: bytes | memoryview) -> None:
        """Append a piece of the data set."""
        self._hash.update(piece)
        self.size += len(piece)
        self._write(piece)

    def sync(self) -> None:
        """Put its content on the disk."""
        os.fdatasync(self._handle)

    def close(self, *, drop: bool) -> None:
        """Close it, and remove it when it is not wanted."""
        os.close(self._handle)
        if drop:
            self.path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """SHA-256 of the data set so far."""
        return self._hash.hexdigest()

    def _write(self, piece: bytes | memoryview) -> None:
        while len(piece) > (written := os.write(self._handle, piece)):
            piece = piece[written:]


class Spool:
    """One machine's spool. Any number of threads and processes may use it at once."""

    def __init__(self, folder: Path, *, receiver: str = "made-here", free_bytes: int = 0) -> None:
        """Open the spool in ``folder``. ``receiver`` names the node process whose arriving files these are."""
        if not receiver or set(receiver) & set("./"):
            raise ValueError(f"'{receiver}' cannot name a node: its files' names are parted by dots.")
        self._free_bytes, self._receiver = free_bytes, receiver
        self.arriving, self.new, self.held = folder / "arriving" / receiver, folder / "new", folder / "held"
        self.associations = folder / "associations"
        for part in (self.arriving, self.new, self.held, self.associations):
            part.mkdir(parents=True, exist_ok=True)
        self._new_is_durable = _SharedSync(self.new)

    def check_space(self) -> None:
        """Pass, or raise :class:`SpoolFull`."""
        free = shutil.disk_usage(self.arriving).free
        if free < self._free_bytes:
            raise SpoolFull(free, self._free_bytes)

    def begin(self, head: bytes) -> ArrivingFile:
        """Begin to receive an instance."""
        return ArrivingFile(self.arriving / uuid.uuid4().hex, head)

    def keep(self, arrived: ArrivingFile, *, association_id: str, ae_title: str) -> str:
        """Make a fully written file of ``arriving`` durable and return its name in the spool.

        When this returns, the file's content and its folder entry are on the disk (both synced), so it may be acknowledged.
        """
        name = str(
            SpoolName(
                received_at=now(), association_id=association_id, ae_title=ae_title, receiver=self._receiver,
                sha256=arrived.sha256, size=arrived.size,
            )
        )  # fmt: skip
        arrived.sync()
        os.rename(arrived.path, self.new / name)
        self._new_is_durable()
        return name

    def note(self, event: str, *, association_id: str = "", ae_title: str = "", address: str = "") -> None:
        """Leave a line for the books. It need not survive a power cut: whatever was open then has ended."""
        name = f"{_microseconds(now()):015x}.{self._receiver}.{uuid.uuid4().hex[:8]}.json"
        draft = self.arriving / name
        draft.write_text(json.dumps([event, association_id, ae_title, address]), encoding="utf-8")
        os.rename(draft, self.associations / name)

    def notes(self) -> list[tuple[str, AssociationNote]]:
        """Return the lines that are not in the books yet with their names, oldest first."""
        found = []
        for name in sorted(entry.name for entry in os.scandir(self.associations) if entry.name.endswith(".json")):
            microseconds, receiver, _, _ = name.split(".")
            try:
                words = json.loads((self.associations / name).read_bytes())
                event, association_id, ae_title, address = map(str, words)
            except (ValueError, OSError):  # a power cut left an empty one
                event, association_id, ae_title, address = "lost", "", "", ""
            found.append(
                (
                    name,
                    AssociationNote(
                        at=_moment(microseconds), receiver=receiver, event=event,
                        association_id=association_id, ae_title=ae_title, address=address,
                    ),
                )
            )  # fmt: skip
        return found

    def strike(self, note: str) -> None:
        """Remove a line that is in the books. Repeating it is harmless."""
        (self.associations / note).unlink(missing_ok=True)

    def keep_ours(self, written: Path, sop_instance_uid: str) -> str:
        """Make an object of our own durable and return its name; its maker writes the custody row.

        The name follows from the UID, so a step that is taken twice leaves one file.
        """
        name = f"ours.{sop_instance_uid}.dcm"
        _sync(written)
        os.rename(written, self.held / name)
        _sync(self.held)
        return name

    def keep_import(self, file: Path, sop_instance_uid: str, sha256: str) -> str:
        """Copy a file that a person brought, make it durable and return its name; the import writes the custody row.

        The name follows from the UID and the content, so an import that is repeated leaves one file, and another
        instance that claims the same UID cannot displace it.
        """
        name = f"import.{sop_instance_uid}.{sha256[:16]}.dcm"
        draft = self.arriving / f"import.{uuid.uuid4().hex}.part"
        try:
            shutil.copyfile(file, draft)
            _sync(draft)
            os.rename(draft, self.held / name)
        finally:
            draft.unlink(missing_ok=True)
        _sync(self.held)
        return name

    def names_without_custody(self) -> list[str]:
        """Return the names in ``new``, oldest first."""
        return sorted(entry.name for entry in os.scandir(self.new) if entry.name.endswith(".dcm"))

    def hold(self, name: str) -> None:
        """Note that the custody row is committed. Repeating it is harmless."""
        if (self.new / name).exists():
            os.rename(self.new / name, self.held / name)

    def path(self, name: str) -> Path:
        """Return where the file lies now."""
        held = self.held / name
        return held if held.exists() else self.new / name

    def release(self, name: str) -> None:
        """Remove a file that is safe elsewhere. Repeating it is harmless."""
        for part in (self.new, self.held):
            (part / name).unlink(missing_ok=True)

    def set_aside(self, name: str, quarantine: Path) -> None:
        """Move a file into the quarantine folder under the same name. Repeating it is harmless."""
        quarantine.mkdir(parents=True, exist_ok=True)
        source = self.path(name)
        if source.exists():
            os.rename(source, quarantine / name)
            _sync(quarantine)

    def clear_arriving(self) -> int:
        """Remove what devices were sending when the same receiver died, and return how many; none was acknowledged."""
        leftovers = list(self.arriving.iterdir())
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        return len(leftovers)


class _SharedSync:
    """Syncs one folder for many threads: a thread that finds a sync begun after its own change waits for that one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn, self._count = threading.Lock(), threading.Lock()
        self._begun = self._finished = 0

    def __call__(self) -> None:
        with self._count:
            wanted = self._begun + 1
        with self._turn:
            if self._finished >= wanted:
                return
            with self._count:
                self._begun += 1
            _sync(self._folder)
            self._finished = self._begun


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _moment(microseconds: str) -> datetime:
    return datetime.fromtimestamp(int(microseconds, 16) / 1_000_000, UTC)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
