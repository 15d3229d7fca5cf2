# SPDX-License-Identifier: GPL-3.0-or-later
"""The regression of `refit`: at every vertex a linear map from the codes of the parts that reach it, at all together.

With z the codes, r what is wanted, z' codes whose parts come from different people, and D_v the map at vertex v, it
minimises

    sum_v ( E|r_v - D_v z|^2 + penalty E|D_v z'|^2 ) + E (D z')^T Q (D z').

People agree in hundreds of directions in which strangers' parts do not: without the penalty a map would rely on that,
and give strangers' parts large things to cancel. Q measures bending. Without it a map would change at once where a part
ends, and mixes would show that edge.

Conjugate gradients (Hestenes & Stiefel 1952). A part's numbers are nearly of unit variance and unrelated, as a PCA made
them, so (1 + penalty) I + Q on each part's vertices, factorised once, is so good a preconditioner that a dozen or two
of steps are enough, however stiff Q is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from .mesh.symmetric_solver import symmetric_solver
from .regression import Moments

TOLERANCE = 1e-2  # of the error's norm, relative to that of the start
MOST_STEPS = 60

# For each part, float32 [n, 3, Z_k].
Fields = list[np.ndarray]


class SmoothRegression:
    """What one set of codes and one way of penalising make of wanted products."""

    def __init__(
        self, reached: list[np.ndarray], columns: list[slice], moments: Moments, penalty: float, q: sp.spmatrix
    ):
        """
        Args:
            reached: of each part, the vertices int [n] that it reaches, sorted.
            columns: of each part, its numbers in a code.
            q: Q, float64 [N, N].
        """
        own = [q.tocsr()[vertices][:, vertices] for vertices in reached]
        self._bending = [matrix.astype(np.float32) for matrix in own]
        self._apart = [moments.apart[part, part].astype(np.float32) for part in columns]
        self._solvers = [
            symmetric_solver((matrix + (1 + penalty) * sp.eye(len(vertices))).astype(np.float32))
            for matrix, vertices in zip(own, reached, strict=True)
        ]
        self._places = []
        gram = moments.together + penalty * moments.apart
        for parts, vertices in groups(reached, q.shape[0]):
            codes = np.concatenate([np.arange(len(gram))[columns[part]] for part in parts])
            places = [np.searchsorted(reached[part], vertices) for part in parts]
            ends = np.cumsum([len(self._apart[part]) for part in parts])[:-1]
            self._places.append((parts, places, gram[np.ix_(codes, codes)].astype(np.float32), ends))

    def solve(self, products: list[np.ndarray]) -> list[np.ndarray]:
        """D of each part, float32 [Z_k, n, 3], from E[z r^T] of each part, [Z_k, n, 3]."""
        wanted = [np.ascontiguousarray(np.moveaxis(field, 0, 2), dtype=np.float32) for field in products]
        return [np.ascontiguousarray(np.moveaxis(field, 2, 0)) for field in self._descend(wanted)]

    def _descend(self, rest: Fields) -> Fields:
        found = [np.zeros_like(field) for field in rest]
        nearer = self._precondition(rest)
        way = [field.copy() for field in nearer]
        size = start = _dot(rest, nearer)
        for _ in range(MOST_STEPS):
            if size <= TOLERANCE**2 * start:
                break
            image = self._apply(way)
            step = np.float32(size / _dot(way, image))
            for k in range(len(found)):
                found[k] += step * way[k]
                rest[k] -= step * image[k]
            nearer = self._precondition(rest)
            before, size = size, _dot(rest, nearer)
            for k in range(len(found)):
                way[k] *= np.float32(size / before)
                way[k] += nearer[k]
        return found

    def _apply(self, fields: Fields) -> Fields:
        """Half of what the gradient has that is linear in D."""
        result = [
            _columns(lambda x, q=q: q @ x, field) @ apart
            for q, field, apart in zip(self._bending, fields, self._apart, strict=True)
        ]
        for parts, places, gram, ends in self._places:
            here = np.concatenate([fields[part][place] for part, place in zip(parts, places, strict=True)], axis=2)
            for part, place, more in zip(parts, places, np.split(here @ gram, ends, axis=2), strict=True):
                result[part][place] += more
        return result

    def _precondition(self, fields: Fields) -> Fields:
        return [_columns(solve, field) for solve, field in zip(self._solvers, fields, strict=True)]


def groups(reached: list[np.ndarray], count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertices that the same parts reach: for each such set the numbers of the parts, and the vertices.

    Args:
        reached: of each part, the vertices int [n] that it reaches.
        count: of vertices.
    """
    table = np.zeros((len(reached), count), dtype=bool)
    for part, vertices in enumerate(reached):
        table[part, vertices] = True
    sets, which = np.unique(table, axis=1, return_inverse=True)
    return [
        (np.flatnonzero(sets[:, number]), np.flatnonzero(which.ravel() == number))
        for number in range(sets.shape[1])
        if sets[:, number].any()
    ]


def _columns(function: Callable[[np.ndarray], np.ndarray], field: np.ndarray) -> np.ndarray:
    """A linear function of vectors over vertices, of each of a field's, [n, 3, Z_k]."""
    return function(field.reshape(len(field), -1)).reshape(field.shape)


def _dot(one: Fields, other: Fields) -> float:
    return float(sum(np.vdot(a, b) for a, b in zip(one, other, strict=True)))
