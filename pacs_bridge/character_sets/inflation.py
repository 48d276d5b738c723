"""Deflated data sets (PS3.5 A.5): inflated beside the target to be rewritten, and deflated again."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.errors import SumuError
from pacs_bridge.character_sets.elements import DEFLATED, UnreadableElements, mapped, meta_information
from pacs_bridge.character_sets.splicing import CHUNK

#: A deflated data set that inflates to more is not touched.
LARGEST_INFLATED = 1 << 30


class TooLargeInflated(SumuError):
    """A deflated data set is larger than anybody sends deflated."""

    def __init__(self) -> None:
        super().__init__(
            f"The deflated data set is larger than {LARGEST_INFLATED >> 20} MB.",
            remedy="Have the device send without deflation.",
        )


@contextmanager
def inflated(path: Path, beside: Path) -> Iterator[tuple[Path, int | None]]:
    """Yield a file with a plain data set, itself or a temporary one; with the offset of the data set if it was deflated."""
    with mapped(path) as view:
        start, syntax = meta_information(view)
        head = view[:start]
    if syntax not in DEFLATED:
        yield path, None
        return
    with tempfile.TemporaryDirectory(dir=beside) as folder:
        plain = Path(folder) / "plain"
        with path.open("rb") as reader, plain.open("wb") as writer:
            reader.seek(start)
            writer.write(head)
            for piece in _inflated_pieces(reader):
                writer.write(piece)
                if writer.tell() > LARGEST_INFLATED:
                    raise TooLargeInflated()
        yield plain, start


def _inflated_pieces(reader: BinaryIO) -> Iterator[bytes]:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while chunk := reader.read(CHUNK):
            while chunk:
                yield engine.decompress(chunk, CHUNK)
                chunk = engine.unconsumed_tail
        yield engine.flush()
    except zlib.error as error:
        raise UnreadableElements(f"it is deflated wrongly, {error}") from error


def deflate(plain: Path, target: Path, start: int) -> None:
    """Write a file whose data set begins at an offset with its data set deflated; the target must not exist."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    with plain.open("rb") as reader, target.open("xb") as writer:
        writer.write(reader.read(start))
        while chunk := reader.read(CHUNK):
            writer.write(engine.compress(chunk))
        writer.write(engine.flush())
        # PS3.5 A.5: the deflated stream is padded to even length.
        if (writer.tell() - start) % 2:
            writer.write(b"\x00")
