# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each part lives on the mesh, for judging models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.model import FaceModel
from trainer.mesh.topology import geodesic_distances, triangulate

MARGIN = 15.0  # mm
BORDER_WEIGHT = 0.7


@dataclass(frozen=True)
class Regions:
    """Regions of K parts on N vertices.

    Attributes:
        part_names: K names; models with the same names can be judged by the same regions.
        core: int64 [N], the part with the largest weight at each vertex.
        inside: bool [K, N], the part's core and everything within the margin of it, over the surface.
        border: bool [N], vertices that no part holds firmly (largest weight < 0.7).
    """

    part_names: list[str]
    core: np.ndarray
    inside: np.ndarray
    border: np.ndarray

    @property
    def coverage(self) -> np.ndarray:
        """Share of all vertices inside each part's region, float64 [K]; leaks count only outside of it."""
        return self.inside.mean(axis=1)


def find_regions(model: FaceModel, margin: float = MARGIN) -> Regions:
    """Regions from a model's local weights.

    Args:
        margin: mm over the surface of the mean face that a region reaches beyond its core.
    """
    core = model.weights.argmax(axis=0)
    triangles = triangulate(model.polygon_sizes, model.polygon_vertices)
    inside = np.stack(
        [
            geodesic_distances(model.mean, triangles, core == part) <= margin
            for part in range(model.part_count)
        ]
    )
    return Regions(list(model.part_names), core, inside, model.weights.max(axis=0) < BORDER_WEIGHT)
