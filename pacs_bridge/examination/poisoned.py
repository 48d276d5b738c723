"""Why an instance is set aside, or could not be examined."""

from __future__ import annotations

import time
from pathlib import Path

from core.errors import SumuError

_SEND_AGAIN = (
    "Send it again from the device; if it is refused again, give the file from the quarantine to the device's service engineer."
)


class Poisoned(SumuError):
    """An instance that no parser behind the examination may see."""

    def __init__(self, reason: str, *, remedy: str = _SEND_AGAIN) -> None:
        super().__init__(reason, remedy=remedy)

    @property
    def reason(self) -> str:
        """What is wrong, with the element and the limit."""
        return str(self.args[0])


class Malformed(Poisoned):
    """The bytes break PS3.5 or PS3.10, so that two parsers could read two things."""


class BeyondLimit(Poisoned):
    """The bytes may be legal, and are more than anything behind the examination can bear."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            reason,
            remedy="No device of a hospital makes such an object: find out who sent it. If it is honest, have the limit raised.",
        )


class MediaDirectory(Poisoned):
    """The file is the index of a disk (DICOMDIR, PS3.10 8.6)."""

    def __init__(self) -> None:
        super().__init__("It is the index of a disk (DICOMDIR), no instance.", remedy="Import the whole disk instead.")


class Unreadable(SumuError):
    """The file could not be opened or read; nothing is known of its content."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path.name} cannot be read: {error.strerror}.", remedy="Look at the disk and the folder's permissions."
        )
        #: There is no such file: somebody else was faster.
        self.missing = isinstance(error, FileNotFoundError)


class Deadline:
    """The processor time that one examination may take; on a busy machine or a slow disk it takes longer and costs no more."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.thread_time() + seconds

    def check(self) -> None:
        """Pass, or raise :class:`BeyondLimit`."""
        if time.thread_time() > self._end:
            raise BeyondLimit(f"Its examination takes longer than {self._seconds:g} s.")


def tag_name(tag: int) -> str:
    """Return a tag as the standard prints it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
