# SPDX-License-Identifier: GPL-3.0-or-later
"""A triangle mesh as a surface: normals, open edges, even samples, closest points.

How closest points are found is the caller's affair (a tree in Blender, SciPy in the trainer); the rest is here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .errors import LwaeError
from .polygons import area_vectors, gather, unit

# Points [P, 3] to the closest points of a mesh [P, 3] and the triangles that these lie on, int [P].
Closest = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
# Makes the former from vertices [N, 3] and triangles [T, 3].
MakeClosest = Callable[[np.ndarray, np.ndarray], Closest]

SMOOTHINGS = 2  # Rounds of averaging normals, against the noise of scans.
INFINITE = 1e12  # What searches in single precision take: squares of it are finite.
NO_AREA = "The mesh has no faces with an area, so there is no surface to fit to."


class Surface:
    """A mesh whose vertices at one place count as one, without those that no triangle names.

    Attributes:
        vertices: float64 [N, 3].
        triangles: int64 [T, 3]; those without area are left out.
        areas: float64 [T].
        normals: float64 [N, 3], of unit length where triangles meet, smoothed a little.
        open_edge: bool [N], vertices on an edge that only one triangle has.
    """

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray):
        """
        Args:
            vertices: [N, 3].
            triangles: int [T, 3].

        Raises:
            LwaeError: no triangle has an area, or positions are not finite.
        """
        triangles = np.asarray(triangles, dtype=np.int64).reshape(-1, 3)
        named, corners = np.unique(triangles, return_inverse=True)
        if not len(named):
            raise LwaeError(NO_AREA)
        vertices = np.asarray(vertices, dtype=np.float64)[named]
        if not (np.abs(vertices) < INFINITE).all():
            raise LwaeError("Some vertices of the mesh are NaN or infinite; repair them first.")
        # Files without shared vertices (STL) would have open edges all over.
        self.vertices, number = _welded(vertices)
        triangles = number[corners.reshape(triangles.shape)]
        cross = area_vectors(self.vertices, triangles)
        doubled = np.linalg.norm(cross, axis=1)
        kept = doubled > 1e-14 * np.ptp(self.vertices, axis=0).max(initial=0.0) ** 2
        if not kept.any():
            raise LwaeError(NO_AREA)
        self.triangles, self.areas = triangles[kept], 0.5 * doubled[kept]
        self.normals = _smooth_normals(cross[kept], self.triangles, len(self.vertices))
        self.open_edge = np.zeros(len(self.vertices), dtype=bool)
        self.open_edge[open_vertices(self.triangles)] = True

    def flipped(self) -> Surface:
        """The same surface seen from its other side."""
        return Surface(self.vertices, self.triangles[:, ::-1])

    def normals_at(self, points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """Interpolated unit normals at points [P, 3] on triangles int [P]: float64 [P, 3]."""
        corners = self.triangles[triangles]
        shares = barycentric(points, self.vertices[corners])
        return unit(np.einsum("pc,pci->pi", shares, self.normals[corners]))

    def sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points drawn evenly over the area: positions [P, 3], unit normals [P, 3], triangles int [P]."""
        share = (np.arange(count) + rng.random(count)) / count
        chosen = np.searchsorted(np.cumsum(self.areas), share * self.areas.sum())
        chosen = np.minimum(chosen, len(self.areas) - 1)
        root, share = np.sqrt(rng.random(count)), rng.random(count)
        shares = np.stack([1 - root, root * (1 - share), root * share], axis=1)
        corners = self.triangles[chosen]
        points = np.einsum("pc,pci->pi", shares, self.vertices[corners])
        return points, unit(np.einsum("pc,pci->pi", shares, self.normals[corners])), chosen


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Barycentric coordinates [P, 3] of points [P, 3] in triangles [P, 3, 3], not negative, summing to 1."""
    a, u, v = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = points - a
    uu, uv, vv, up, vp = (np.einsum("pi,pi->p", x, y) for x, y in ((u, u), (u, v), (v, v), (u, p), (v, p)))
    determinant = np.maximum(uu * vv - uv * uv, 1e-30)
    s, t = (vv * up - uv * vp) / determinant, (uu * vp - uv * up) / determinant
    shares = np.clip(np.stack([1 - s - t, s, t], axis=1), 0, 1)
    return shares / shares.sum(axis=1, keepdims=True)


def _welded(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that differ, and for each old vertex the number of its new one."""
    grid = 1e-7 * max(float(np.ptp(vertices, axis=0).max(initial=0.0)), 1e-30)
    keys = np.round((vertices - vertices.min(axis=0, initial=0.0)) / grid).astype(np.int64)
    order = np.lexsort(keys.T)
    new = np.ones(len(vertices), dtype=bool)
    new[1:] = (keys[order][1:] != keys[order][:-1]).any(axis=1)
    number = np.empty(len(vertices), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return vertices[order[new]], number


def _smooth_normals(cross: np.ndarray, triangles: np.ndarray, count: int) -> np.ndarray:
    normals = unit(gather(cross, triangles, count))
    for _ in range(SMOOTHINGS):
        weights = np.linalg.norm(cross, axis=1, keepdims=True)
        normals = unit(gather(weights * normals[triangles].sum(axis=1), triangles, count))
    return normals


def open_vertices(triangles: np.ndarray) -> np.ndarray:
    """Vertices of the edges that only one triangle has, int [2 E], with repetitions."""
    edges = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    _, first, uses = np.unique(edges[:, 0] * (triangles.max() + 1) + edges[:, 1], return_index=True, return_counts=True)
    return edges[first[uses == 1]].ravel()
