# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial actions (jawOpen, eyeBlinkLeft, ...) as changes of a face's vertices that follow the person.

An action moves vertex v of a face x by

    delta_v + share_v (R - I) (d_v - d_pivot) + d(target of v) - d(v),     d = x - mean face.

delta is the action on the mean face, the same for all persons but for two terms. What turns about a bone (jaw,
eyeballs) turns about the person's own pivot. And lids close on the person's own lids: where an action that closes
brings a vertex near to others on the mean face, it goes with them. Both terms are linear in d, so that a face that
changes changes its shape keys by `Follower.change` of its own change alone, whatever an artist did to the keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .errors import LwaeError

EDGE_MM = 1.2  # What comes as near to skin that stays is the edge of a lid.
BESIDE_MM = 2.0  # How far along the lid an edge is felt.
STAYS = 0.2  # Share of the largest motion of an action up to which a vertex counts as staying.
NEAREST = 6
BLOCK = 256
FARTHEST_MM = 1e4  # that an action may move a vertex


def _none(*shape: int, dtype: type = np.float32):
    return field(default_factory=lambda: np.zeros(shape, dtype))


@dataclass(frozen=True)
class Expressions:
    """E actions; each moves some vertices, R in all, action after action.

    Attributes:
        names: of the actions, ARKit's where there is one.
        sizes: int32 [E], vertices of each action.
        vertices: int32 [R].
        deltas: float32 [R, 3], mm at strength 1 on the mean face.
        shares: float32 [R], how much of the turn each vertex takes.
        turns: float32 [E, 3, 3], R - I; zeros for an action that does not turn.
        pivot_vertices, pivot_weights: int32 [E, P], float32 [E, P]: a person's pivot moves from the mean face's as
            these vertices do, weighted.
        closes: bool [E].
    """

    names: list[str] = field(default_factory=list)
    sizes: np.ndarray = _none(0, dtype=np.int32)
    vertices: np.ndarray = _none(0, dtype=np.int32)
    deltas: np.ndarray = _none(0, 3)
    shares: np.ndarray = _none(0)
    turns: np.ndarray = _none(0, 3, 3)
    pivot_vertices: np.ndarray = _none(0, 1, dtype=np.int32)
    pivot_weights: np.ndarray = _none(0, 1)
    closes: np.ndarray = _none(0, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, index: int) -> slice:
        """Rows of an action in `vertices`, `deltas` and `shares`."""
        return slice(int(self._ends[index] - self.sizes[index]), int(self._ends[index]))

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.sizes, dtype=np.int64)


