"""The one answer to an instance that cannot be written again; the original stays what it is."""

from __future__ import annotations

from core.errors import SumuError


class CannotTranscode(SumuError):
    """The pixels of an instance cannot be brought into a form that the archive shows."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"{name} cannot be transcoded: {problem}.",
            remedy="The original is kept and can be downloaded; have the device send JPEG-LS Lossless or no compression.",
        )
        self.name, self.problem = name, problem
