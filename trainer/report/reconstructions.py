# SPDX-License-Identifier: GPL-3.0-or-later
"""The test faces that the model reconstructs worst."""

from __future__ import annotations

import numpy as np

from backend.rasteriser import fit_camera
from trainer.evaluation.metrics import in_blocks, vertex_distances

from .plate import Plate, Scale, picture_grid
from .subject import Subject
from .views import BESIDE

WORST = 6
HEIGHT = 360


def reconstructions_plate(subject: Subject) -> Plate:
    """Original, reconstruction and error of the worst six."""
    studio = subject.studio
    errors = np.concatenate([_mean_errors(subject, i) for i in range(0, len(subject.test), 32)])
    worst = np.argsort(-errors)[:WORST]
    faces, decoded = subject.test[worst], subject.decode(subject.codes[worst])
    distances = vertex_distances(decoded, faces)
    scale = Scale.of(distances, "distance of each vertex to the original, mm")
    camera = fit_camera(np.concatenate([faces, decoded]), *BESIDE, HEIGHT)
    rows = [
        [studio.clay(x, camera) for x in faces],
        [studio.clay(x, camera) for x in decoded],
        [studio.colours(x, camera, scale.colours(d)) for x, d in zip(decoded, distances, strict=True)],
    ]
    figure = picture_grid(
        rows,
        columns=[f"face {subject.dataset.test[i]}" for i in worst],
        names=["original", "reconstruction", "error"],
        notes=[[""] * len(worst)] * 2 + [[f"mean {d.mean():.2g}, max {d.max():.2g} mm" for d in distances]],
        scale=scale,
        name_width=34,
    )
    caption = (
        f"The {len(worst)} worst of {len(subject.test)} test faces by mean distance, worst first; over all test faces "
        f"the mean is {errors.mean():.3g} mm and the median face has {np.median(errors):.3g} mm."
    )
    return Plate("reconstructions", "Worst reconstructions", caption, figure)


def _mean_errors(subject: Subject, start: int) -> np.ndarray:
    faces, codes = subject.test[start : start + 32], subject.codes[start : start + 32]
    return vertex_distances(in_blocks(subject.decoder.decode, codes), faces).mean(axis=1)
