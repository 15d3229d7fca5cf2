# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygon meshes: triangles and normals.

Polygons come as in Blender: `polygon_sizes` [F] (corners of each polygon) and `polygon_vertices` [sum of
sizes] (their vertex indices, one polygon after the other).
"""

from __future__ import annotations

import numpy as np

from .errors import LwaeError


def polygon_starts(polygon_sizes: np.ndarray) -> np.ndarray:
    """Offset of each polygon's first corner, int64 [F]."""
    sizes = np.asarray(polygon_sizes, dtype=np.int64)
    return np.cumsum(sizes) - sizes


def triangulate(polygon_sizes: np.ndarray, polygon_vertices: np.ndarray) -> np.ndarray:
    """Split polygons into triangle fans around their first corner, int64 [sum(sizes - 2), 3].

    Raises:
        LwaeError: a polygon has fewer than 3 corners, or the sizes do not add up to the corners.
    """
    sizes = np.asarray(polygon_sizes, dtype=np.int64)
    corners = np.asarray(polygon_vertices, dtype=np.int64)
    if sizes.sum() != len(corners):
        raise LwaeError(
            f"The polygon sizes add up to {sizes.sum()} corners, but there are {len(corners)}; re-export the mesh."
        )
    if len(sizes) and sizes.min() < 3:
        raise LwaeError(
            f"Polygon {int(sizes.argmin())} has fewer than 3 corners; delete it and re-export the mesh."
        )
    fan = sizes - 2
    first = np.repeat(polygon_starts(sizes), fan)
    step = np.arange(fan.sum()) - np.repeat(np.cumsum(fan) - fan, fan)
    return np.stack([corners[first], corners[first + step + 1], corners[first + step + 2]], axis=1)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, float64 [N, 3]; zero where no triangle has an area."""
    triangles = np.asarray(triangles)
    a, b, c = np.asarray(vertices, dtype=np.float64)[triangles.T]
    normal = np.cross(b - a, c - a)
    total = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(normal[:, i], 3), minlength=len(vertices)) for i in range(3)],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)
