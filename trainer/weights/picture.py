# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the parts on the face, from several sides."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Patch

from backend.files import atomic_write
from backend.rasteriser import fit_camera
from backend.studio import Studio
from trainer.report.plate import LINE, TEXT, picture_grid

# Okabe & Ito's palette without black, then lighter and darker tones: neighbours stay apart for all eyes.
PALETTE = np.array(
    [
        (0.90, 0.62, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.94, 0.89, 0.26), (0.00, 0.45, 0.70),
        (0.84, 0.37, 0.00), (0.80, 0.47, 0.65), (0.62, 0.62, 0.62), (0.55, 0.36, 0.75), (0.60, 0.80, 0.40),
        (0.95, 0.68, 0.68), (0.45, 0.30, 0.20), (0.30, 0.80, 0.80), (0.50, 0.50, 0.10), (0.20, 0.20, 0.45),
        (0.95, 0.80, 0.60),
    ]
)  # fmt: skip
ENTRY, LETTER = 85, 10  # Pixels of a legend's entry without its name, and of a letter of that.
VIEWS = ((0.0, 0.0), (35.0, 8.0), (90.0, 0.0), (180.0, 0.0))  # Azimuth and elevation, see `rasteriser.view_axes`.


def part_colours(count: int) -> np.ndarray:
    """One colour per part, float64 [count, 3] in 0..1; repeats after 16."""
    return PALETTE[np.arange(count) % len(PALETTE)]


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
        size: height of one view, pixels.
    """
    studio, palette = Studio(vertices, triangles), part_colours(len(weights))
    cameras = [fit_camera(vertices, *view, size) for view in VIEWS]
    pictures = [studio.colours(vertices, camera, weights.T @ palette) for camera in cameras]
    widest = ENTRY + LETTER * max(map(len, part_names))
    across = max(1, min(len(part_names), 8, sum(picture.shape[1] for picture in pictures) // widest))
    figure = picture_grid([pictures], gap=24, foot=24 + LINE * -(-len(part_names) // across))
    handles = [Patch(color=colour, label=name) for colour, name in zip(palette, part_names, strict=True)]
    legend = figure.legend(handles=handles, loc="lower center", ncols=across, frameon=False, fontsize=TEXT)
    for name in legend.get_texts():
        name.set_parse_math(False)
    with atomic_write(path) as stream:
        FigureCanvasAgg(figure).print_png(stream)
