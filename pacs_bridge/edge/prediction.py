"""Makes pixels smaller on the line: each is replaced by its difference from its neighbours, which the county undoes bit for bit.

General compression such as zstd sees bytes, not pixels: neighbouring pixels that differ a little look like noise to it. What
is left of a pixel after its left and upper neighbours (planar prediction, as in lossless JPEG, ISO/IEC 10918-1 H.1.2.1) is
small, and with the low and the high bytes apart zstd finds it. The bytes in both spools are the same; a wrong guess of where
the pixels lie costs compression alone, since the inverse holds for any bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import zstandard
from numpy.typing import NDArray

#: What the county names that can undo it.
NAME = "planar"
#: Rows are taken together up to so many bytes; the first of them has no row above it.
_BAND_BYTES = 1 << 19
_SAMPLE_BYTES = 1 << 18
#: Prediction has to be worth it: what it leaves of a sample, against what zstd alone leaves.
_WORTH = 0.95
_SMALLEST = 1 << 14
_HEADER = re.compile(rf"{NAME}; offset=(\d{{1,15}}); columns=(\d{{1,5}}); bytes=([12])")
Stream = Iterable[bytes | memoryview]
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Where the pixels lie in a stream, and what they are."""

    #: Bytes before the first row.
    offset: int
    columns: int
    #: Bytes of one sample, little endian: 1 or 2.
    sample_bytes: int

    def __str__(self) -> str:
        return f"{NAME}; offset={self.offset}; columns={self.columns}; bytes={self.sample_bytes}"

    @classmethod
    def parse(cls, header: str) -> Prediction:
        """Read a header that ``str()`` made.

        Raises
        ------
        ValueError
            If it is none.
        """
        found = _HEADER.fullmatch(header.strip())
        if found is None or not int(found[2]) or int(found[2]) > 65535:
            raise ValueError(header[:64])
        return cls(offset=int(found[1]), columns=int(found[2]), sample_bytes=int(found[3]))

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.columns * self.sample_bytes

    def from_byte(self, start: int) -> Prediction:
        """Return the same for a stream that begins at byte ``start`` of this one."""
        offset = self.offset - start if start <= self.offset else -(start - self.offset) % self.row_bytes
        return Prediction(offset=offset, columns=self.columns, sample_bytes=self.sample_bytes)


class Bands:
    """A stream whose rows are changed band by band: predicted, or restored. Holds one band."""

    def __init__(self, prediction: Prediction, change: Callable[[NDArray[np.uint8], Prediction], bytes]) -> None:
        self._prediction, self._change = prediction, change
        self._before = prediction.offset
        self._band_bytes = max(1, _BAND_BYTES // prediction.row_bytes) * prediction.row_bytes
        self._held = bytearray()

    def feed(self, piece: bytes | memoryview) -> Iterator[bytes | memoryview]:
        """Take a piece and return what is ready."""
        if self._before:
            head, piece = piece[: self._before], piece[self._before :]
            self._before -= len(head)
            yield head
        self._held += piece
        while len(self._held) >= self._band_bytes:
            yield self._changed(self._band_bytes)

    def end(self) -> bytes:
        """Return the rest: the rows that make no whole band, and what makes no row, as it is."""
        rows = len(self._held) // self._prediction.row_bytes * self._prediction.row_bytes
        return (self._changed(rows) if rows else b"") + bytes(self._held)

    def _changed(self, length: int) -> bytes:
        band = np.frombuffer(bytes(self._held[:length]), np.uint8)
        del self._held[:length]
        return self._change(band, self._prediction)


def predict(band: NDArray[np.uint8], prediction: Prediction) -> bytes:
    """Return the differences of whole rows: low bytes, then high bytes."""
    samples: NDArray[Any] = band.view(np.uint16 if prediction.sample_bytes == 2 else np.uint8).reshape(-1, prediction.columns)
    across, left = np.empty_like(samples), np.empty_like(samples)
    across[:, 0] = samples[:, 0]
    np.subtract(samples[:, 1:], samples[:, :-1], out=across[:, 1:])
    left[0] = across[0]
    np.subtract(across[1:], across[:-1], out=left[1:])
    if prediction.sample_bytes == 1:
        return left.tobytes()
    signed = left.view(np.int16)
    folded = ((signed << 1) ^ (signed >> 15)).view(np.uint8).reshape(-1, 2)  # small ones of either sign get small bytes
    return folded[:, 0].tobytes() + folded[:, 1].tobytes()


def restore(band: NDArray[np.uint8], prediction: Prediction) -> bytes:
    """Return the rows of which :func:`predict` made ``band``."""
    left: NDArray[Any] = band.reshape(-1, prediction.columns * prediction.sample_bytes)
    if prediction.sample_bytes == 2:
        low, high = band.reshape(2, -1)
        folded = low | (high.astype(np.uint16) << 8)
        left = ((folded >> 1) ^ (0 - (folded & 1))).astype(np.uint16).reshape(-1, prediction.columns)
    kind = left.dtype
    across = np.cumsum(left, axis=0, dtype=kind)
    return np.cumsum(across, axis=1, dtype=kind).tobytes()


def predicted(pieces: Stream, prediction: Prediction) -> Iterator[bytes | memoryview]:
    """Return a stream with its rows predicted."""
    return _through(pieces, Bands(prediction, predict))


def restored(pieces: Stream, prediction: Prediction) -> Iterator[bytes | memoryview]:
    """Return a stream with its rows restored."""
    return _through(pieces, Bands(prediction, restore))


def prediction_of(path: Path, transfer_syntax_uid: str, frames: int) -> Prediction | None:
    """Return where the pixels of a file in the spool lie, if predicting them is worth it.

    The file has been examined; the guess is that pixel data is its last element (PS3.5 7.1), and a sample decides.
    """
    if transfer_syntax_uid not in _UNCOMPRESSED:
        return None
    tags = ["Rows", "Columns", "BitsAllocated", "SamplesPerPixel"]
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags))
        rows, columns, bits, samples = (int(header.get(tag) or 0) for tag in tags)
    except Exception:  # whatever a header makes the parser do, the instance goes without prediction
        return None
    size = path.stat().st_size
    length = rows * columns * (bits // 8) * frames
    if bits not in (8, 16) or samples != 1 or not 0 < columns <= 65535 or not _SMALLEST <= length < size:
        return None
    found = Prediction(offset=size - length, columns=columns, sample_bytes=bits // 8)
    return found if _is_worth_it(path, found, length) else None


def _is_worth_it(path: Path, prediction: Prediction, length: int) -> bool:
    rows = max(1, min(length, _SAMPLE_BYTES) // prediction.row_bytes)
    first = (length // prediction.row_bytes - rows) // 2
    with path.open("rb") as file:
        file.seek(prediction.offset + max(0, first) * prediction.row_bytes)
        sample = file.read(rows * prediction.row_bytes)
    if not sample or len(sample) % prediction.row_bytes:
        return False
    squeezer = zstandard.ZstdCompressor(level=1)
    changed = predict(np.frombuffer(sample, np.uint8), prediction)
    return len(squeezer.compress(changed)) < _WORTH * len(squeezer.compress(sample))


def _through(pieces: Stream, bands: Bands) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        yield from bands.feed(piece)
    yield bands.end()
