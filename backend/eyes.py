# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the iris lies on the eyeballs of a model, for materials and pictures."""

from __future__ import annotations

import numpy as np

IRIS_RADIUS = 0.46  # In eyeball radii, as the pupil's.
PUPIL_RADIUS = 0.19


def eye_coordinates(mean: np.ndarray, polygons: list[np.ndarray]) -> np.ndarray:
    """Where each vertex lies on its eyeball seen from the front, on the mean face.

    Args:
        mean: float32 [N, 3] in mm, face along -Y.
        polygons: vertex numbers of each eye polygon.

    Returns:
        float32 [N, 3]: x and z in eyeball radii from its centre, and 1 on the front half; 0 off the eyes.
    """
    coordinates = np.zeros((len(mean), 3), dtype=np.float32)
    for vertices in islands(polygons):
        points = mean[vertices]
        low, high = points.min(axis=0), points.max(axis=0)
        radius = (high - low)[0] / 2 or 1.0
        offset = (points - (low + high) / 2) / radius
        coordinates[vertices] = np.column_stack([offset[:, 0], offset[:, 2], offset[:, 1] < 0.1])
    return coordinates


def islands(polygons: list[np.ndarray]) -> list[np.ndarray]:
    """Connected groups of polygons, as vertex numbers."""
    parent: dict[int, int] = {}

    def root(vertex: int) -> int:
        while parent.setdefault(vertex, vertex) != vertex:
            parent[vertex] = vertex = parent[parent[vertex]]
        return vertex

    for polygon in polygons:
        first, *others = (root(int(vertex)) for vertex in polygon)
        for other in others:
            parent[root(other)] = root(first)
    groups: dict[int, list[int]] = {}
    for vertex in parent:
        groups.setdefault(root(vertex), []).append(vertex)
    return [np.array(sorted(group)) for group in groups.values()]
