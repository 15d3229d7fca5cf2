# SPDX-License-Identifier: GPL-3.0-or-later
"""Small portraits of the faces of one model, without Blender's renderer: quick, the same everywhere, in any thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .model import FaceModel
from .rasteriser import Camera, fit_camera
from .studio import Studio

DIRECTIONS = 48  # Of light that are tried on the mean face: a third of a second instead of one.
AZIMUTH, ELEVATION = -24.0, 4.0  # From the side of the key lamp's shadow, so that nose and chin stand out.
# Other faces are larger than the mean one: what is kept free above it, as a share of the picture.
MARGIN = 0.05
ZOOM = 1.2  # The end of the neck is cut off in favour of the face.


@dataclass
class Portraits:
    """Portraits of one model's faces, to one scale.

    Attributes:
        model: whose faces.
    """

    model: FaceModel

    @cached_property
    def _studio(self) -> Studio:
        return Studio.of(self.model, DIRECTIONS)

    def camera(self, size: int) -> Camera:
        """A square picture of `size` pixels that the mean head fills from its top down to the neck."""
        camera = fit_camera(self.model.mean, AZIMUTH, ELEVATION, size, MARGIN).squared(size)
        middle, top = size / 2, MARGIN * size
        offset = (middle + ZOOM * (camera.offset[0] - middle), top + ZOOM * (camera.offset[1] - top))
        return replace(camera, scale=ZOOM * camera.scale, offset=offset)

    def picture(self, vertices: np.ndarray, size: int) -> np.ndarray:
        """uint8 [size, size, 4], sRGB with straight alpha, rows from the top; nothing but the head is seen.

        Args:
            vertices: [N, 3] mm, in the model's frame.
            size: pixels on each side.
        """
        return self._studio.clay(vertices, self.camera(size), transparent=True)


def blender_pixels(picture: np.ndarray) -> np.ndarray:
    """A picture as Blender's images and previews take it: float32 [size * size * 4] in 0..1, rows from the bottom."""
    return (picture[::-1].astype(np.float32) / 255).ravel()
