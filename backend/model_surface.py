# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin of a model as a surface that moves: what is compared with a mesh that is fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .local_network import REFERENCE_VERTICES
from .model import FaceModel
from .polygons import triangulate, vertex_areas, vertex_normals
from .surface import Surface, open_vertices


@dataclass(frozen=True)
class ModelSurface:
    """The skin of a model, without the eyes.

    Attributes:
        triangles: int64 [T, 3], of the model's own vertices.
        open_edge: bool [N], vertices on the skin's open edges: the neck's ring and the eyes' openings.
        mass: float64 [N], share of the skin's area, all of them adding up to `REFERENCE_VERTICES`.
        low, high: float64 [3] mm, the box of the mean face.
    """

    triangles: np.ndarray
    open_edge: np.ndarray
    mass: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, model: FaceModel) -> ModelSurface:
        skin = model.polygon_material != 1
        corners = model.polygon_vertices[np.repeat(skin, model.polygon_sizes)]
        triangles = triangulate(model.polygon_sizes[skin], corners)
        edge = np.zeros(model.vertex_count, dtype=bool)
        edge[open_vertices(triangles)] = True
        areas = vertex_areas(model.mean, triangles)
        return cls(
            triangles, edge, REFERENCE_VERTICES * areas / areas.sum(), model.mean.min(axis=0), model.mean.max(axis=0)
        )

    @cached_property
    def vertices(self) -> np.ndarray:
        """Numbers of the skin's vertices, int64."""
        return np.flatnonzero(self.mass > 0)

    def surface(self, face: np.ndarray) -> Surface:
        """A face [N, 3] as a surface; its vertices have other numbers."""
        return Surface(face, self.triangles)

    def normals(self, face: np.ndarray) -> np.ndarray:
        """Unit normals of a face's skin, float64 [N, 3]; zero on the eyes."""
        return vertex_normals(face, self.triangles)

    def holds(self, points: np.ndarray, margin: float) -> np.ndarray:
        """Which points [P, 3] (mm) lie in the mean face's box, or nearer to it than the margin: bool [P]."""
        return ((points > self.low - margin) & (points < self.high + margin)).all(axis=1)
