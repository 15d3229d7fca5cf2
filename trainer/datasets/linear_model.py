# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces of a published linear model: a mean face, plus identity shapes, plus expression shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .alignment import align_rigidly

BLOCK = 50


@dataclass
class LinearModel:
    """x = align(mean + sum_i a_i identity_i) + sum_j e_j expression_j.

    Without the expression, since an open jaw moves a face's centroid and should not move its skull.

    Attributes:
        mean: [N, 3] mm, Z up, face along -Y; its centroid goes to the origin.
        identity: float32 [I, N, 3] mm.
        expression: float32 [E, N, 3] mm.
    """

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray

    def __post_init__(self):
        self.mean = self.mean - self.mean.mean(axis=0)

    def faces(self, identity: np.ndarray, expression: np.ndarray, rotate: bool) -> Iterator[np.ndarray]:
        """Faces in blocks, float32 [b, N, 3] each.

        Args:
            identity: weights [S, I].
            expression: weights [S, E].
            rotate: align by rotation too, not by the centroid alone.
        """
        mean = self.mean.astype(np.float32)
        for start in range(0, len(identity), BLOCK):
            block = slice(start, start + BLOCK)
            faces = align_rigidly(mean + _combined(identity[block], self.identity), self.mean, rotate)
            yield faces + _combined(expression[block], self.expression)


def _combined(weights: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Weighted sums of shapes, float32 [b, N, 3]."""
    flat = weights.astype(np.float32) @ shapes.reshape(len(shapes), math.prod(shapes.shape[1:]))
    return flat.reshape(len(weights), *shapes.shape[1:])
