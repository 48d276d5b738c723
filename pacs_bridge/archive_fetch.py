"""A file of the archive onto this machine's disk: 10 MB a radiograph, so through no more hands than it must.

urllib3 reads from the socket into one buffer; httpx, which the rest of the archive's client uses, takes twice the processor time.
"""

from __future__ import annotations

from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from pacs_bridge.archive import ArchiveRefused, ArchiveUnreachable, NotInArchive
from pacs_bridge.credentials import Credentials

BUFFER_BYTES = 1 << 20


class ArchiveFiles:
    """The files of one Orthanc. Threads may share it."""

    def __init__(self, address: str, credentials: Credentials, *, timeout_seconds: float = 60) -> None:
        self.address = address
        self._connections = urllib3.connection_from_url(
            address,
            maxsize=32,
            timeout=timeout_seconds,
            retries=False,
            headers=urllib3.make_headers(basic_auth=f"{credentials.username}:{credentials.password}"),
        )

    def fetch(self, archive_id: str, target: Path) -> Path:
        """Write an instance's Part 10 file to ``target`` and return it.

        Raises
        ------
        ArchiveUnreachable
            If the archive is away or goes away in the middle.
        NotInArchive, ArchiveRefused
            If it does not hold the instance, or says no.
        """
        path = f"/instances/{archive_id}/file"
        try:
            answer = self._connections.urlopen("GET", path, preload_content=False)
            try:
                if answer.status == 404:
                    raise NotInArchive(path)
                if answer.status > 500:
                    raise ArchiveUnreachable(self.address, RuntimeError(f"status {answer.status}"))
                if answer.status >= 400:
                    raise ArchiveRefused(answer.status, answer.read().decode(errors="replace"))
                with target.open("wb") as file:
                    for piece in answer.stream(BUFFER_BYTES):
                        file.write(piece)
            except BaseException:
                answer.close()
                raise
        except HTTPError as error:
            raise ArchiveUnreachable(self.address, error) from error
        return target
