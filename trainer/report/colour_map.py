# SPDX-License-Identifier: GPL-3.0-or-later
"""The colour scale of the figures: light grey where there is nothing, then through magma's orange and red to violet."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap

from backend.lighting import to_linear

COLOURS = 256
NOTHING = (0.925, 0.915, 0.905)  # Light enough to show the shape, dark enough to stand on paper.
MAGMA = (0.86, 0.20)  # The stretch of magma that follows.
D65 = np.array([0.95047, 1.0, 1.08883])
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def light_magma() -> ListedColormap:
    """A sequential map that begins light and neutral, with equal steps of perceived colour (CIELAB, CIE 1976)."""
    path = np.concatenate([[NOTHING], colormaps["magma"](np.linspace(*MAGMA, 256))[:, :3]])
    path = np.concatenate([_between(path[0], path[1], 64), path[2:]])
    steps = np.linalg.norm(np.diff(to_lab(path), axis=0), axis=1)
    length = np.concatenate([[0], np.cumsum(steps)])
    even = np.linspace(0, length[-1], COLOURS)
    return ListedColormap(np.stack([np.interp(even, length, channel) for channel in path.T], axis=1), "light magma")


def to_lab(srgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 [n, 3] to CIELAB [n, 3]: lightness 0..100, a, b."""
    relative = to_linear(srgb) @ SRGB_TO_XYZ.T / D65
    f = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def _between(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    return a + np.linspace(0, 1, count)[:, None] * (b - a)


LIGHT_MAGMA = light_magma()
