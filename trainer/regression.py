# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear maps from the training faces' codes that stay good when parts come from different people.

With z the codes and y what is wanted of them, D = E[y z^T] (C + penalty M)^-1 minimises

    E|y - D z|^2 + penalty E|D z'|^2,

z' being codes whose parts come from different people: C = E[z z^T], and M is C without what parts have to do with one
another. People agree in hundreds of directions in which strangers' parts do not: a map without the penalty would rely
on that, and give strangers' parts large things to cancel.
"""

from __future__ import annotations

import numpy as np

from .equivariance import parity

BLOCK = 64
HELD_OUT = 10  # Every so many training faces judge what is fitted to the others.

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

    def solve(
        self, products: np.ndarray, penalty: float | np.ndarray, own: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """D^T, [d, ...], from E[z y^T], [d, ...].

        Args:
            penalty: one, or one for each of the numbers, [d], the same for all of a part.
            own: the d numbers of a code that are looked at; default all.
        """
        apart = self.apart[own][:, own]
        gram = self.together[own][:, own] + np.broadcast_to(penalty, len(apart))[:, None] * apart
        return solve(gram, products.reshape(len(gram), -1)).reshape(products.shape)


def solve(gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """gram^-1 products, where directions of which there is next to nothing count nothing."""
    least = 1e-9 * np.trace(gram) / len(gram)
    return np.linalg.solve(gram + max(least, 1e-30) * np.eye(len(gram)), products)


def signs_of(bases: Bases, image: np.ndarray | None) -> np.ndarray:
    """Of each field 1 where it is even, -1 where it is odd, 0 where it is neither or there are no mirror images.

    Args:
        image: int [N], the mirror image of each vertex.
    """
    found = [None if image is None else parity(vertices, basis, image) for vertices, basis in bases]
    return np.concatenate([np.zeros(len(b)) if s is None else s for s, (_, b) in zip(found, bases, strict=True)])


def held_out(faces: int) -> np.ndarray:
    """Which of so many training faces judge what is fitted to the others, bool [faces]."""
    return np.arange(faces) % HELD_OUT == HELD_OUT - 1


def subtract(residual: np.ndarray, coefficients: np.ndarray, bases: Bases) -> None:
    """Take fields away from displacements, float32 [S, N, 3], in place.

    Args:
        coefficients: float32 [S, of all bases].
    """
    starts = np.cumsum([len(basis) for _, basis in bases])[:-1]
    for start in range(0, len(residual), BLOCK):
        faces = slice(start, start + BLOCK)
        for (vertices, basis), own in zip(bases, np.split(coefficients[faces], starts, axis=1), strict=True):
            field = own @ basis.reshape(len(basis), 3 * len(vertices))
            residual[faces, vertices] -= field.reshape(len(own), len(vertices), 3)
