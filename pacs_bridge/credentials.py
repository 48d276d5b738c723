"""The archive's user and password: generated once, kept in the data folder, read by the service alone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How our processes sign in to Orthanc, and Orthanc's plugin to us."""

    username: str
    password: str
    #: The plugin shows it when it tells us of changes.
    notice_token: str


def archive_credentials(folder: Path) -> Credentials:
    """Return the credentials in ``folder``; the first caller makes them.

    The file is written whole beside its place and linked into it, so that of two processes that start at once one wins
    and both read the same.
    """
    file = folder / "archive.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = {"username": "sumu", "password": secrets.token_urlsafe(24), "notice_token": secrets.token_urlsafe(24)}
        draft = folder / f".archive-{secrets.token_hex(4)}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            json.dump(fresh, handle)
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return Credentials(**json.loads(file.read_text(encoding="utf-8")))
