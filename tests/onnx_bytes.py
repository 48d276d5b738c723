"""Writes small ONNX files without the package that trains: the few messages of onnx.proto3 that a test's network needs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

FLOAT, INT64, BOOL = 1, 7, 9


def field(number: int, value: bytes | str | int) -> bytes:
    """Return one protocol-buffer field."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], *attributes: bytes, domain: str = "") -> bytes:
    """Return a NodeProto."""
    parts = [field(1, name) for name in inputs] + [field(2, name) for name in outputs]
    return b"".join([*parts, field(4, operator), *(field(5, one) for one in attributes), field(7, domain) if domain else b""])


def whole(name: str, value: int) -> bytes:
    """Return an AttributeProto with one whole number."""
    return field(1, name) + field(3, value) + field(20, 2)


def subgraph(name: str, graph: bytes) -> bytes:
    """Return an AttributeProto with a graph."""
    return field(1, name) + field(6, graph) + field(20, 5)


def constant(name: str, values: Sequence[float], *, dims: Sequence[int] = (), kind: int = FLOAT, external: str = "") -> bytes:
    """Return a TensorProto; ``external`` names a file that is said to hold its values."""
    packed = {FLOAT: "<%df", INT64: "<%dq", BOOL: "<%d?"}[kind]
    data = b"" if external else field(9, struct.pack(packed % len(values), *values))
    elsewhere = field(13, field(1, "location") + field(2, external)) + field(14, 1) if external else b""
    return b"".join(field(1, size) for size in dims) + field(2, kind) + field(8, name) + data + elsewhere


def tensor(name: str, shape: Sequence[int | str], kind: int = FLOAT) -> bytes:
    """Return a ValueInfoProto; a text is a side of any size."""
    sides = b"".join(field(1, field(1, side) if isinstance(side, int) else field(2, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, sides)))


def graph(nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], constants: Sequence[bytes] = ()) -> bytes:
    """Return a GraphProto."""
    parts = [*(field(1, one) for one in nodes), field(2, "made"), *(field(5, one) for one in constants)]
    return b"".join([*parts, *(field(11, one) for one in inputs), *(field(12, one) for one in outputs)])


def model(made: bytes, *, opset: int = 17, domains: Sequence[str] = ()) -> bytes:
    """Return a ModelProto."""
    opsets = [field(8, field(1, domain) + field(2, 1)) for domain in domains]
    return b"".join([field(1, 8), field(2, "tests"), field(7, made), field(8, field(1, "") + field(2, opset)), *opsets])


def _varint(value: int) -> bytes:
    parts = []
    while True:
        parts.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(parts)
