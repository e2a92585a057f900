"""What an ONNX file refers to, read before any library opens it: it must need no other file.

The file is a protocol buffer: fields of a number and a kind, some of them messages of further fields. Only
the path to tensors and to nodes is followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trine.display import shortened

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING = range(8)

_INSIDE: Mapping[int, Mapping[int, int]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _TENSOR: {},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
}
"""The fields of each message that are messages themselves."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_NODE_OPERATION, _NODE_DOMAIN, _FUNCTION_DOMAIN = 4, 7, 10

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""The sets of operations that onnxruntime brings along."""

COMPILED = "EPContext"
"""An operation that may name a file with a compiled network."""

DEEPEST = 100
"""Messages may lie this deep inside each other, as in the readers of protocol buffers."""


def check_alone(content: bytes) -> None:
    """Checks that an ONNX file needs no other file, and no operation that onnxruntime does not bring along.

    Args:
        content: The file.

    Raises:
        ValueError: It does, or it is no such file.

    Example:
        >>> check_alone(b"not a graph")
        Traceback (most recent call last):
        ValueError: it is no ONNX file
    """
    stack = [(_MODEL, memoryview(content), 0)]
    graphs, used, defined = 0, set[str](), set[str]()
    while stack:
        kind, message, depth = stack.pop()
        if depth > DEEPEST:
            raise ValueError("its parts lie too deep inside each other")
        graphs += kind == _GRAPH
        for number, value in _fields(message):
            if kind == _TENSOR and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                raise ValueError("it keeps weights in other files; save it with its weights inside")
            if isinstance(value, int):
                continue
            if number in _INSIDE[kind]:
                stack.append((_INSIDE[kind][number], value, depth + 1))
            elif kind == _NODE and number == _NODE_OPERATION and bytes(value) == COMPILED.encode():
                raise ValueError(f"it has the operation {COMPILED}, which stands for another file")
            elif kind == _NODE and number == _NODE_DOMAIN:
                used.add(bytes(value).decode("utf-8", "replace"))
            elif kind == _FUNCTION and number == _FUNCTION_DOMAIN:
                defined.add(bytes(value).decode("utf-8", "replace"))
    if not graphs:
        raise ValueError("it is no ONNX file")
    foreign = sorted(used - defined - DOMAINS)
    if foreign:
        raise ValueError(
            f"it has operations of {shortened(foreign[0], most=40)}, which onnxruntime does not bring along"
        )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number, and a whole number or bytes; numbers of fixed size are skipped."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if not number:
            raise ValueError("it is no ONNX file")
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(message, at)
            if length > len(message) - at:
                raise ValueError("it is no ONNX file, or is not all of one")
            yield number, message[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("it is no ONNX file")
    if at > len(message):
        raise ValueError("it is no ONNX file, or is not all of one")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A whole number, seven bits a byte, the least significant first; and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return value, at
    raise ValueError("it is no ONNX file, or is not all of one")
