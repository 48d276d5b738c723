"""The spool: the folder in which an instance is durable before its device hears that we have it.

Laid out like a maildir. ``arriving`` holds files that grow while a device sends; ``new`` holds what was acknowledged and
has no custody row yet; ``held`` holds what has one and waits for the archive. A file moves by rename alone, and its name
carries what must survive a crash: when it came, over which association, from which device.
"""

from __future__ import annotations

import os
import shutil
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

    def __str__(self) -> str:
        microseconds = int(self.received_at.timestamp() * 1_000_000)
        words = (f"{microseconds:015x}", self.association_id, self.ae_title.encode().hex(), self.receiver, uuid.uuid4().hex[:8])
        return ".".join((*words, "dcm"))

    @classmethod
    def parse(cls, name: str) -> SpoolName:
        """Read a name that ``str()`` made."""
        microseconds, association_id, ae_title, receiver, _, _ = name.split(".")
        return cls(
            received_at=datetime.fromtimestamp(int(microseconds, 16) / 1_000_000, UTC),
            association_id=association_id,
            ae_title=bytes.fromhex(ae_title).decode(),
            receiver=receiver,
        )


class Spool:
    """One machine's spool. Any number of threads and processes may use it at once."""

    def __init__(self, folder: Path, *, receiver: str = "made-here", free_bytes: int = 0) -> None:
        """Open the spool in ``folder``. ``receiver`` names the node process whose arriving files these are."""
        if not receiver or set(receiver) & set("./"):
            raise ValueError(f"'{receiver}' cannot name a node: its files' names are parted by dots.")
        self._free_bytes, self._receiver = free_bytes, receiver
        self.arriving, self.new, self.held = folder / "arriving" / receiver, folder / "new", folder / "held"
        for part in (self.arriving, self.new, self.held):
            part.mkdir(parents=True, exist_ok=True)

    def check_space(self) -> None:
        """Pass, or raise :class:`SpoolFull`."""
        free = shutil.disk_usage(self.arriving).free
        if free < self._free_bytes:
            raise SpoolFull(free, self._free_bytes)

    def keep(self, arrived: Path, *, association_id: str, ae_title: str) -> str:
        """Make a fully written file of ``arriving`` durable and return its name in the spool.

        When this returns, the file's content and its folder entry are on the disk (fsync of both), so it may be
        acknowledged.
        """
        name = str(SpoolName(received_at=now(), association_id=association_id, ae_title=ae_title, receiver=self._receiver))
        _sync(arrived)
        os.rename(arrived, self.new / name)
        _sync(self.new)
        return name

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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
