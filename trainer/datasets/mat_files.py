# SPDX-License-Identifier: GPL-3.0-or-later
"""Numeric matrices of MATLAB files, versions 5 to 7 ("MAT-File Format", The MathWorks).

SciPy's `loadmat` reads them too, but a damaged file can end the whole process (a segmentation fault, found by
flipping bytes), and other people's files come in thousands. So only what faces need is read, with every size checked.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from backend.errors import LwaeError

# Types of data elements, and what numbers are stored as.
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC_CLASSES = range(6, 16)  # double, single and the integers; not cells, structures, text or sparse matrices
COMPLEX = 0x800
VERSION_5, VERSION_7_3 = 0x100, 0x200
UNREADABLE = (OSError, ValueError, OverflowError, MemoryError, struct.error, zlib.error)


def read_mat(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Some real matrices of a MATLAB file, in the type that they are stored in; what else it holds is skipped.

    Raises:
        LwaeError: the file is missing, damaged or of version 7.3, lacks a matrix, or one of them is empty, not of
            real numbers, or not finite.
    """
    try:
        with open(path, "rb") as stream:
            version, found = _read(stream, names)
    except UNREADABLE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LwaeError(f"{path} cannot be read as a MATLAB file ({reason}); get the original file.") from error
    if version == VERSION_7_3:
        raise LwaeError(f"{path} is a MATLAB 7.3 file (HDF5); save it again in MATLAB with save(..., '-v7').")
    for name in names:
        if name not in found:
            raise LwaeError(f"{path} has no {name}, which this layout needs; get the original file, or remove it.")
        if found[name] is None or found[name].ndim != 2 or found[name].size == 0:
            raise LwaeError(f"{name} of {path} is no matrix of real numbers; get the original file, or remove it.")
        if not np.isfinite(found[name]).all():
            raise LwaeError(f"{name} of {path} has NaN or infinite numbers; get the original file, or remove it.")
    return [found[name] for name in names]


class _Readable(Protocol):
    def read(self, size: int) -> bytes: ...


class _Inflated:
    """Reads a zlib stream from its start, no more of it than is asked for."""

    def __init__(self, data: bytes):
        self._engine, self._rest = zlib.decompressobj(), data

    def read(self, size: int) -> bytes:
        pieces = []
        while size > 0 and (piece := self._engine.decompress(self._rest, size)):
            self._rest = self._engine.unconsumed_tail
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def _read(stream: IO[bytes], names: tuple[str, ...]) -> tuple[int, dict[str, np.ndarray | None]]:
    """The file's version, and those of the named variables that it has: a matrix, or None for other things."""
    header = stream.read(128)
    order = {b"IM": "<", b"MI": ">"}.get(header[126:])
    version = struct.unpack(order + "H", header[124:126])[0] if order else 0
    if version == VERSION_7_3:
        return version, {}
    if version != VERSION_5:
        raise ValueError("it is not one of version 5 to 7")
    length = stream.seek(0, 2)
    start, found = 128, {}
    while start < length and len(found) < len(names):
        stream.seek(start)
        kind, size = struct.unpack(order + "II", _exactly(stream, 8))
        start += 8 + size
        if start > length:
            raise ValueError("it is cut short")
        content: _Readable = stream
        if kind == COMPRESSED:
            content = _Inflated(_exactly(stream, size))
            kind = struct.unpack(order + "II", _exactly(content, 8))[0]
        if kind == MATRIX:
            name, matrix = _matrix(content, order, names)
            if name in names:
                found[name] = matrix
                content.read(1)  # at its end, a compressed one compares its checksum
    return version, found


def _matrix(content: _Readable, order: str, names: tuple[str, ...]) -> tuple[str, np.ndarray | None]:
    """Name of a variable, and its numbers if it is one of the names and a real matrix; [rows, columns, ...]."""
    flags = int(_numbers(content, order)[:1].sum())
    shape = tuple(int(extent) for extent in _numbers(content, order))
    name = _numbers(content, order).tobytes().decode("latin-1")
    if name not in names or flags & 0xFF not in NUMERIC_CLASSES or flags & COMPLEX:
        return name, None
    values = _numbers(content, order)
    if min(shape, default=-1) < 0 or math.prod(shape) != len(values):
        raise ValueError(f"{name} has {len(values)} numbers for the shape {list(shape)}")
    return name, values.reshape(shape, order="F")


def _numbers(content: _Readable, order: str) -> np.ndarray:
    """The numbers of the next data element: one of up to 4 bytes stands within its own tag."""
    tag = _exactly(content, 8)
    kind, size = struct.unpack(order + "II", tag)
    if kind >> 16:
        kind, size = kind & 0xFFFF, kind >> 16
        data = tag[4:]
    else:
        data = _exactly(content, size + -size % 8)
    if kind not in NUMBERS or size > len(data):
        raise ValueError("its data elements are damaged")
    return np.frombuffer(data[:size], order + NUMBERS[kind])


def _exactly(content: _Readable, size: int) -> bytes:
    data = content.read(size)
    if len(data) != size:
        raise ValueError("it is cut short")
    return data
