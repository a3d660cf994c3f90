"""Turn named arrays into safetensors bytes and back: the only door to that format.

The library writes; reading is ours, because safetensors 0.8.0 accepts duplicate keys, `../` names and zero-element
tensors of 2^40 rows, and has no checksum. Written bytes are a function of their content alone: the library puts
metadata in a random order, which would give equal models unequal hashes.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from safetensors.numpy import save

from wmloop.errors import StoreCorruptError
from wmloop.store.files import open_regular, read_exactly

#: How the name of such a file ends.
SUFFIX = ".safetensors"
Tensors = dict[str, np.ndarray]

#: Longest header taken seriously. The library allows 100 MB; ours have a few kB.
MAX_HEADER = 16 * 2**20
#: Largest product of the non-zero dimensions of an array without elements; its size in the file bounds any other.
MAX_EMPTY = 2**24
MAX_DIMENSIONS = 16

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,199})*")


class _Entry(NamedTuple):
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


class _MalformedError(ValueError):
    """Say what is wrong with the bytes; callers add which file they came from."""


def encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return `tensors` and `metadata` as safetensors bytes: equal content gives equal bytes.

    Arrays may have any layout and byte order. Names are letters, digits, `_.:-`, with `/` between parts. The result is
    read back and compared before it is returned (safetensors 0.8.0 scrambles arrays that are not C-contiguous; issue
    huggingface/safetensors#825).

    Raises:
        ValueError: a name, a dtype (no bfloat16, no objects) or a shape that `decode` would refuse.
        TypeError: metadata that is not text.
    """
    plain: Tensors = {}
    for name, array in tensors.items():
        # Not np.ascontiguousarray, which gives scalars a dimension.
        plain[name] = np.asarray(array, dtype=np.asarray(array).dtype.newbyteorder("<"), order="C")
        if plain[name].dtype not in _DTYPES.values():
            raise ValueError(f"tensor {name!r} has dtype {plain[name].dtype}: choose one of {', '.join(_DTYPES)}")
    notes = dict(metadata or {})
    for key, text in notes.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata {key!r} must be text, not {type(text).__name__}")
    data = _sort_header(save(plain, notes or None))
    arrays, read_notes = _decode(data)
    if read_notes != notes or arrays.keys() != plain.keys() or not all(_same(arrays[k], plain[k]) for k in plain):
        raise AssertionError("safetensors did not give back what it was given")
    return data


