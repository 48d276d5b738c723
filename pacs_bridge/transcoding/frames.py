"""From fragments to frames (PS3.5 A.4, Annex A.4 tables; PS3.3 C.7.6.3.1.8 for the extended offsets)."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pacs_bridge.transcoding.description import MOST_FRAME_BYTES
from pacs_bridge.transcoding.errors import CannotTranscode
from pacs_bridge.transcoding.layout import EXTENDED_OFFSETS, Layout, Span

#: How a frame begins: JPEG, JPEG 2000 codestream, JPEG XL codestream, JPEG XL container.
_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")


def frames_of(file: BinaryIO, layout: Layout, count: int, name: str) -> list[tuple[Span, ...]]:
    """Return the fragments of each of ``count`` frames.

    Raises
    ------
    CannotTranscode
        If the fragments cannot be shared out among so many frames.
    """
    fragments = layout.fragments
    if count == 1:
        return [fragments]
    if count == len(fragments):
        return [(fragment,) for fragment in fragments]
    if count > len(fragments):
        raise CannotTranscode(name, f"it claims {count} frames and holds {len(fragments)} fragments")
    places = [fragment.start - 8 - layout.offsets.end for fragment in fragments]
    for starts in (_extended(file, layout), _basic(file, layout)):
        if len(starts) == count and starts[0] == 0 and set(starts) <= set(places) and starts == sorted(set(starts)):
            return list(_grouped(fragments, [bisect_left(places, start) for start in starts]))
    begun = [number for number, fragment in enumerate(fragments) if _peek(file, fragment).startswith(_BEGINNINGS)]
    if len(begun) != count or begun[0] != 0:
        raise CannotTranscode(name, f"its {len(fragments)} fragments cannot be shared out among {count} frames")
    return list(_grouped(fragments, begun))


def read_frame(file: BinaryIO, frame: Sequence[Span], name: str) -> bytes:
    """Return one frame's bytes.

    Raises
    ------
    CannotTranscode
        If they are more than a frame can be.
    """
    if sum(fragment.size for fragment in frame) > MOST_FRAME_BYTES:
        raise CannotTranscode(name, "a compressed frame is too large")
    return b"".join(_read(file, fragment) for fragment in frame)


def _grouped(fragments: Sequence[Span], firsts: Sequence[int]) -> Iterator[tuple[Span, ...]]:
    for first, following in zip(firsts, [*firsts[1:], len(fragments)], strict=True):
        yield tuple(fragments[first:following])


def _extended(file: BinaryIO, layout: Layout) -> list[int]:
    element = layout.place_of(EXTENDED_OFFSETS)
    value = _read(file, element)[12:] if element else b""
    return list(struct.unpack(f"<{len(value) // 8}Q", value[: len(value) // 8 * 8]))


def _basic(file: BinaryIO, layout: Layout) -> list[int]:
    value = _read(file, layout.offsets)
    return list(struct.unpack(f"<{len(value) // 4}I", value[: len(value) // 4 * 4]))


def _peek(file: BinaryIO, span: Span) -> bytes:
    file.seek(span.start)
    return file.read(min(span.size, 8))


def _read(file: BinaryIO, span: Span) -> bytes:
    file.seek(span.start)
    return file.read(span.size)
