"""Reads of an ONNX file what no runtime tells before it has loaded it: operator sets, and data that lies elsewhere.

The few fields of ``onnx.proto3`` that are needed are walked as protocol-buffer fields; nothing of the file is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Sets whose operators are built into ONNX Runtime.
KNOWN_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.preview.training"))
#: Graphs nested deeper than this are no network.
DEEPEST = 32

# Field numbers of onnx.proto3.
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_FUNCTIONS = 7, 8, 25
_GRAPH_NODES, _GRAPH_INITIALIZERS, _GRAPH_SPARSE = 1, 5, 15
_FUNCTION_NODES, _FUNCTION_OPSETS, _FUNCTION_DOMAIN = 7, 9, 10
_NODE_OPERATOR, _NODE_ATTRIBUTES, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_EXTERNAL = 1


class NotOnnx(ValueError):
    """The bytes are no ONNX model."""


@dataclass
class OnnxFacts:
    """What was found."""

    #: Version of each operator set that the file imports; the empty name is ONNX's own.
    opsets: dict[str, int] = field(default_factory=dict)
    #: ``domain:operator`` of each operator that no set built into the runtime holds.
    foreign: set[str] = field(default_factory=set)
    #: Whether weights lie in another file.
    external: bool = False
    nodes: int = 0
    #: Domains of functions that the file itself defines.
    own: set[str] = field(default_factory=set)


def facts_of(file: Path) -> OnnxFacts:
    """Return the facts of an ONNX file.

    Raises
    ------
    NotOnnx
        If the file is cut off, or no model with a graph.
    """
    facts = OnnxFacts()
    graphs = 0
    functions: list[memoryview] = []
    for number, value in _fields(memoryview(file.read_bytes())):
        if isinstance(value, int):
            continue
        if number == _MODEL_OPSETS:
            _opset(value, facts)
        elif number == _MODEL_FUNCTIONS:
            facts.own.add(next((_text(one) for key, one in _fields(value) if key == _FUNCTION_DOMAIN), ""))
            functions.append(value)
        elif number == _MODEL_GRAPH:
            graphs += 1
            _graph(value, facts, 0)
    for function in functions:
        for number, value in _fields(function):
            if number == _FUNCTION_NODES and not isinstance(value, int):
                _node(value, facts, 0)
    facts.foreign = {name for name in facts.foreign if name.split(":", 1)[0] not in facts.own}
    if graphs != 1 or not facts.opsets:
        raise NotOnnx("it holds no graph with its operator sets")
    return facts


def _graph(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    if depth > DEEPEST:
        raise NotOnnx(f"its graphs are nested deeper than {DEEPEST}")
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if number == _GRAPH_NODES:
            _node(value, facts, depth)
        elif number == _GRAPH_INITIALIZERS:
            _tensor(value, facts)
        elif number == _GRAPH_SPARSE:
            _sparse(value, facts)


def _node(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    facts.nodes += 1
    domain = operator = ""
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if number == _NODE_DOMAIN:
            domain = _text(value)
        elif number == _NODE_OPERATOR:
            operator = _text(value)
        elif number == _NODE_ATTRIBUTES:
            _attribute(value, facts, depth)
    if domain not in KNOWN_DOMAINS:
        facts.foreign.add(f"{domain}:{operator}")


def _attribute(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if number in _ATTRIBUTE_TENSORS:
            _tensor(value, facts)
        elif number in _ATTRIBUTE_GRAPHS:
            _graph(value, facts, depth + 1)
        elif number in _ATTRIBUTE_SPARSE:
            _sparse(value, facts)


def _sparse(data: memoryview, facts: OnnxFacts) -> None:
    for number, value in _fields(data):
        if number in _SPARSE_TENSORS and not isinstance(value, int):
            _tensor(value, facts)


def _tensor(data: memoryview, facts: OnnxFacts) -> None:
    for number, value in _fields(data):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value == _EXTERNAL):
            facts.external = True


def _opset(data: memoryview, facts: OnnxFacts) -> None:
    domain, version = "", 0
    for number, value in _fields(data):
        if number == _OPSET_DOMAIN and not isinstance(value, int):
            domain = _text(value)
        elif number == _OPSET_VERSION and isinstance(value, int):
            version = value
    facts.opsets[domain] = version


def _text(data: memoryview | int) -> str:
    return "" if isinstance(data, int) else bytes(data[:200]).decode("utf-8", "replace")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field: whole numbers as such, the rest as bytes."""
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise NotOnnx("it is not an ONNX file")
        if place + size > end:
            raise NotOnnx("it is cut off")
        yield number, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise NotOnnx("it is cut off or no ONNX file")
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
