# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs, found by their shape."""

from __future__ import annotations

import logging

import numpy as np

from ..mesh.topology import connected_components, polygon_edges
from .dataset import Template

log = logging.getLogger(__name__)


def eye_polygons(vertices: np.ndarray, template: Template) -> np.ndarray:
    """Polygons of the eyeballs, bool [F]: exactly two loose, round, equal pieces of an eye's size; else none."""
    edges = polygon_edges(template.polygon_sizes, template.polygon_vertices)
    component = connected_components(edges, len(vertices))
    balls = []
    for index, size in enumerate(np.bincount(component)):
        if not 12 <= size <= len(vertices) / 4:
            continue
        points = vertices[component == index]
        radii = np.linalg.norm(points - (points.min(axis=0) + points.max(axis=0)) / 2, axis=1)
        if 9 < radii.mean() < 20 and radii.std() < 0.05 * radii.mean():
            balls.append((index, size))
    starts = np.cumsum(template.polygon_sizes) - template.polygon_sizes
    found = len(balls) == 2 and balls[0][1] == balls[1][1]
    if found:
        log.info("Two loose round pieces are taken for the eyes.")
    return np.isin(
        component[template.polygon_vertices[starts]], [index for index, _ in balls] if found else []
    )
