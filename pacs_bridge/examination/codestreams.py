"""The size that a compressed frame claims in its own header: a decoder believes it, whatever Rows and Columns say."""

from __future__ import annotations

from struct import unpack, unpack_from
from typing import NamedTuple

from pacs_bridge.examination.poisoned import BeyondLimit, Malformed
from pacs_bridge.examination.window import Window

_JPEG, _JPEG_2000, _JPEG_XL = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\x0a"
_JPEG_XL_BOXES = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_JP2_BOXES = b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a"
#: Frame headers of JPEG and JPEG-LS: SOF0 to SOF15 without DHT, JPG and DAC; SOF55 (ISO 10918-1 table B.1, ISO 14495-1).
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_SCAN, _END, _HIERARCHY = 0xDA, 0xD9, 0xDE
#: Markers without a length.
_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
#: Tables, profiles and comments before a frame header; real ones have about ten.
_MOST_PARTS = 64
#: ISO 15444-1 B.3: a tile's number has sixteen bits.
_MOST_TILES = 65535
_XL_BITS = (9, 13, 18, 30)
_XL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


class FrameSize(NamedTuple):
    """What a frame's header says."""

    columns: int
    rows: int
    #: Components × bytes each.
    bytes_per_pixel: int

    @property
    def pixels(self) -> int:
        """Pixels of the frame."""
        return self.columns * self.rows


def frame_size(window: Window, length: int) -> FrameSize | None:
    """Read the header at the window's position, within ``length`` bytes, and return what it says.

    Returns None where no known stream begins: the fragment continues the one before it.

    Raises
    ------
    Malformed
        If a stream begins and tells no size within the fragment.
    BeyondLimit
        If its size hides behind more segments than any encoder writes, or in more tiles than the standard numbers.
    """
    head = window.peek(min(length, 64))
    if head.startswith(_JPEG):
        window.skip(2)
        return _jpeg(window, length - 2)
    if head.startswith(_JPEG_2000):
        return _jpeg_2000(head)
    if head.startswith(_JPEG_XL):
        return _jpeg_xl(head[2:])
    if head.startswith((_JPEG_XL_BOXES, _JP2_BOXES)):
        window.skip(12)
        return _boxed(window, length - 12)
    return None


def _jpeg(window: Window, left: int) -> FrameSize:
    for _ in range(_MOST_PARTS):
        if left < 4:
            break
        mark, marker = window.peek(2)
        if mark != 0xFF:
            break
        if marker == 0xFF or marker in _BARE:  # a fill byte goes before the marker, one at a time
            step = 1 if marker == 0xFF else 2
            window.skip(step)
            left -= step
            continue
        if marker in {_SCAN, _END, _HIERARCHY}:
            break
        (size,) = unpack(">H", window.peek(4)[2:])
        if size < 2 or size + 2 > left:
            break
        if marker in _FRAME_HEADERS:
            head = window.peek(10)
            if size < 8 or len(head) < 10:
                break
            bits, rows, columns, components = unpack_from(">BHHB", head, 4)
            return FrameSize(columns, rows, max(1, components) * (2 if bits > 8 else 1))
        window.skip(size + 2)
        left -= size + 2
    else:
        raise BeyondLimit(f"A JPEG frame hides its size behind more than {_MOST_PARTS} segments.")
    raise Malformed("A JPEG frame tells no size in its first fragment.")


def _jpeg_2000(head: bytes) -> FrameSize:
    """Read the SIZ segment, which follows SOC at once (ISO 15444-1 A.5.1)."""
    if len(head) < 43:
        raise Malformed("A JPEG 2000 frame ends inside its first header.")
    right, bottom, left, top, tile_width, tile_height = unpack_from(">6L", head, 8)
    components, depth = unpack_from(">HB", head, 40)
    if right <= left or bottom <= top or not tile_width or not tile_height or not components:
        raise Malformed("A JPEG 2000 frame has no pixels or no tiles.")
    if -(-right // tile_width) * -(-bottom // tile_height) > _MOST_TILES:
        raise BeyondLimit(f"A JPEG 2000 frame is cut into more than {_MOST_TILES} tiles.")
    return FrameSize(right - left, bottom - top, components * ((depth & 0x7F) // 8 + 1))


def _boxed(window: Window, left: int) -> FrameSize:
    """Find the code stream in the boxes of a JPEG XL or JP2 file (ISO 18181-2, ISO 15444-1 Annex I)."""
    for _ in range(_MOST_PARTS):
        if left < 16:
            break
        size, kind, long_size = unpack(">L4sQ", window.peek(16))
        header = 16 if size == 1 else 8
        size = {0: left, 1: long_size}.get(size, size)
        if size < header or size > left:
            break
        if kind in {b"jxlc", b"jxlp", b"jp2c"}:
            window.skip(header + (4 if kind == b"jxlp" else 0))
            head = window.peek(min(64, size - header))
            if head.startswith(_JPEG_2000):
                return _jpeg_2000(head)
            if head.startswith(_JPEG_XL):
                return _jpeg_xl(head[2:])
            break
        window.skip(size)
        left -= size
    else:
        raise BeyondLimit(f"A frame hides its size behind more than {_MOST_PARTS} boxes.")
    raise Malformed("A frame in boxes holds no code stream that tells a size.")


def _jpeg_xl(head: bytes) -> FrameSize:
    """Read the SizeHeader (ISO 18181-1 D.2); its bits are packed from the least significant."""
    bits, left = int.from_bytes(head, "little"), 8 * len(head)

    def take(count: int) -> int:
        nonlocal bits, left
        left -= count
        if left < 0:
            raise Malformed("A JPEG XL frame ends inside its first header.")
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def side() -> int:
        return (take(5) + 1) * 8 if eighths else take(_XL_BITS[take(2)]) + 1

    eighths = take(1)
    rows = side()
    ratio = take(3)
    if not ratio:
        return FrameSize(side(), rows, 1)
    numerator, denominator = _XL_RATIOS[ratio]
    return FrameSize(rows * numerator // denominator, rows, 1)
