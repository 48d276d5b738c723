"""A township's line to its county: a small TCP relay that a test can cut, refuse and count on."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Line:
    """Relays connections to ``target`` on loopback."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open = set[socket.socket]()
        self._lock = threading.Lock()
        self._refusing = False
        self._cut_at: int | None = None
        #: Bytes that went up the line, connections that were made, and the most at once.
        self.up = self.connections = self.most_at_once = self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, more: int) -> None:
        """Break the connection when so many bytes more have gone up."""
        self._cut_at = self.up + more

    def refuse(self, refusing: bool = True) -> None:
        """Break what is open and let nobody through, or again everybody."""
        self._refusing = refusing
        if refusing:
            self._break()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept()
        self._listener.close()
        self._break()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _reset(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _reset(near)
                continue
            with self._lock:
                self._open |= {near, far}
                self.connections += 1
                self.most_at_once = max(self.most_at_once, len(self._open) // 2)
            threading.Thread(target=self._relay, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(far, near, False), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, upwards: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 14):
                if upwards:
                    self.up += len(piece)
                    if self._cut_at is not None and self.up >= self._cut_at:
                        self._cut_at = None
                        self.cuts += 1
                        target.sendall(piece[: len(piece) // 2])
                        self._break()
                        return
                target.sendall(piece)
        with self._lock:
            self._open -= {source, target}
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _break(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()
