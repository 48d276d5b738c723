"""The one request that is made of the archive hundreds of times a second: a file from the spool, handed over by the kernel.

Each thread keeps a connection of its own. ``sendfile`` takes the bytes from the page cache to the socket, so they are not
copied through Python; over TLS the standard library falls back to reading them.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import threading
from base64 import b64encode
from typing import BinaryIO
from urllib.parse import urlsplit

from pacs_bridge.credentials import Credentials


class NotConnected(OSError):
    """There was no connection to send anything over."""


class StoreConnections:
    """Connections to ``POST /instances`` of one Orthanc. Threads may share it."""

    def __init__(self, address: str, credentials: Credentials, *, timeout_seconds: float) -> None:
        self._address, self._timeout = urlsplit(address), timeout_seconds
        words = f"{credentials.username}:{credentials.password}".encode()
        self._authorisation = f"Basic {b64encode(words).decode('ascii')}"
        self._mine = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def post(self, part10: BinaryIO) -> tuple[int, bytes]:
        """Send one Part 10 file whole and return status and body of the answer.

        Raises
        ------
        NotConnected
            If the archive cannot be reached.
        OSError, http.client.HTTPException
            If it goes away in the middle.
        """
        # With its length said beforehand Orthanc takes the body in one go; chunked encoding halves the rate.
        size = part10.seek(0, os.SEEK_END)
        part10.seek(0)
        connection = self._open()
        try:
            connection.putrequest("POST", f"{self._address.path}/instances", skip_accept_encoding=True)
            connection.putheader("Authorization", self._authorisation)
            connection.putheader("Content-Type", "application/dicom")
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            connection.sock.sendfile(part10)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """End all connections."""
        for connection in self._all:
            connection.close()

    def _open(self) -> http.client.HTTPConnection:
        """Return this thread's connection, open; one that Orthanc has closed meanwhile is opened anew."""
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
            connection = kind(self._address.hostname or "", self._address.port, timeout=self._timeout)
            self._mine.connection = connection
            self._all.append(connection)
        if connection.sock is not None and _readable(connection.sock):
            connection.close()
        if connection.sock is None:
            try:
                connection.connect()
            except OSError as error:
                raise NotConnected(str(error)) from error
        return connection


def _readable(sock: socket.socket) -> bool:
    """Return whether something waits to be read where nothing is due: the end of the connection."""
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))
