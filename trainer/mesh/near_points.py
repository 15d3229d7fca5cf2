# SPDX-License-Identifier: GPL-3.0-or-later
"""Closest points of one mesh for many sets of points: a tree that is made once, for fits that ask again and again."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from backend.surface import Closest

from .closest_point import project

CANDIDATES = 12  # triangles that are looked at for each point


def make_closest(vertices: np.ndarray, triangles: np.ndarray) -> Closest:
    """A function from points [P, 3] to their closest points [P, 3] and these points' triangles int [P].

    Each triangle is found by its middle, its corners and the middles of its sides, and the nearest few are measured
    exactly. Where many small triangles hide a large one it may miss that; `closest_points` never does, at ten times
    the cost.
    """
    vertices, triangles = np.asarray(vertices, dtype=np.float64), np.asarray(triangles, dtype=np.int64)
    corners = vertices[triangles]
    sides = 0.5 * (corners + np.roll(corners, -1, axis=1))
    # Corners a little inside, so that the triangles around a vertex are told apart.
    middle = corners.mean(axis=1, keepdims=True)
    inner = 0.9 * corners + 0.1 * middle
    marks = np.concatenate([middle, inner, sides], axis=1).reshape(-1, 3)
    tree, marks_each = cKDTree(marks), 7
    candidates = min(CANDIDATES, len(marks))

    def closest(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = tree.query(points, k=candidates)[1].reshape(len(points), -1) // marks_each
        shares, distances = project(np.repeat(points, found.shape[1], axis=0), corners[found.ravel()])
        best = distances.reshape(found.shape).argmin(axis=1)
        rows = np.arange(len(points))
        chosen = found[rows, best]
        shares = shares.reshape(*found.shape, 3)[rows, best]
        return np.einsum("pc,pci->pi", shares, corners[chosen]), chosen

    return closest
