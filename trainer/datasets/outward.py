# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way the polygons of a template face. Pictures, exported meshes and what fits a scan count on outwards."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..mesh.topology import polygon_starts, triangulate
from .dataset import Template

# A head has 0.6 and masks cut from it 0.2 to 0.5; nearer to 0 the shape does not say which side is the outer one.
CLEAR = 0.15


def outwardness(vertices: np.ndarray, template: Template) -> float:
    """The volume of the cones from the surface's centroid to its triangles, as a share of what it would be if all of
    them faced straight away: 1 on a sphere, -1 on one inside out. Open surfaces have one too.

    Args:
        vertices: [N, 3], in any unit and pose.
    """
    corners = vertices[triangulate(template.polygon_sizes, template.polygon_vertices)].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area, centres = np.linalg.norm(cross, axis=1), corners.mean(axis=1)
    away = centres - area @ centres / max(area.sum(), np.finfo(float).tiny)
    most = area @ np.linalg.norm(away, axis=1)
    return float(np.einsum("ti,ti->", cross, away) / most) if most else 0.0


def facing_outwards(vertices: np.ndarray, template: Template) -> Template:
    """The template, or where its polygons clearly face inwards a copy with their corners in the opposite order."""
    return turned(template) if outwardness(vertices, template) < -CLEAR else template


def turned(template: Template) -> Template:
    """The other side of the same polygons."""
    sizes = template.polygon_sizes
    starts = np.repeat(polygon_starts(sizes), sizes)
    corners = 2 * starts + np.repeat(sizes, sizes) - 1 - np.arange(len(template.polygon_vertices))
    return dataclasses.replace(
        template,
        polygon_vertices=template.polygon_vertices[corners],
        uv=template.uv[corners] if len(template.uv) else template.uv,
    )
