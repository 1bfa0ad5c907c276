"""Read a caffemodel without Caffe: the little of protobuf's wire format that a NetParameter needs.

    NetParameter    { 100: repeated LayerParameter }        (field 2 in files of before 2014, refused)
    LayerParameter  { 1: name, 2: type, 7: repeated BlobProto }
    BlobProto       { 5: float data, 7: shape { 1: int64 dim }, legacy 1..4: num, channels, height, width }

Nothing in the file is believed: every length is held against the bytes that are left, every shape against the values
that are there, and memory is taken for values that the file really holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icnet_cli.errors import weights_error, why

MAX_BYTES = 1 << 30
MAX_LAYERS = 4096
MAX_BLOBS = 16  # a layer
MAX_DIMS = 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Array = NDArray[np.float32]


@dataclass(frozen=True)
class CaffeLayer:
    """A layer that has learnt something: its name, its Caffe type, its blobs in order."""

    name: str
    kind: str
    blobs: tuple[Array, ...]


class _DamagedError(ValueError):
    """The bytes are not what a caffemodel has here."""


class _OldError(ValueError):
    """A caffemodel whose layers are V1LayerParameters."""


def read_caffemodel(path: Path) -> dict[str, CaffeLayer]:
    """The layers that have blobs, by name, in the file's order; none where the file is no caffemodel at all.

    Raises:
        IcnetError: exit 4 for a file that is too large, and for a caffemodel that is cut short, damaged or too old.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise weights_error(f"{path} has more than {MAX_BYTES >> 20} MiB, which no ICNet has")
        data = path.read_bytes()
    except OSError as error:
        raise weights_error(f"{path} cannot be read: {why(error)}") from error
    layers: dict[str, CaffeLayer] = {}
    try:
        for layer in _layers(memoryview(data)):
            if layer.name in layers:
                raise _DamagedError(f"two layers named {layer.name}")
            layers[layer.name] = layer
    except _OldError as error:
        raise weights_error(
            f"{path} is in Caffe's format of before 2014; `upgrade_net_proto_binary` converts it"
        ) from error
    except _DamagedError as error:
        # Any file is some protobuf for a few bytes: what breaks before the first weights says nothing.
        if layers:
            raise weights_error(f"{path} is a caffemodel that is cut short or damaged: {error}") from error
    return layers


def _layers(data: memoryview) -> Iterator[CaffeLayer]:
    for number, (field, value) in enumerate(_messages(data, {2, 100})):
        if number >= MAX_LAYERS:
            raise _DamagedError(f"more than {MAX_LAYERS} layers")
        if field == 2:
            if number == 0 and _is_old_layer(value):
                raise _OldError
            continue
        layer = _layer(value)
        if layer.blobs:
            yield layer


def _is_old_layer(data: memoryview) -> bool:
    """Whether this is a V1LayerParameter: it has a name (4) and a type, a number (5)."""
    try:
        found = {(field, kind) for field, kind, _ in _fields(data)}
    except _DamagedError:
        return False
    return (4, _BYTES) in found and (5, _VARINT) in found


def _layer(data: memoryview) -> CaffeLayer:
    text = {1: "", 2: ""}
    blobs: list[Array] = []
    for field, value in _messages(data, {1, 2, 7}):
        if field == 7:
            if len(blobs) == MAX_BLOBS:
                raise _DamagedError(f"more than {MAX_BLOBS} blobs in a layer")
            blobs.append(_blob(value))
        else:
            text[field] = bytes(value[:200]).decode("utf-8", "replace")
    return CaffeLayer(text[1], text[2], tuple(blobs))


def _blob(data: memoryview) -> Array:
    """A blob in its shape; legacy shapes have four dimensions."""
    values: list[Array] = []
    shape: list[int] | None = None
    legacy: dict[int, int] = {}
    for field, kind, value in _fields(data):
        if field == 5 and isinstance(value, memoryview):
            values.append(_floats(value, packed=kind == _BYTES))
        elif field == 7 and isinstance(value, memoryview) and kind == _BYTES:
            shape = _dims(value)
        elif field in (1, 2, 3, 4) and isinstance(value, int):
            legacy[field] = value
        elif field == 8:
            raise _DamagedError("its weights are in double precision")
    flat = np.concatenate(values) if values else np.empty(0, np.float32)
    dims = shape if shape is not None else [legacy.get(n, 1) for n in (1, 2, 3, 4)]
    if math.prod(dims) != flat.size:
        raise _DamagedError(f"a blob of shape {'x'.join(map(str, dims))} has {flat.size} values")
    return flat.reshape(dims)


def _floats(value: memoryview, packed: bool) -> Array:
    if len(value) % 4 or (not packed and len(value) != 4):
        raise _DamagedError("float data of a broken length")
    return np.frombuffer(value, "<f4").astype(np.float32)


def _dims(data: memoryview) -> list[int]:
    dims: list[int] = []
    for field, kind, value in _fields(data):
        if field != 1:
            continue
        if kind == _BYTES and isinstance(value, memoryview):
            at = 0
            while at < len(value) and len(dims) <= MAX_DIMS:
                number, at = _varint(value, at)
                dims.append(number)
        elif isinstance(value, int):
            dims.append(value)
        if len(dims) > MAX_DIMS:
            raise _DamagedError(f"a blob of more than {MAX_DIMS} dimensions")
    return dims


def _messages(data: memoryview, wanted: set[int]) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields with these numbers."""
    for field, kind, value in _fields(data):
        if field in wanted and kind == _BYTES and isinstance(value, memoryview):
            yield field, value


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of every field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        if field == 0:
            raise _DamagedError("a field numbered 0")
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield field, kind, number
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise _DamagedError(f"wire type {kind}")
        if length > len(data) - at:
            raise _DamagedError(f"a field of {length} bytes where {len(data) - at} are left")
        yield field, kind, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _DamagedError("it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _DamagedError("a number of more than ten bytes")
