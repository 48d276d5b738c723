"""The files that ECG machines wrote, kept as they were beside the objects that were made of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings
from pacs_bridge.file_names import readable


@dataclass(frozen=True, kw_only=True)
class Original:
    """A file as it came."""

    name: str
    #: Of its bytes; also its name in the folder of originals.
    sha256: str


def originals_folder(settings: Settings) -> Path:
    """Return the folder in which originals are kept, by their hashes."""
    return settings.data / "originals"


def original_of(file: Path) -> Original:
    """Return a file's name and hash."""
    with file.open("rb") as stream:
        return Original(name=readable(file.name), sha256=hashlib.file_digest(stream, "sha256").hexdigest())


def keep_original(file: Path, original: Original, folder: Path) -> Path:
    """Copy a file into the folder of originals, durably, and return where it lies. Repeating it is harmless."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / original.sha256
    if not kept.exists():
        draft = folder / f".{uuid.uuid4().hex}"
        with file.open("rb") as source, draft.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        os.rename(draft, kept)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return kept
