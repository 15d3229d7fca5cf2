# SPDX-License-Identifier: GPL-3.0-or-later
"""The open edge of the neck held where a body is welded to it.

The mesh ends in a loop of boundary edges. What the edge must move to be back in its place is spread over the neck by
the smoothest field there is: the one of least squared umbrella Laplacian (Botsch & Kobbelt, *An Intuitive Framework for
Real-Time Freeform Modeling*, SIGGRAPH 2004), with the two rows of vertices next to the edge moving as the edge does,
so that shading runs on into the body, and nothing moving above the band. It is linear in the edge: one small product.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from .model import FaceModel
from .polygons import polygon_sides

BAND = 45.0  # mm along the surface that take the change up.
ROWS = 1  # Rows of vertices above the edge that move with it.
SHORTEST = 100.0  # mm: a shorter opening (a nostril, the lids) is no neck.


class Neck:
    """The neck's edge of a model, and how the neck follows it.

    Attributes:
        edge: int [R], vertices of the open edge, in order; empty when the mesh has none.
        mean_edge: float32 [R, 3], where they are on the mean face, mm.
    """

    def __init__(self, model: FaceModel):
        edges, used = _edges(model)
        self.edge = _neck_edge(model.mean, edges[used == 1])
        self.mean_edge = model.mean[self.edge].astype(np.float32)
        if len(self.edge):
            self._moved, self._spread = _spread(model.mean.astype(np.float64), edges, self.edge)

    def hold(self, vertices: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The face with its neck's edge exactly at a place, and the neck between in smooth transition.

        Args:
            vertices: float32 [N, 3] in mm.
            target: float32 [R, 3] in mm, where the edge has to be.

        Returns:
            float32 [N, 3], a new array; the same when the model has no open neck.
        """
        if not len(self.edge):
            return vertices
        held = vertices.copy()
        held[self._moved] += self._spread @ (target - vertices[self.edge])
        held[self.edge] = target
        return held


def _edges(model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Edges int [E, 2] and in how many polygons each is."""
    both = np.sort(polygon_sides(model.polygon_sizes, model.polygon_vertices), axis=1)
    return np.unique(both, axis=0, return_counts=True)


def _neck_edge(mean: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    """The lowest of the long loops among boundary edges int [B, 2], as vertices in order."""
    neighbours = defaultdict(list)
    for a, b in boundary.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    best, lowest = np.empty(0, dtype=np.int64), np.inf
    seen: set[int] = set()
    for start in neighbours:
        loop, vertex = [], start
        while vertex is not None and vertex not in seen:
            seen.add(vertex)
            loop.append(vertex)
            vertex = next((other for other in neighbours[vertex] if other not in seen), None)
        points = mean[loop]
        closes = len(loop) > 2 and loop[0] in neighbours[loop[-1]]
        length = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1).sum()
        if closes and length > SHORTEST and points[:, 2].mean() < lowest:
            best, lowest = np.array(loop), points[:, 2].mean()
    return best


def _spread(mean: np.ndarray, edges: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that follow the edge, int [M], and by how much of each edge vertex, float32 [M, R]."""
    count = len(mean)
    both = np.concatenate([edges, edges[:, ::-1]])
    lengths = np.linalg.norm(mean[both[:, 0]] - mean[both[:, 1]], axis=1)

    # Distance along mesh edges (Bellman-Ford: the band is a few rows of vertices), and the edge vertex it leads to.
    distance, nearest = np.full(count, np.inf), np.full(count, -1)
    distance[edge], nearest[edge] = 0, np.arange(len(edge))
    row = np.full(count, np.inf)
    row[edge] = 0
    while True:
        reached = distance[both[:, 0]] + lengths
        order = np.argsort(reached, kind="stable")[::-1]  # The shortest comes last, and wins.
        best = np.full(count, np.inf)
        best[both[order, 1]] = reached[order]
        closer = np.flatnonzero((best < distance - 1e-9) & (best < 2 * BAND))
        if not len(closer):
            break
        source = np.full(count, -1)
        source[both[order, 1]] = both[order, 0]
        distance[closer], nearest[closer] = best[closer], nearest[source[closer]]
    for step in range(1, ROWS + 1):
        rim = both[row[both[:, 0]] == step - 1, 1]
        row[rim] = np.minimum(row[rim], step)

    free = np.flatnonzero((row > ROWS) & (distance < BAND))
    stiff = np.flatnonzero((row <= ROWS) & (row > 0))
    moved = np.concatenate([free, stiff])
    weights = np.zeros((len(moved), len(edge)))
    weights[np.arange(len(free), len(moved)), nearest[stiff]] = 1
    # |L u|^2 over all vertices that see a moved one; those above the band are fixed at 0.
    local = np.full(count, -1)
    known = np.concatenate([stiff, edge])
    local[free], local[known] = np.arange(len(free)), len(free) + np.arange(len(known))
    rows = np.unique(both[local[both[:, 0]] >= 0, 1])
    place = np.full(count, -1)
    place[rows] = np.arange(len(rows))
    inside = both[(place[both[:, 0]] >= 0) & (local[both[:, 1]] >= 0)]
    degree = np.bincount(both[:, 0], minlength=count)
    laplacian = np.zeros((len(rows), len(free) + len(known)))
    laplacian[place[inside[:, 0]], local[inside[:, 1]]] = 1 / degree[inside[:, 0]]
    own = rows[local[rows] >= 0]
    laplacian[place[own], local[own]] = -1
    values = np.concatenate([weights[len(free) :], np.eye(len(edge))])
    known_part = laplacian[:, len(free) :] @ values
    if len(free):
        # Normal equations: four times as fast as `lstsq`, and as exact as float32 shows.
        free_part = laplacian[:, : len(free)]
        weights[: len(free)] = np.linalg.solve(free_part.T @ free_part, -free_part.T @ known_part)
    return moved, weights.astype(np.float32)
