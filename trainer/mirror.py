# SPDX-License-Identifier: GPL-3.0-or-later
"""Left and right in training: where template and parts are symmetric, every training face counts with its mirror image.

Nothing that is learned then prefers a side: mean, weights and prior are exactly symmetric, each basis vector of a
symmetric part is the same or the opposite on both sides, and the networks see twice as many faces.
"""

from __future__ import annotations

import logging

import numpy as np

from backend.errors import LwaeError
from backend.symmetry import SIGNS, mirror_map

from .datasets.dataset import Template
from .datasets.upright import angle, to_mirror_image
from .weights.seams import symmetric_weights

log = logging.getLogger(__name__)

# Degrees and mm: what faces are turned and moved against their mirror images is learned as if it were a shape.
MOST_TURNED, MOST_MOVED = 0.3, 0.3


def find_image(
    mean: np.ndarray, template: Template, weights: np.ndarray | None = None, level: int = logging.INFO
) -> np.ndarray | None:
    """The mirror image of each vertex, int64 [N] (see `backend.symmetry.mirror_map`); None where there is none.

    Args:
        mean: [N, 3] mm.
        weights: local weights [K, N], if there are any yet. Where parts are not symmetric their bases are those of the
            faces as they are, which cannot hold mirrored ones, so that there is no mirror image either.
        level: at which it is logged why there is none.
    """
    try:
        image = mirror_map(mean, template.polygon_sizes, template.polygon_vertices)
    except LwaeError as error:
        log.log(level, "Faces are not mirrored in training: %s", error)
        return None
    turned, moved = angle(to_mirror_image(mean, image).rotation) / 2, abs(float(mean[:, 0].mean()))
    if turned > MOST_TURNED or moved > MOST_MOVED:
        log.log(
            level,
            "Faces are not mirrored in training: they stand %.1f degrees and %.1f mm off their plane of symmetry. "
            "Meshes are turned when they are prepared again, without --no-align.",
            turned,
            moved,
        )
        return None
    if weights is not None and symmetric_weights(weights, image) is None:
        log.log(level, "Faces are not mirrored in training: the parts are not symmetric.")
        return None
    return image


def mirror_images(faces: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Mirrored faces, or displacements: float32 [B, N, 3]."""
    result = np.take(faces, image, axis=1)
    result *= SIGNS
    return result


def symmetric_mean(mean: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The mean of faces and their mirror images from that of the faces, [N, 3]."""
    return (mean + mirror_images(mean[None], image)[0]) / 2
