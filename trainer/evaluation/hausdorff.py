# SPDX-License-Identifier: GPL-3.0-or-later
"""The symmetric Hausdorff distance of two meshes, and along an interpolation."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from backend.decoder import Decoder
from trainer.mesh.closest_point import closest_points

from .mixing import interpolate_part

CHUNK = 64
STEPS = 4


def hausdorff_distance(a: np.ndarray, b: np.ndarray, triangles: np.ndarray) -> float:
    """How far the worse of two meshes gets from the other: the largest distance of a vertex of one to the surface
    of the other, both ways, in their unit.

    Exact for the vertices (points inside a triangle may be farther, by less than its size); those without a triangle
    do not count. A vertex can be no farther from a surface than from its nearest vertex, so few have to be projected.

    Args:
        a, b: [N, 3], sharing `triangles` [T, 3].
    """
    return max(_one_way(a, b, triangles), _one_way(b, a, triangles))


def interpolation_steps(
    decoder: Decoder, target: np.ndarray, source: np.ndarray, part: int, triangles: np.ndarray, steps: int = STEPS
) -> np.ndarray:
    """How far a face moves in each step while one part's code goes from its own to another face's.

    Args:
        target, source: codes float32 [D]; `source` gives part number `part`.
        triangles: int [T, 3].
        steps: how many equal steps.

    Returns:
        Symmetric Hausdorff distance between each step and the one before it, float64 [steps], mm.
    """
    faces = decoder.decode(interpolate_part(decoder.model, target, source, part, np.linspace(0, 1, steps + 1)))
    return np.array([hausdorff_distance(a, b, triangles) for a, b in zip(faces[:-1], faces[1:], strict=True)])


def _one_way(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> float:
    used = np.unique(triangles)
    points, vertices = points[used].astype(np.float64), vertices.astype(np.float64)
    bound = cKDTree(vertices[used]).query(points)[0]
    order = np.argsort(-bound)
    farthest = 0.0
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        if bound[chunk[0]] <= farthest:
            break
        triangle, barycentric = closest_points(points[chunk], vertices, triangles)
        nearest = np.einsum("pc,pcd->pd", barycentric, vertices[triangles[triangle]])
        farthest = max(farthest, float(np.linalg.norm(points[chunk] - nearest, axis=1).max()))
    return farthest
