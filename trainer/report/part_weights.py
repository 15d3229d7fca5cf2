# SPDX-License-Identifier: GPL-3.0-or-later
"""The local weights on the mean face, part by part (the paper's Fig. 2)."""

from __future__ import annotations

import numpy as np

from backend.rasteriser import fit_camera

from .plate import Plate, Scale, picture_grid
from .subject import Subject
from .views import FRONT, view_of_part

HEIGHT = 300
ACROSS = 4


def part_weights_plate(subject: Subject) -> Plate:
    """Each part's weights from the front and from three quarters."""
    model, studio = subject.model, subject.studio
    scale = Scale(1.0, "local weight")
    pictures = []
    for part, weights in enumerate(model.weights):
        cameras = [fit_camera(model.mean, *view, HEIGHT) for view in (FRONT, view_of_part(subject, part))]
        sides = [studio.colours(model.mean, camera, scale.colours(weights)) for camera in cameras]
        pictures.append(np.concatenate(sides, axis=1))
    starts = range(0, len(pictures), ACROSS)
    figure = picture_grid(
        [pictures[start : start + ACROSS] for start in starts],
        notes=[model.part_names[start : start + ACROSS] for start in starts],
        scale=scale,
        gap=12,
    )
    caption = (
        f"The local weights of the {model.part_count} parts on the mean face, each from the front and from three "
        "quarters (from behind where the part lies there). At every vertex they add up to 1; a part code acts where "
        "its weight is not grey."
    )
    return Plate("weights", "Local weights", caption, figure)
