# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygon meshes: sides, triangles, normals and areas.

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


def polygon_sides(polygon_sizes: np.ndarray, polygon_vertices: np.ndarray) -> np.ndarray:
    """From each corner to the next of its polygon, int64 [corners, 2]."""
    sizes = np.asarray(polygon_sizes, dtype=np.int64)
    corners = np.asarray(polygon_vertices, dtype=np.int64)
    following = np.arange(1, len(corners) + 1)
    following[np.cumsum(sizes) - 1] = polygon_starts(sizes)
    return np.stack([corners, corners[following]], axis=1)


def have_edges(polygon_sizes: np.ndarray, polygon_vertices: np.ndarray, edges: np.ndarray) -> bool:
    """Whether a mesh with these edges [E, 2] consists of these polygons, in any order, whole or split by diagonals."""

    def keys(pairs: np.ndarray) -> np.ndarray:
        low, high = np.sort(np.asarray(pairs, dtype=np.int64), axis=1).T
        return np.unique(low << 32 | high)

    mine, theirs = keys(polygon_sides(polygon_sizes, polygon_vertices)), keys(edges)
    diagonals = int(np.sum(np.asarray(polygon_sizes, dtype=np.int64) - 3))
    return bool(np.isin(mine, theirs).all()) and len(theirs) <= len(mine) + diagonals


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


def area_vectors(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Normals as long as twice the triangles' areas, float64 [T, 3]."""
    a, b, c = np.asarray(vertices, dtype=np.float64)[np.asarray(triangles).T]
    return np.cross(b - a, c - a)


def gather(values: np.ndarray, triangles: np.ndarray, count: int) -> np.ndarray:
    """Sums of values [T, 3] over the triangles around each of `count` vertices, float64 [count, 3]."""
    corners = np.asarray(triangles).ravel()
    return np.stack([np.bincount(corners, np.repeat(column, 3), minlength=count) for column in values.T], axis=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] of length 1; zero where they were."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, float64 [N, 3]; zero where no triangle has an area."""
    return unit(gather(area_vectors(vertices, triangles), triangles, len(vertices)))


def triangle_areas(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area of each triangle, float64 [T], in squared units of the vertices."""
    return 0.5 * np.linalg.norm(area_vectors(vertices, triangles), axis=1)


def vertex_areas(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """A third of the area of the triangles around each vertex, float64 [N]."""
    areas = np.repeat(triangle_areas(vertices, triangles) / 3.0, 3)
    return np.bincount(np.asarray(triangles).ravel(), weights=areas, minlength=len(vertices))
