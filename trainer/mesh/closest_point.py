# SPDX-License-Identifier: GPL-3.0-or-later
"""Closest points on a triangle mesh, exact and without loops over points."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

CHUNK = 400_000  # point-triangle pairs at a time


def closest_points(
    points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Closest point of the mesh to each of `points`.

    Args:
        points: [P, 3].
        vertices: [N, 3], same space.
        triangles: [T, 3] with T >= 1; triangles without area are allowed.

    Returns:
        The triangle of each closest point, int64 [P], and its barycentric coordinates there, float64 [P, 3]
        (non-negative, summing to 1). Of equally close triangles the one with the smallest index.
    """
    points = np.asarray(points, dtype=np.float64)
    corners = np.asarray(vertices, dtype=np.float64)[np.asarray(triangles)]
    # A sphere around each triangle: its box's centre and the farthest corner.
    centre = 0.5 * (corners.min(axis=1) + corners.max(axis=1))
    radius = np.linalg.norm(corners - centre[:, None], axis=2).max(axis=1)
    # Upper bound: the true distance to the triangle with the nearest centre.
    guess = cKDTree(centre).query(points)[1]
    bound = project(points, corners[guess])[1]

    # Only spheres that come nearer than the bound can hold the answer. Spheres of similar radius share a tree.
    pairs_point, pairs_triangle = [], []
    size = np.ceil(np.log2(np.maximum(radius, 1e-12)))
    for value in np.unique(size):
        members = np.flatnonzero(size == value)
        reach = bound * (1 + 1e-9) + radius[members].max()
        found = cKDTree(centre[members]).query_ball_point(points, reach, return_sorted=False)
        counts = np.fromiter(map(len, found), dtype=np.int64, count=len(points))
        flat = members[np.concatenate([np.asarray(f, dtype=np.int64) for f in found])]
        point = np.repeat(np.arange(len(points)), counts)
        near = np.linalg.norm(points[point] - centre[flat], axis=1) <= bound[point] * (1 + 1e-9) + radius[flat]
        pairs_point.append(point[near])
        pairs_triangle.append(flat[near])
    point, triangle = np.concatenate(pairs_point), np.concatenate(pairs_triangle)

    distance = np.concatenate(
        [
            project(points[point[i : i + CHUNK]], corners[triangle[i : i + CHUNK]])[1]
            for i in range(0, len(point), CHUNK)
        ]
    )
    order = np.lexsort((triangle, distance, point))
    first = np.searchsorted(point[order], np.arange(len(points)))
    best = triangle[order][first]
    return best, project(points, corners[best])[0]


def project(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric coordinates [P, 3] of the point of triangle p nearest to point p, and their distance [P]."""
    a = corners[:, 0]
    u, v, p = corners[:, 1] - a, corners[:, 2] - a, points - a
    uu, uv, vv = _dot(u, u), _dot(u, v), _dot(v, v)
    up, vp = _dot(u, p), _dot(v, p)
    det = uu * vv - uv * uv
    flat = det <= 1e-14 * uu * vv
    safe = np.where(flat, 1.0, det)
    s, t = (vv * up - uv * vp) / safe, (uu * vp - uv * up) / safe
    inside = ~flat & (s >= 0) & (t >= 0) & (s + t <= 1)

    # Outside the prism above the triangle: the best of the three sides, as (s, t).
    ab = _clip_ratio(up, uu)
    ac = _clip_ratio(vp, vv)
    bc = _clip_ratio(vp - up + uu - uv, uu + vv - 2 * uv)
    zero = np.zeros_like(ab)
    sides_s = np.stack([np.where(inside, s, ab), zero, 1 - bc], axis=1)
    sides_t = np.stack([np.where(inside, t, zero), ac, bc], axis=1)
    offset = p[:, None] - sides_s[..., None] * u[:, None] - sides_t[..., None] * v[:, None]
    distance = np.linalg.norm(offset, axis=2)
    best = np.where(inside, 0, distance.argmin(axis=1))
    row = np.arange(len(points))
    s, t = sides_s[row, best], sides_t[row, best]
    return np.stack([np.maximum(1 - s - t, 0), s, t], axis=1), distance[row, best]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("pi,pi->p", a, b)


def _clip_ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.clip(np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0), 0, 1)
