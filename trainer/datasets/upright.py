# SPDX-License-Identifier: GPL-3.0-or-later
"""A head that stands a little turned is turned to face along its own plane of symmetry."""

from __future__ import annotations

import logging

import numpy as np

from backend.errors import LwaeError
from backend.similarity import Similarity, fit_similarity, nearest_rotation
from backend.symmetry import SIGNS, mirror_map

from ..mesh.topology import surface_middle, triangulate
from .dataset import Template

log = logging.getLogger(__name__)

TOLD = 0.1  # degrees


def upright(mean: np.ndarray, template: Template) -> np.ndarray:
    """The mean face where its mirror image at x = 0 lies on itself, as far as it is symmetric.

    Mirrored faces count in training; were they turned against the others, turning would be learned as a shape.

    Args:
        mean: float64 [N, 3] mm, about upright.

    Returns:
        float64 [N, 3]; where its polygons have no mirror image, with the middle of its surface at x = 0: the middle of
        its vertices is where they are dense.
    """
    try:
        image = mirror_map(mean, template.polygon_sizes, template.polygon_vertices)
    except LwaeError:
        return mean - [surface_middle(mean, triangulate(template.polygon_sizes, template.polygon_vertices)), 0, 0]
    rotation = to_mirror_image(mean, image).rotation
    turned = angle(rotation) / 2
    if turned > TOLD:
        log.info("Turned by %.1f degrees, so that left and right are mirror images.", turned)
    # Half of the way to the mirror image, which comes the other half.
    mean = mean @ nearest_rotation((np.eye(3) + rotation).T).T
    return mean - [mean[:, 0].mean(), 0, 0]


def to_mirror_image(mean: np.ndarray, image: np.ndarray) -> Similarity:
    """The rigid motion of a face [N, 3] to its mirror image, whose vertices `image` [N] names."""
    return fit_similarity(mean, mean[image] * SIGNS, np.ones(len(mean)), scale=1.0)


def angle(rotation: np.ndarray) -> float:
    """Degrees that a rotation [3, 3] turns by."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
