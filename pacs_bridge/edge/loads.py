"""The body of a STOW-RS request as an edge sends it: files from the spool in parts, compressed on the way, never held whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import zstandard

from pacs_bridge.edge import words
from pacs_bridge.edge.prediction import Prediction, predicted, prediction_of

_BLOCK = 1 << 18


class Meter(Protocol):
    """Who lets bytes pass onto the line."""

    def grain(self) -> int:
        """Return how many bytes go at once."""

    def take(self, size: int) -> None:
        """Wait until so many bytes may go."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """One instance on its way to the county."""

    instance_id: int
    sop_instance_uid: str
    path: Path
    #: SHA-256 and bytes of the data set.
    sha256: str
    size: int
    received_at: datetime
    #: AE title of the device; empty where a person brought it.
    ae_title: str = ""
    association_id: str = ""
    urgent: bool = False
    #: Earlier tries that failed.
    tries: int = 0
    transfer_syntax_uid: str = ""
    frames: int = 1

    @property
    def headers(self) -> dict[str, str]:
        """What the county is told of it beside its bytes."""
        told = {words.RECEIVED: self.received_at.isoformat()}
        if self.ae_title:
            told[words.DEVICE] = self.ae_title
        if self.association_id:
            told[words.ASSOCIATION] = self.association_id
        return told

    def prediction(self) -> Prediction | None:
        """Return how its pixels are predicted; one that was not taken at the first try goes as it is."""
        return None if self.tries else prediction_of(self.path, self.transfer_syntax_uid, self.frames)


def multipart(loads: Sequence[Load], boundary: str, *, predict: bool = False) -> Iterator[bytes | memoryview]:
    """Return the parts of a multipart/related body (RFC 2387), the files as they lie in the spool.

    With ``predict`` their pixels are predicted where that is worth it.
    """
    for load in loads:
        headers = {"Content-Type": "application/dicom", words.SHA256: load.sha256, **load.headers}
        prediction = load.prediction() if predict else None
        if prediction is not None:
            headers[words.PREDICTION] = str(prediction)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        yield f"--{boundary}\r\n{lines}\r\n".encode()
        yield from predicted(blocks(load.path), prediction) if prediction else blocks(load.path)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def blocks(path: Path, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
    """Return a file, or ``length`` bytes of it from ``offset``, in blocks."""
    with path.open("rb") as file:
        file.seek(offset)
        left = length if length is not None else 1 << 62
        while left and (block := file.read(min(_BLOCK, left))):
            left -= len(block)
            yield block


def compressed(pieces: Iterable[bytes | memoryview], level: int) -> Iterator[bytes]:
    """Return the content coding zstd (RFC 8878) of a body, with the small window that RFC 9659 asks for."""
    squeezer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(level, window_log=min(23, 18 + level))
    ).compressobj()
    for piece in pieces:
        if squeezed := squeezer.compress(piece):
            yield squeezed
    yield squeezer.flush()


def metered(pieces: Iterable[bytes | memoryview], meter: Meter) -> Iterator[bytes]:
    """Return the pieces, cut as ``meter`` says, each part after it was let pass."""
    for piece in pieces:
        start = 0
        while start < len(piece):
            part = bytes(piece[start : start + meter.grain()])
            start += len(part)
            meter.take(len(part))
            yield part
