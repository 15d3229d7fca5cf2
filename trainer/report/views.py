# SPDX-License-Identifier: GPL-3.0-or-later
"""From where a figure looks at the head: azimuth and elevation in degrees, see `rasteriser.view_axes`."""

from __future__ import annotations

import numpy as np

from backend.rasteriser import view_axes
from trainer.mesh.topology import vertex_areas, vertex_normals

from .subject import Subject

FRONT, BESIDE, BEHIND = (0.0, 0.0), (28.0, 4.0), (152.0, 4.0)


def view_of_part(subject: Subject, part: int) -> tuple[float, float]:
    """Three quarters from the front, or from behind for a part that shows there more than twice as large."""
    mean, triangles = subject.studio.mean, subject.studio.triangles
    shares = subject.model.weights[part] * vertex_areas(mean, triangles)
    normals = vertex_normals(mean, triangles)
    beside, behind = (shares @ np.clip(normals @ view_axes(*view)[2], 0, 1) for view in (BESIDE, BEHIND))
    return BEHIND if behind > 2 * beside else BESIDE