def decode(data: bytearray, origin: Path | str) -> tuple[Tensors, dict[str, str]]:
    """Return the arrays and metadata in `data`, read from `origin`. The arrays are writable views of `data`.

    Raises:
        StoreCorruptError: naming `origin` and what is wrong.
    """
    try:
        return _decode(data)
    except _MalformedError as fault:
        raise StoreCorruptError(f"{origin} is damaged: {fault}") from None


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Return the arrays and metadata of a safetensors file; its header is checked before any array is allocated.

    Raises:
        StoreCorruptError: naming `path` and what is wrong.
        StorageError: the file system refuses.
    """
    with open_regular(path) as file:
        try:
            entries, metadata, payload = _read_header(file, path)
            return _views(entries, memoryview(read_exactly(file, payload, path))), metadata
        except _MalformedError as fault:
            raise StoreCorruptError(f"{path} is damaged: {fault}") from None


def begins_as_one(path: Path) -> bool:
    """Tell whether a file begins as a safetensors file does, whole or not: a header's length, then the header's brace.

    Raises:
        StoreCorruptError: it is no regular file.
        StorageError: the file system refuses.
    """
    with open_regular(path) as file:
        first = read_exactly(file, min(9, os.fstat(file.fileno()).st_size), path)
    return first[8:] == b"{" and int.from_bytes(first[:8], "little") <= MAX_HEADER


def check(path: Path) -> None:
    """Raise StoreCorruptError unless `path` is a safetensors file of the size its header says; no array is read.

    Raises:
        StorageError: the file system refuses.
    """
    with open_regular(path) as file:
        try:
            _read_header(file, path)
        except _MalformedError as fault:
            raise StoreCorruptError(f"{path} is damaged: {fault}") from None


def _read_header(file: BinaryIO, path: Path) -> tuple[list[_Entry], dict[str, str], int]:
    """Return the entries, the metadata and how many bytes of arrays follow."""
    size = os.fstat(file.fileno()).st_size
    length = _header_length(read_exactly(file, min(8, size), path), size)
    payload = size - 8 - length
    return *_parse_header(read_exactly(file, length, path), payload), payload


def _decode(data: bytes | bytearray) -> tuple[Tensors, dict[str, str]]:
    length = _header_length(data[:8], len(data))
    entries, metadata = _parse_header(data[8 : 8 + length], len(data) - 8 - length)
    return _views(entries, memoryview(data)[8 + length :]), metadata


def _header_length(first: bytes | bytearray, size: int) -> int:
    if size < 8:
        raise _MalformedError(f"{size} bytes are too few for a tensor file")
    length = int.from_bytes(first, "little")
    if length > MAX_HEADER or length > size - 8:
        raise _MalformedError(f"it claims a header of {length:,} bytes in a file of {size:,}")
    return length


def _parse_header(header: bytes | bytearray, payload: int) -> tuple[list[_Entry], dict[str, str]]:
    try:
        table = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except (
        ValueError,
        RecursionError,
    ) as error:  # json's and utf-8's faults are ValueErrors, and so is _MalformedError
        raise error if isinstance(error, _MalformedError) else _MalformedError("its header is not JSON") from None
    if not isinstance(table, dict):
        raise _MalformedError("its header is not a table")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _MalformedError("its metadata is not text")
    entries = sorted((_entry(name, spec) for name, spec in table.items()), key=lambda entry: (entry.begin, entry.end))
    covered = 0
    for entry in entries:
        if entry.begin != covered:
            kind = "overlaps another" if entry.begin < covered else "leaves a hole before it"
            raise _MalformedError(f"tensor {entry.name!r} {kind}")
        covered = entry.end
    if covered != payload:
        raise _MalformedError(f"its tensors cover {covered:,} of {payload:,} bytes")
    return entries, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _MalformedError("its header names something twice")
    return table


def _entry(name: str, spec: Any) -> _Entry:
    if not _NAME.fullmatch(name):
        raise _MalformedError(f"{name[:80]!r} is no tensor name")
    if not isinstance(spec, dict) or spec.keys() != {"dtype", "shape", "data_offsets"}:
        raise _MalformedError(f"tensor {name!r} needs exactly dtype, shape and data_offsets")
    label, shape, offsets = spec["dtype"], spec["shape"], spec["data_offsets"]
    if not isinstance(label, str) or label not in _DTYPES:
        raise _MalformedError(f"tensor {name!r} has the dtype {str(label)[:20]!r}, not one of {', '.join(_DTYPES)}")
    if not _counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise _MalformedError(f"tensor {name!r} has no valid shape")
    if not _counts(offsets) or len(offsets) != 2:
        raise _MalformedError(f"tensor {name!r} has no valid offsets")
    dtype = _DTYPES[label]
    if 0 in shape and math.prod(dim for dim in shape if dim) > MAX_EMPTY:
        raise _MalformedError(f"tensor {name!r} is empty, yet claims the shape {tuple(shape)}")
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise _MalformedError(
            f"tensor {name!r} has {offsets[1] - offsets[0]:,} bytes, not those of {label} {tuple(shape)}"
        )
    return _Entry(name, dtype, tuple(shape), offsets[0], offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**48 for item in value)


def _views(entries: list[_Entry], payload: memoryview) -> Tensors:
    arrays: Tensors = {}
    for name, dtype, shape, begin, end in entries:
        raw = np.frombuffer(payload[begin:end], dtype=np.uint8)
        if dtype == np.bool_ and raw.size and raw.max() > 1:
            raise _MalformedError(f"tensor {name!r} is bool, yet holds other values than 0 and 1")
        array = raw.view(dtype).reshape(shape)
        arrays[name] = array if array.flags.aligned else array.copy()
    return arrays


def _sort_header(data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    if "__metadata__" in table:
        table["__metadata__"] = dict(sorted(table["__metadata__"].items()))
    header = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # the format's own padding, so that the arrays are aligned
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(data)[8 + length :]])


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return np.array_equal(a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8))  # bits, so that NaN equals NaN
