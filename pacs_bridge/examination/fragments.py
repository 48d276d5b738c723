"""Compressed pixel data (PS3.5 A.4): counts the fragments, and reads the size that each frame claims."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from pacs_bridge.examination.codestreams import frame_size
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Deadline, Malformed, tag_name
from pacs_bridge.examination.transfer_syntaxes import TransferSyntax
from pacs_bridge.examination.window import PIECE, Window

_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_HEAD = Struct("<HHL")
#: Fragments are far apart: only their beginnings are read.
_PIECE = 2 << 10
_CLOCK_MASK = 0x3FF
#: A.4.2, Annex G.5: the RLE header counts at most 15 segments in 64 bytes.
_RLE_HEAD, _RLE_SEGMENTS = Struct("<16L"), 15


@dataclass(kw_only=True)
class Fragments:
    """What was passed."""

    #: Without the first item, which is the offset table.
    count: int = 0
    size: int = 0
    #: Most pixels and most bytes that one frame holds by its own header; 0 where no header is known.
    frame_pixels: int = 0
    frame_bytes: int = 0
    #: RLE segments of the frame that has most.
    segments: int = 0


def walk_fragments(window: Window, limit: int, syntax: TransferSyntax, limits: Limits, deadline: Deadline) -> Fragments:
    """Pass the fragments up to their delimiter; ``limit`` is the offset behind the last byte that may be theirs.

    Raises
    ------
    Malformed
        If they are not as A.4 says, or break off.
    BeyondLimit
        If they are more than the limits allow.
    """
    found = Fragments()
    window.piece = _PIECE
    is_table = True
    while True:
        if not window.need(8) or window.at + 8 > limit:
            raise Malformed(f"The pixel data break off after {found.count} fragments.")
        group, number, length = _HEAD.unpack_from(window.buffer, window.position)
        window.position += 8
        if group << 16 | number == _END and length == 0:
            window.piece = PIECE
            return found
        if group << 16 | number != _ITEM:
            raise Malformed(f"The pixel data hold {tag_name(group << 16 | number)} where a fragment must begin.")
        end = window.at + length
        if end > limit:
            raise Malformed(f"Fragment {found.count + 1} of the pixel data claims {length} bytes, more than there are.")
        if is_table:
            is_table = False
            if length > 4 * limits.frames:
                raise BeyondLimit(f"The offset table of the pixel data holds {length} bytes.")
        else:
            found.count += 1
            found.size += length
            if found.count > limits.fragments:
                raise BeyondLimit(f"The pixel data come in more than {limits.fragments} fragments.")
            if not found.count & _CLOCK_MASK:
                deadline.check()
            _look(window, length, syntax, found)
        if not window.skip(end - window.at):
            raise Malformed(f"The data set ends inside fragment {found.count} of the pixel data.")


def _look(window: Window, length: int, syntax: TransferSyntax, found: Fragments) -> None:
    """Read the header of the frame that begins here, if one does."""
    if syntax.still:
        size = frame_size(window, length)
        if size is not None:
            found.frame_pixels = max(found.frame_pixels, size.pixels)
            found.frame_bytes = max(found.frame_bytes, size.pixels * size.bytes_per_pixel)
    elif syntax.rle:
        head = window.peek(min(length, _RLE_HEAD.size))
        if len(head) < _RLE_HEAD.size:
            raise Malformed(f"Fragment {found.count} is shorter than the header of an RLE frame.")
        segments, *offsets = _RLE_HEAD.unpack(head)
        if not 0 < segments <= _RLE_SEGMENTS or any(offset > length for offset in offsets[:segments]):
            raise Malformed(f"The RLE header of fragment {found.count} names segments that are not there.")
        found.segments = max(found.segments, segments)
