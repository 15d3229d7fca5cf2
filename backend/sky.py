# SPDX-License-Identifier: GPL-3.0-or-later
"""From which directions each vertex of a head is lit: ambient occlusion and soft shadows."""

from __future__ import annotations

import numpy as np

from .rasteriser import fit_camera, rasterise

DIRECTIONS = 128
HEIGHT = 110  # Pixels of the picture from each direction.
BIAS = 0.012  # Of the head's size: what is nearer than this behind something still counts as seen.


def visible_sky(
    vertices: np.ndarray, triangles: np.ndarray, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Directions spread evenly over the sphere, float64 [D, 3], and whether each vertex sees them, bool [D, N].

    A vertex sees a direction when a camera there sees nothing before it (shadow maps, Williams 1978).

    Args:
        vertices: [N, 3] mm.
        triangles: [T, 3].
        count: D; `DIRECTIONS` when left out.
    """
    count = count or DIRECTIONS
    i = np.arange(count) + 0.5
    elevations = np.degrees(np.arcsin(1 - 2 * i / count))
    azimuths = np.degrees(np.pi * (1 + 5**0.5) * i) % 360
    bias = BIAS * float(np.ptp(vertices, axis=0).max())
    directions, seen = [], []
    for azimuth, elevation in zip(azimuths, elevations, strict=True):
        camera = fit_camera(vertices, azimuth, elevation, HEIGHT)
        fragments = rasterise(vertices, triangles, camera)
        nearest = np.full(camera.width * camera.height, 1e-9)
        nearest[fragments.pixel] = fragments.nearness
        x, y, nearness = camera.project(vertices)
        column = np.clip(x.astype(np.int64), 0, camera.width - 1)
        row = np.clip(y.astype(np.int64), 0, camera.height - 1)
        behind = camera.distance * (1 / nearness - 1 / nearest[row * camera.width + column])
        directions.append(camera.axes[2])
        seen.append(behind < bias)
    return np.array(directions), np.array(seen)
