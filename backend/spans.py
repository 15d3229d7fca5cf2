# SPDX-License-Identifier: GPL-3.0-or-later
"""A linear map on vectors that keep to few directions, as those of a drag do.

A slider moves a code along one line, and what a smooth network makes of a line lies close to a space of a few
dimensions. So the fields of an orthonormal basis of what has been seen so far are kept, and the next vector's field is
their combination; only what sticks out of that space goes through the map itself (Gram-Schmidt, twice, in double
precision). Coefficients are found anew for every vector, so no error adds up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ROUNDING = 2.0**-21  # What sticks out by less than this share of a vector is its own rounding.


class Span:
    """The map v -> v @ F, F being [size, width] and known by a function alone."""

    def __init__(self, apply: Callable[[np.ndarray], np.ndarray], size: int, width: int, tolerance: float, most: int):
        """
        Args:
            apply: float32 [size] to float32 [width].
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

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """float [size] to float32 [width], an array of the caller's own."""
        vector = vector.astype(np.float64)
        least = max(self._tolerance, ROUNDING * float(np.linalg.norm(vector)))
        along, rest = self._split(vector)
        if np.linalg.norm(rest) > least:
            if self._count == len(self._axes):
                self.forget()
                along, rest = self._split(vector)
            length = np.linalg.norm(rest)
            axis = rest / length
            self._fields[self._count] = self._apply(axis.astype(np.float32))
            self._axes[self._count] = axis
            self._count += 1
            along = np.append(along, length)
        return along.astype(np.float32) @ self._fields[: self._count]

    def _split(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the known axes, and what is left."""
        axes = self._axes[: self._count]
        along = axes @ vector
        rest = vector - along @ axes
        again = axes @ rest
        return along + again, rest - again @ axes
