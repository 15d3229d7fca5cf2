# SPDX-License-Identifier: GPL-3.0-or-later
"""What a regression of faces on the training faces' codes needs (`smooth_regression`): moments and signs."""

from __future__ import annotations

import numpy as np

from .equivariance import parity

BLOCK = 64

# Of each part or block: vertices [n] and basis [Z, n, 3].
Bases = list[tuple[np.ndarray, np.ndarray]]


class Moments:
    """E[z z^T] of all parts' codes.

    Attributes:
        together: of people, float64 [D, D].
        apart: of codes whose parts come from different people.
    """

    def __init__(self, codes: np.ndarray, parts: np.ndarray, signs: np.ndarray):
        """
        Args:
            codes: [S, D].
            parts: the part of each number, int [D].
            signs: see `signs_of`; among faces and their mirror images even and odd numbers have nothing in common.
        """
        z = codes.astype(np.float64)
        self.together = (np.outer(signs, signs) >= 0) * (z.T @ z) / len(z)
        self.apart = (parts[:, None] == parts) * self.together


def signs_of(bases: Bases, image: np.ndarray | None) -> np.ndarray:
    """Of each field 1 where it is even, -1 where it is odd, 0 where it is neither or there are no mirror images.

    Args:
        image: int [N], the mirror image of each vertex.
    """
    found = [None if image is None else parity(vertices, basis, image) for vertices, basis in bases]
    return np.concatenate([np.zeros(len(b)) if s is None else s for s, (_, b) in zip(found, bases, strict=True)])
