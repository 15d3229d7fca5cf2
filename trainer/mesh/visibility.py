# SPDX-License-Identifier: GPL-3.0-or-later
"""Which vertices can be seen from outside: eye sockets and the inside of the mouth cannot."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, QhullError

FLIP_EXPONENT = 2.0  # of the flipping sphere's radius: larger sees more, and through thin walls


def visibility(vertices: np.ndarray, normals: np.ndarray, views: int = 40) -> np.ndarray:
    """Share of the viewpoints around a shape from which each vertex is seen, float64 [N] in 0..1.

    Hidden point removal (Katz, Tal & Basri 2007): reflected outwards on a sphere around the viewer, the
    visible points are those on the convex hull. A vertex that faces away from the viewer does not count as
    seen. A viewer who sees mostly such vertices stands behind a mask, or beside half a head, and looks into it: what
    else is seen from there is the inside of a mouth, and does not count either.

    Args:
        vertices: [N, 3].
        normals: [N, 3], outwards.
        views: how many viewpoints, evenly spread on a sphere.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    centred = vertices - 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    radius = float(np.linalg.norm(centred, axis=1).max()) or 1.0
    i = np.arange(views) + 0.5
    polar, turn = np.arccos(1 - 2 * i / views), np.pi * (1 + 5**0.5) * i
    directions = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)
    seen = np.zeros(len(vertices))
    for viewer in 4.0 * radius * directions:
        offset = centred - viewer
        distance = np.linalg.norm(offset, axis=1, keepdims=True)
        flipped = offset * (2 * 10**FLIP_EXPONENT * distance.max() / distance - 1)
        try:
            hull = ConvexHull(np.concatenate([flipped, [[0.0, 0.0, 0.0]]])).vertices
        except QhullError:  # a flat or tiny shape: nothing hides anything
            hull = np.arange(len(vertices))
        hull = hull[hull < len(vertices)]
        fronts = np.einsum("vi,vi->v", offset[hull], normals[hull]) < 0
        if fronts.mean() >= 0.5:
            seen[hull[fronts]] += 1
    return seen / views
