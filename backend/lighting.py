# SPDX-License-Identifier: GPL-3.0-or-later
"""What light makes of a surface, pixel by pixel. Directions are the camera's: right, up, towards the viewer."""

from __future__ import annotations

import numpy as np


def _unit(*vector: float) -> np.ndarray:
    return (np.array(vector) / np.linalg.norm(vector)).astype(np.float32)


KEY = _unit(-0.65, 0.60, 0.62)
FILL = _unit(0.85, 0.05, 0.55)
RIM = _unit(0.75, 0.40, -0.50)
EVEN = _unit(-0.40, 0.45, 0.80)
HALFWAY = _unit(*(KEY + (0, 0, 1)))  # Between the key lamp and the viewer: normals that gleam.

# Linear RGB.
KEY_COLOUR = np.float32([1.12, 1.06, 0.98])
FILL_COLOUR = np.float32([0.10, 0.12, 0.15])
RIM_COLOUR = np.float32([0.40, 0.40, 0.40])
SKY_COLOUR = np.float32([0.17, 0.18, 0.20])
GROUND_COLOUR = np.float32([0.08, 0.065, 0.06])

_LEVELS = np.linspace(0, 1, 4096)
_SRGB = np.where(_LEVELS <= 0.0031308, 12.92 * _LEVELS, 1.055 * _LEVELS ** (1 / 2.4) - 0.055).astype(np.float32)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB, clipped to 0..1 (IEC 61966-2-1), by a table."""
    return _SRGB[(np.clip(linear, 0, 1) * (len(_SRGB) - 1)).astype(np.int32)]


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 to linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def studio_light(
    normals: np.ndarray, sky: np.ndarray, key: np.ndarray, albedo: np.ndarray, gloss: np.ndarray, shine: np.ndarray
) -> np.ndarray:
    """A key lamp from the upper left with a soft shadow, a cool fill, a rim light and a bright room, in sRGB.

    Args:
        normals: float32 [P, 3], unit, in the camera's frame.
        sky, key: [P], shares of the sky and of the key lamp that are seen.
        albedo: [P, 3], linear.
        gloss, shine: [P], strength and exponent of the highlight (Blinn 1977).
    """
    up = 0.5 + 0.5 * normals[:, 1:2]
    light = SKY_COLOUR * up + GROUND_COLOUR * (1 - up)
    light += _lambert(normals, FILL, wrap=0.3)[:, None] * FILL_COLOUR
    light += _lambert(normals, RIM)[:, None] ** 1.5 * RIM_COLOUR
    light *= sky[:, None]
    light += (_lambert(normals, KEY, wrap=0.12) * key)[:, None] * KEY_COLOUR
    highlight = gloss * key * np.clip(normals @ HALFWAY, 0, 1) ** shine
    return to_srgb(light * albedo + highlight[:, None])


def even_light(normals: np.ndarray, sky: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """sRGB colours [P, 3] shaded just enough to show the shape: hue and order of a colour scale stay."""
    light = 0.55 + 0.45 * np.clip(0.3 + 0.7 * (normals @ EVEN), 0, 1)
    return colours * (light * (0.62 + 0.38 * sky))[:, None]


def _lambert(normals: np.ndarray, direction: np.ndarray, wrap: float = 0.0) -> np.ndarray:
    """Diffuse light; `wrap` lets it reach that far around the edge of the shadow, as through skin."""
    return np.clip((normals @ direction + np.float32(wrap)) / np.float32(1 + wrap), 0, 1)
