# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the parts on the face, from several sides."""

from __future__ import annotations

import os

import numpy as np

from backend.files import atomic_write
from trainer.mesh.topology import vertex_normals

# Okabe & Ito's palette without black, then lighter and darker tones: neighbours stay apart for all eyes.
PALETTE = np.array(
    [
        (0.90, 0.62, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.94, 0.89, 0.26), (0.00, 0.45, 0.70),
        (0.84, 0.37, 0.00), (0.80, 0.47, 0.65), (0.62, 0.62, 0.62), (0.55, 0.36, 0.75), (0.60, 0.80, 0.40),
        (0.95, 0.68, 0.68), (0.45, 0.30, 0.20), (0.30, 0.80, 0.80), (0.50, 0.50, 0.10), (0.20, 0.20, 0.45),
        (0.95, 0.80, 0.60),
    ]
)  # fmt: skip
VIEWS = {"front": (0.0, 0.0), "three-quarter": (35.0, 8.0), "side": (90.0, 0.0), "back": (180.0, 0.0)}


def part_colours(count: int) -> np.ndarray:
    """One colour per part, float64 [count, 3] in 0..1; repeats after 16."""
    return PALETTE[np.arange(count) % len(PALETTE)]


def render(
    vertices: np.ndarray,
    triangles: np.ndarray,
    colours: np.ndarray,
    azimuth: float = 0.0,
    elevation: float = 0.0,
    size: int = 420,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Orthographic z-buffer picture of a coloured mesh, float64 [size, size, 3] in 0..1, smooth Lambert
    shading.

    Args:
        vertices: [N, 3], Z up, face along -Y.
        triangles: [T, 3].
        colours: [N, 3] in 0..1.
        azimuth: degrees by which the camera walks around the head, to the person's left.
        elevation: degrees by which it rises.
    """
    samples = 2  # per pixel and axis
    width = size * samples
    a, e = np.radians(azimuth), np.radians(elevation)
    to_camera = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0.0])
    up = np.cross(to_camera, right) * -1.0
    up = up if up[2] >= 0 else -up
    normals = vertex_normals(vertices, triangles)
    key_light = to_camera * 0.8 - right * 0.35 + up * 0.5
    key_light /= np.linalg.norm(key_light)
    light = 0.35 + 0.65 * np.clip(normals @ key_light, 0, 1) + 0.12 * np.clip(normals @ to_camera, 0, 1) ** 3
    shaded = np.clip(colours * light[:, None], 0, 1)

    centred = vertices - 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    scale = 0.92 * width / float(np.ptp(vertices, axis=0).max())
    x = centred @ right * scale + width / 2
    y = width / 2 - centred @ up * scale
    depth = centred @ to_camera
    image = np.broadcast_to(background, (width, width, 3)).copy()
    buffer = np.full((width, width), -np.inf)
    corner_x, corner_y = x[triangles], y[triangles]
    double_area = (corner_x[:, 1] - corner_x[:, 0]) * (corner_y[:, 2] - corner_y[:, 0]) - (
        corner_x[:, 2] - corner_x[:, 0]
    ) * (corner_y[:, 1] - corner_y[:, 0])
    for t in np.flatnonzero(np.abs(double_area) > 1e-9):
        px, py = corner_x[t], corner_y[t]
        left, top = max(int(np.ceil(px.min() - 0.5)), 0), max(int(np.ceil(py.min() - 0.5)), 0)
        end_x, end_y = min(int(px.max() + 0.5), width - 1), min(int(py.max() + 0.5), width - 1)
        if left > end_x or top > end_y:
            continue
        gx, gy = np.arange(left, end_x + 1) + 0.5, np.arange(top, end_y + 1)[:, None] + 0.5
        b = ((gx - px[0]) * (py[2] - py[0]) - (px[2] - px[0]) * (gy - py[0])) / double_area[t]
        c = ((px[1] - px[0]) * (gy - py[0]) - (gx - px[0]) * (py[1] - py[0])) / double_area[t]
        weights = np.stack([1 - b - c, b, c], axis=-1)
        z = weights @ depth[triangles[t]]
        window = buffer[top : end_y + 1, left : end_x + 1]
        visible = (weights.min(axis=-1) >= -1e-6) & (z > window)
        window[visible] = z[visible]
        image[top : end_y + 1, left : end_x + 1][visible] = weights[visible] @ shaded[triangles[t]]
    return image.reshape(size, samples, size, samples, 3).mean(axis=(1, 3))


def save_parts_picture(
    path: str | os.PathLike,
    vertices: np.ndarray,
    triangles: np.ndarray,
    weights: np.ndarray,
    part_names: list[str],
    size: int = 420,
) -> None:
    """Write a PNG of the parts, each in its colour, blended by weight, seen from four sides, with a legend.

    Args:
        path: of the PNG.
        vertices: [N, 3] mm, Z up, face along -Y.
        triangles: [T, 3].
        weights: [K, N], columns summing to 1.
        part_names: K names.
        size: pixels of one view.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    palette = part_colours(len(weights))
    colours = weights.T @ palette
    dots = 100
    figure = Figure(figsize=(len(VIEWS) * size / dots, (size + 50) / dots), dpi=dots, facecolor="white")
    for i, angles in enumerate(VIEWS.values()):
        axes = figure.add_axes((i / len(VIEWS), 50 / (size + 50), 1 / len(VIEWS), size / (size + 50)))
        axes.imshow(render(vertices, triangles, colours, *angles, size=size), interpolation="nearest")
        axes.set_axis_off()
    handles = [Patch(color=colour, label=name) for colour, name in zip(palette, part_names, strict=True)]
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 8), frameon=False, fontsize=13)
    with atomic_write(path) as stream:
        FigureCanvasAgg(figure).print_png(stream)
