# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays from files that nobody vouches for."""

from __future__ import annotations

import numpy as np

from .errors import LwaeError


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
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        if array.dtype.kind not in "iu" or (array.size and not limits.min <= array.min() <= array.max() <= limits.max):
            raise LwaeError(f"the array {name!r} does not hold small integers.")
    return np.ascontiguousarray(array, dtype=dtype)
