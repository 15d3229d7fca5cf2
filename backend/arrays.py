# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays from files that nobody vouches for."""

from __future__ import annotations

import contextlib
import importlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from .errors import LwaeError


def _errors_of_compressors() -> Iterator[type[Exception]]:
    """Of those that this Python has, and its `zipfile` uses."""
    for module, name in (("lzma", "LZMAError"), ("compression.zstd", "ZstdError")):
        with contextlib.suppress(ImportError):
            yield getattr(importlib.import_module(module), name)


# What reading a zip of arrays, or JSON, raises when bits of it are wrong.
UNREADABLE = (
    *_errors_of_compressors(),
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    OverflowError,
    NotImplementedError,
    OSError,  # A damaged directory sends readers before the file's beginning.
    RuntimeError,  # An encrypted member, JSON that is nested without end.
    MemoryError,
)

# What an array may hold that is asked for as float, int, uint or bool, by NumPy's letters.
KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}


def typed(arrays: dict[str, np.ndarray], name: str, dtype: type, dimensions: int) -> np.ndarray:
    """An array as `dtype` in C order; an integer one must hold integers of that range.

    Raises:
        LwaeError: when it is missing, or has another number of dimensions or other numbers.
    """
    if name not in arrays:
        raise LwaeError(f"the array {name!r} is missing.")
    array = arrays[name]
    if array.ndim != dimensions:
        raise LwaeError(f"the array {name!r} has {array.ndim} dimensions instead of {dimensions}.")
    kind = np.dtype(dtype).kind
    if array.dtype.kind not in KINDS[kind]:
        what = {"f": "numbers", "b": "yes or no"}.get(kind, "small integers")
        raise LwaeError(f"the array {name!r} does not hold {what}.")
    if kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if not limits.min <= array.min() <= array.max() <= limits.max:
            raise LwaeError(f"the array {name!r} does not hold small integers.")
    with np.errstate(over="ignore"):  # What is too large gets infinite, and is refused as such.
        return np.ascontiguousarray(array, dtype=dtype)
