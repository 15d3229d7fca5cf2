# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact sheets: one part from each source for each target, faces of K donors, and random faces."""

from __future__ import annotations

import math

import numpy as np

from backend.rasteriser import fit_camera
from trainer.evaluation.mixing import donor_mixes, mix_codes
from trainer.weights.picture import part_colours

from .plate import Plate, picture_grid
from .subject import Subject
from .views import BESIDE, view_of_part

MADE, ACROSS = 24, 8
SHEET_HEIGHT, HEIGHT = 176, 290
TINT = 0.55


def combination_plate(subject: Subject, part: int) -> Plate:
    """One part of every source on every target: sources across, targets down."""
    studio, name = subject.studio, subject.model.part_names[part]
    sources, targets = subject.pairs
    codes = subject.combinations(part)
    made = subject.decode(codes.reshape(-1, codes.shape[2])).reshape(*codes.shape[:2], -1, 3)
    shown = np.concatenate([subject.test[[*sources, *targets]], *made])
    camera = fit_camera(shown, *view_of_part(subject, part), SHEET_HEIGHT)
    colour = np.broadcast_to(part_colours(part + 1)[-1], (len(studio.mean), 3))
    tint = np.concatenate([colour, TINT * subject.model.weights[part][:, None]], axis=1)
    columns = ["targets", *[""] * len(sources)]
    columns[1 + len(sources) // 2] = "sources"
    rows = [[None, *(studio.clay(x, camera, tint) for x in subject.test[sources])]]
    for target, faces in zip(targets, made, strict=True):
        rows.append([studio.clay(subject.test[target], camera), *(studio.clay(x, camera, tint) for x in faces)])
    caption = (
        f"{name.capitalize()} of {len(sources)} sources (top row) on {len(targets)} targets (left column); "
        "the part that comes from the source is tinted."
    )
    figure = picture_grid(rows, columns=columns, gap=3)
    return Plate(f"combinations-{part + 1:02d}", f"Combinations: {name}", caption, figure)


def donors_plate(subject: Subject) -> Plate:
    """Faces each of whose parts comes from another test face."""
    model = subject.model
    rng, faces = subject.rng(3), len(subject.test)
    rounds = math.ceil(MADE / faces)
    donors = np.concatenate([donor_mixes(rng, faces, model.part_count) for _ in range(rounds)])[:MADE]
    caption = (
        f"{MADE} faces of {model.part_count} donors: each part comes from another test face. "
        "The donors are drawn at random, and none of the faces was left out."
    )
    return _sheet(subject, "donors", "Faces of many donors", caption, mix_codes(model, subject.codes, donors))


def samples_plate(subject: Subject) -> Plate:
    """Random faces of the joint prior."""
    caption = f"{MADE} random samples of the joint prior; none was left out."
    return _sheet(subject, "samples", "Random faces", caption, subject.model.prior.sample(subject.rng(4), MADE))


def _sheet(subject: Subject, name: str, title: str, caption: str, codes: np.ndarray) -> Plate:
    faces = subject.decode(codes)
    camera = fit_camera(faces, *BESIDE, HEIGHT)
    pictures = [subject.studio.clay(face, camera) for face in faces]
    rows = [pictures[start : start + ACROSS] for start in range(0, len(pictures), ACROSS)]
    return Plate(name, title, caption, picture_grid(rows, gap=4))
