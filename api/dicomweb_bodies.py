"""What the DICOMweb proxy does to an answer on its way: addresses rewritten, one part taken out of its envelope.

Everything here streams, because a CT's metadata has megabytes and an angiogram's pixel data hundreds of them.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from email.message import Message


async def replaced(body: AsyncIterator[bytes], old: bytes, new: bytes) -> AsyncIterator[bytes]:
    """Replace ``old`` in a stream, also where it lies across two pieces; ``new`` must not contain ``old``."""
    tail = b""
    async for piece in body:
        text = (tail + piece).replace(old, new)
        kept = min(len(old) - 1, len(text))
        yield text[: len(text) - kept]
        tail = text[len(text) - kept :]
    yield tail


async def only_part(body: AsyncIterator[bytes], content_type: str) -> AsyncIterator[bytes]:
    """Yield the content of the one part of a ``multipart/related`` answer (RFC 2046 5.1)."""
    closing = b"\r\n--" + boundary(content_type).encode() + b"--"
    # The epilogue that Orthanc writes is an empty line.
    longest_end = len(closing) + 4
    held, in_content = b"", False
    async for piece in body:
        held += piece
        if not in_content:
            _, gap, rest = held.partition(b"\r\n\r\n")
            if not gap:
                continue
            held, in_content = rest, True
        if len(held) > longest_end:
            yield held[:-longest_end]
            held = held[-longest_end:]
    content, _, _ = held.rpartition(closing)
    yield content


async def gzipped(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress a stream (RFC 1952): metadata is mostly repetition, and phones read it too."""
    packer = zlib.compressobj(level=5, wbits=31)
    async for piece in body:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def boundary(content_type: str) -> str:
    """Return the boundary that a multipart content type names."""
    message = Message()
    message["Content-Type"] = content_type
    return str(message.get_param("boundary", ""))


def part_type(content_type: str) -> str:
    """Return the media type of the parts that a multipart content type names."""
    message = Message()
    message["Content-Type"] = content_type
    return str(message.get_param("type", "application/octet-stream")).split(";")[0]