class Follower:
    """The actions of one model on any of its faces."""

    def __init__(self, expressions: Expressions, mean: np.ndarray, skin: np.ndarray):
        """
        Args:
            mean: float32 [N, 3] mm, the face that the deltas are of.
            skin: bool [N], vertices that lids may close on: not the eyeballs.
        """
        self.expressions = expressions
        self.mean = mean
        self._skin = skin
        self._rows = [expressions.rows(index) for index in range(len(expressions))]
        self._follows = expressions.turns.any(axis=(1, 2)) | expressions.closes
        # Of actions that differ from person to person: vertices that do, and what `change` needs; made on first use.
        self._terms: dict[int, tuple] = {}
        self.numbers = {name: index for index, name in enumerate(expressions.names)}

    def delta(self, index: int, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """An action on a face, float32 [N, 3] mm: the vertices [n] that it moves, and how far, float32 [n, 3]."""
        vertices, deltas = (array[self._rows[index]] for array in (self.expressions.vertices, self.expressions.deltas))
        own = self.change(index, face - self.mean)
        if own is not None:
            deltas = deltas.copy()
            deltas[np.searchsorted(vertices, own[0])] += own[1]
        return vertices, deltas

    def change(self, index: int, change: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """How an action on a face changes when the face does.

        Args:
            change: float32 [N, 3], of the face's vertices, in any unit.

        Returns:
            Vertices [m] whose delta changes and by how much, float32 [m, 3]; None when it is the same on all faces.
        """
        if not self._follows[index]:
            return None
        if index not in self._terms:
            self._terms[index] = self._term(index)
        vertices, shares, turn, pivot, weights, involved, matrix = self._terms[index]
        if involved is not None:
            return vertices, matrix @ np.take(change, involved, axis=0)
        own = np.take(change, vertices, axis=0)
        own -= weights @ np.take(change, pivot, axis=0)
        return vertices, shares * (own @ turn)

    def _term(self, index: int) -> tuple:
        known, rows = self.expressions, self._rows[index]
        vertices = known.vertices[rows]
        if known.turns[index].any():
            some = np.flatnonzero(known.shares[rows])
            turn, pivot = np.ascontiguousarray(known.turns[index].T), known.pivot_vertices[index]
            return vertices[some], known.shares[rows][some, None], turn, pivot, known.pivot_weights[index], None, None
        involved, matrix = self._lid_matrix(rows)
        some = np.flatnonzero(matrix.any(axis=1))
        return vertices[some], None, None, None, None, involved, np.ascontiguousarray(matrix[some])

    def _lid_matrix(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """What a closing action adds on a person, as a linear function of how the person differs from the mean face.

        A lid's edge is what comes near to skin that stays: it must meet that skin on all faces. The rest of the lid
        goes with the edge beside it, the less the less the action moves it.

        Returns:
            Vertices [m] that count, and what the action's own n vertices take of their change, float32 [n, m].
        """
        vertices, deltas = self.expressions.vertices[rows], self.expressions.deltas[rows]
        moved = np.linalg.norm(deltas, axis=1)
        goes = moved > STAYS * moved.max(initial=0)
        lid = np.flatnonzero(goes & self._skin[vertices])
        stays = self._skin.copy()
        stays[vertices[goes]] = False
        targets = self.mean[vertices] + deltas
        low, high = targets[lid].min(axis=0, initial=np.inf) - 10, targets[lid].max(axis=0, initial=-np.inf) + 10
        others = np.flatnonzero(stays & ((self.mean > low) & (self.mean < high)).all(axis=1))
        there = self.mean[others]  # with what the action does to them
        own = np.flatnonzero(np.isin(vertices, others))
        there[np.searchsorted(others, vertices[own])] += deltas[own]
        if not len(lid) or not len(others):
            return np.zeros(0, np.int64), np.zeros((len(vertices), 0), np.float32)
        nearest, weights = _nearest(targets[lid], there, EDGE_MM)
        edge = np.flatnonzero(np.linalg.norm(targets[lid] - there[nearest[:, 0]], axis=1) < EDGE_MM)
        if not len(edge):
            return np.zeros(0, np.int64), np.zeros((len(vertices), 0), np.float32)
        involved = np.union1d(others[nearest[edge]], vertices[lid[edge]])
        gap = np.zeros((len(edge), len(involved)), np.float32)
        np.put_along_axis(gap, np.searchsorted(involved, others[nearest[edge]]), weights[edge], axis=1)
        gap[np.arange(len(edge)), np.searchsorted(involved, vertices[lid[edge]])] -= 1
        beside, weights = _nearest(self.mean[vertices[lid]], self.mean[vertices[lid[edge]]], BESIDE_MM)
        most = (weights * moved[lid[edge]][beside]).sum(axis=1)
        part = np.clip((moved[lid] / most - STAYS) / (1 - 2 * STAYS), 0, 1)[:, None]
        matrix = np.zeros((len(vertices), len(involved)), np.float32)
        matrix[lid] = np.einsum("ne,nem->nm", part * weights, gap[beside])
        return involved, matrix


def _nearest(points: np.ndarray, others: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The few others nearest to each point, the nearest first, and weights that fall off with their distance beyond
    that of the nearest and add up to 1: int64 and float32 [points, up to NEAREST]."""
    orders, nears = [], []
    for start in range(0, len(points), BLOCK):
        distances = np.linalg.norm(points[start : start + BLOCK, None] - others, axis=2)
        orders.append(np.argsort(distances, axis=1)[:, :NEAREST])
        nears.append(np.take_along_axis(distances, orders[-1], axis=1))
    order, near = np.concatenate(orders), np.concatenate(nears)
    weights = np.exp(-(((near - near[:, :1]) / width) ** 2))
    return order, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def check_expressions(expressions: Expressions, vertex_count: int) -> None:
    """Raises LwaeError when arrays do not fit each other or the mesh."""
    known, count, rows = expressions, len(expressions.names), len(expressions.vertices)
    pivots = known.pivot_vertices.shape[-1] if known.pivot_vertices.ndim == 2 else -1
    expected = {
        "sizes": (count,),
        "vertices": (rows,),
        "deltas": (rows, 3),
        "shares": (rows,),
        "turns": (count, 3, 3),
        "pivot_vertices": (count, pivots),
        "pivot_weights": (count, pivots),
        "closes": (count,),
    }
    for name, shape in expected.items():
        if getattr(known, name).shape != shape:
            raise LwaeError(f"the expressions' {name} have shape {getattr(known, name).shape} instead of {shape}.")
    if not all(isinstance(name, str) and name for name in known.names) or len(set(known.names)) != count:
        raise LwaeError("two expressions have the same name, or one has none.")
    if (known.sizes < 0).any() or known.sizes.sum(dtype=np.int64) != rows:
        raise LwaeError("the sizes of the expressions do not add up to their vertices.")
    for array in (known.vertices, known.pivot_vertices):
        if array.size and not 0 <= array.min() <= array.max() < vertex_count:
            raise LwaeError("an expression names a vertex that does not exist.")
    for index in range(count):
        if (np.diff(known.vertices[known.rows(index)]) <= 0).any():
            raise LwaeError(f"the vertices of the expression {known.names[index]!r} do not rise.")
    for array in (known.deltas, known.shares, known.turns, known.pivot_weights):
        if not np.isfinite(array).all():
            raise LwaeError("the expressions contain NaN or infinite numbers.")
    if np.abs(known.deltas).max(initial=0) > FARTHEST_MM:
        raise LwaeError("an expression moves a vertex farther than any face is large.")
