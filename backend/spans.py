# SPDX-License-Identifier: GPL-3.0-or-later
"""A linear map on vectors that keep to few directions, as those of a drag do.

A slider moves a code along one line, and what a smooth network makes of a line lies close to a space of a few
dimensions. So the fields of an orthonormal basis of what has been seen so far are kept, and the next vector's field is
their combination; only what sticks out of that space goes through the map itself (Gram-Schmidt, twice, in double
precision). Coefficients are found anew for every vector, so no error adds up. Vectors that are likely to come can be
told beforehand: the map of many of them costs little more than that of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

ROUNDING = 2.0**-21  # What sticks out by less than this share of a vector is its own rounding.


class Span:
    """The map v -> v @ F, F being [size, width] and known by a function alone."""

    def __init__(self, apply: Callable[[np.ndarray], np.ndarray], size: int, width: int, tolerance: float, most: int):
        """
        Args:
            apply: float32 [n, size] to float32 [n, width].
            tolerance: length of a vector whose field does not matter.
            most: dimensions that are kept; a vector that needs one more starts over.
        """
        self._apply, self._tolerance = apply, tolerance
        self._axes = np.empty((most, size))
        self._fields = np.empty((most, width), dtype=np.float32)
        self._count = 0

    def forget(self) -> None:
        """Start over: vectors of another space follow."""
        self._count = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen since the start."""
        return self._count == 0

    def expect(self, vectors: np.ndarray) -> None:
        """Learn the space of vectors [n, size] that are likely to come, as far as there is room for it."""
        rest = self._split(np.asarray(vectors, dtype=np.float64))[1]
        _, lengths, axes = np.linalg.svd(rest, full_matrices=False)
        room = len(self._axes) - self._count
        self._keep(axes[lengths > max(self._tolerance, ROUNDING * np.abs(vectors).max(initial=0))][:room])

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """float [size] to float32 [width], an array of the caller's own."""
        vector = vector.astype(np.float64)
        least = max(self._tolerance, ROUNDING * length(vector))
        along, rest = self._split(vector)
        if length(rest) > least:
            if self._count == len(self._axes):
                self.forget()
                along, rest = self._split(vector)
            self._keep(rest[None] / length(rest))
            along = np.append(along, length(rest))
        return along.astype(np.float32) @ self._fields[: self._count]

    def _keep(self, axes: np.ndarray) -> None:
        own = slice(self._count, self._count + len(axes))
        if len(axes):
            self._fields[own] = self._apply(axes.astype(np.float32))
            self._axes[own] = axes
            self._count += len(axes)

    def _split(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the known axes, and what is left, of vectors [..., size]."""
        axes = self._axes[: self._count]
        along = vectors @ axes.T
        rest = vectors - along @ axes
        again = rest @ axes.T
        return along + again, rest - again @ axes


def length(vector: np.ndarray) -> float:
    return math.sqrt(vector @ vector)  # NumPy's own takes thrice as long
