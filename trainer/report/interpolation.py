# SPDX-License-Identifier: GPL-3.0-or-later
"""One part at a time from a target's code to a source's (the paper's Fig. 5)."""

from __future__ import annotations

import numpy as np

from backend.rasteriser import fit_camera
from trainer.evaluation.hausdorff import hausdorff_distance
from trainer.evaluation.metrics import vertex_distances
from trainer.evaluation.mixing import interpolate_part

from .plate import Plate, Scale, picture_grid
from .subject import Subject
from .views import view_of_part

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
HEIGHT = 300
RANK = 0.9  # Different, but not the oddest.


def interpolation_plate(subject: Subject) -> Plate:
    """A row for each part: the target, five steps coloured by their distance to it, the source."""
    model, studio = subject.model, subject.studio
    target = int(subject.rng(2).integers(len(subject.test)))
    sources = [_source(subject, target, part) for part in range(model.part_count)]
    codes = subject.codes
    steps = [
        subject.decode(interpolate_part(model, codes[target], codes[source], part, STEPS))
        for part, source in enumerate(sources)
    ]
    goal = subject.test[target]
    distances = [vertex_distances(faces, goal) for faces in steps]
    scale = Scale.of(np.concatenate(distances), "distance of each vertex to the target, mm", share=0.99)

    def named(face: int) -> str:
        return f"face {subject.dataset.test[face]}"

    shown = np.concatenate([subject.test[[target, *sources]], *steps])
    rows, notes = [], []
    for part, (source, faces, far) in enumerate(zip(sources, steps, distances, strict=True)):
        camera = fit_camera(shown, *view_of_part(subject, part), HEIGHT)
        coloured = [studio.colours(x, camera, scale.colours(d)) for x, d in zip(faces, far, strict=True)]
        rows.append([studio.clay(goal, camera), *coloured, studio.clay(subject.test[source], camera)])
        apart = [f"{hausdorff_distance(x, goal, studio.triangles):.2f} mm" for x in faces]
        notes.append([named(target), *apart, named(source)])
    figure = picture_grid(
        rows,
        columns=["target", *(f"{step:g}" for step in STEPS), "source"],
        names=model.part_names,
        notes=notes,
        scale=scale,
        name_width=34,
    )
    return Plate("interpolation", "From target to source, part by part", CAPTION, figure)


CAPTION = (
    "The code of one part goes from the target's (0) to the source's (1); all other parts stay the target's. Colours: "
    "distance of each vertex to where the target has it. Below each step: symmetric Hausdorff distance of the two "
    "meshes; at 0 it is the reconstruction error. Target and sources are test faces; the source of each row is the one "
    "whose part differs from the target's more than 90 % of them do."
)


def _source(subject: Subject, target: int, part: int) -> int:
    """The test face whose part is 90 % of the way down their list by weighted RMS distance from the target's."""
    weights = subject.model.weights[part]
    differences = [weights @ ((face - subject.test[target]) ** 2).sum(axis=1) for face in subject.test]
    return int(np.argsort(differences)[round(RANK * (len(differences) - 1))])
