# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders of the whole face from a data set's labels: age, weight, ...

Codes are regressed on all labels at once, so that a control changes its own label and leaves the others alone; labels
are regressed on codes to read from any face what its sliders show. A control is offered only where codes know the label
(on faces that were held out of the fit) and where it moves the face.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from backend.decoder import Decoder
from backend.model import WHOLE, Control

log = logging.getLogger(__name__)

LEAST_KNOWN = 0.5  # R^2 of reading the label from codes, on held-out faces.
LEAST_MOVED_MM = 1.0  # Of the vertex that one unit moves most.
RIDGE = 1e-3  # Of both regressions, in variances of codes and of labels.
HELD_OUT = 5  # Every fifth training face.


@dataclass(frozen=True)
class Trait:
    """A label that may become a control.

    Attributes:
        labels: names that data sets give it; the first that is there counts.
        name, description: of the control.
        among: labels that count by their share of this sum, one of them this one.
    """

    labels: tuple[str, ...]
    name: str
    description: str
    among: tuple[str, ...] = ()


ORIGINS = ("african", "asian", "caucasian")
TRAITS = (
    Trait(("age", "years"), "Age", "Makes the person older"),
    Trait(("gender",), "Femininity", "Makes the person more feminine, and below 0 more masculine"),
    Trait(("weight",), "Weight", "Makes the person heavier"),
    Trait(("muscle",), "Muscle", "Makes the person more muscular"),
    Trait(("height",), "Body Height", "Gives the person the head of somebody taller"),
    Trait(("proportions",), "Proportions", "Brings the person's proportions nearer to an ideal"),
    Trait(("african",), "African", "Gives the person more of MakeHuman's African features", ORIGINS),
    Trait(("asian",), "Asian", "Gives the person more of MakeHuman's Asian features", ORIGINS),
    Trait(("caucasian",), "European", "Gives the person more of MakeHuman's Caucasian features", ORIGINS),
)


def fit_whole_controls(
    decoder: Decoder, codes: np.ndarray, label_names: list[str], labels: np.ndarray
) -> list[Control]:
    """Controls of the whole face.

    Args:
        codes: [S, D], of the training faces.
        labels: [S, number of label names], of the same faces.
    """
    traits, values = _trait_values(label_names, labels)
    if not traits or len(codes) < 2 * HELD_OUT:
        return []
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    known = _known(codes, values)
    kept = [index for index in range(len(traits)) if known[index] >= LEAST_KNOWN]
    directions, readings = _fit(codes, values[:, kept], [traits[index].among for index in kept])
    middle = codes.mean(axis=0)
    faces = decoder.decode(np.stack([middle, *(middle + directions)]).astype(np.float32))
    moved = np.linalg.norm(faces[1:] - faces[0], axis=2).max(axis=1)
    for index, trait in enumerate(traits):
        moves = f"one unit moves {moved[kept.index(index)]:.1f} mm" if index in kept else "too little for a slider"
        log.info("%s: codes know %.2f of it, %s.", trait.name, known[index], moves)
    seen = moved >= LEAST_MOVED_MM
    if not seen.all():
        kept = [index for index, enough in zip(kept, seen, strict=True) if enough]
        directions, readings = _fit(codes, values[:, kept], [traits[index].among for index in kept])
    return [
        Control(
            traits[index].name, WHOLE, direction.astype(np.float32), traits[index].description, row.astype(np.float32)
        )
        for index, direction, row in zip(kept, directions, readings, strict=True)
    ]


def _trait_values(label_names: list[str], labels: np.ndarray) -> tuple[list[Trait], np.ndarray]:
    """Traits whose labels are there and vary, and their values, float64 [S, traits]."""
    columns = dict(zip(label_names, np.asarray(labels, dtype=np.float64).T, strict=True))
    traits, values = [], []
    for trait in TRAITS:
        found = [name for name in trait.labels if name in columns]
        if not found or not set(trait.among) <= columns.keys():
            continue
        value = columns[found[0]]
        if trait.among:
            value = value / np.maximum(sum(columns[name] for name in trait.among), 1e-9)
        if np.isfinite(value).all() and value.std() > 1e-9 * max(1.0, np.abs(value).max()):
            traits.append(trait)
            values.append(value)
    return traits, np.stack(values, axis=1) if traits else np.zeros((len(labels), 0))


def _known(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """R^2 of each value as read from codes, on faces that the reading was not fitted to, float64 [traits]."""
    held = np.arange(len(codes)) % HELD_OUT == 0
    middle = codes[~held].mean(axis=0)
    level = values[~held].mean(axis=0)
    read = (codes[held] - middle) @ _readings(codes[~held] - middle, values[~held] - level).T + level
    return 1 - ((values[held] - read) ** 2).mean(axis=0) / values[held].var(axis=0)


def _readings(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Ridge regression of values [S, T] on codes [S, D], both centred: float64 [T, D]."""
    codes = codes.astype(np.float64)
    gram = codes.T @ codes / len(codes) + RIDGE * np.eye(codes.shape[1])
    return np.linalg.solve(gram, codes.T @ values / len(codes)).T


def _fit(codes: np.ndarray, values: np.ndarray, among: list[tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Directions and readouts of controls, float64 [T, D] each.

    Shares of one sum rise at the cost of each other, all else is held.
    """
    codes = codes - codes.mean(axis=0, dtype=np.float64)
    readings = _readings(codes, values)
    count = values.shape[1]
    directions = np.zeros((count, codes.shape[1]))
    wanted = np.eye(count)
    for index in range(count):
        rivals = [other for other in range(count) if other != index and among[other] and among[other] == among[index]]
        held = [other for other in range(count) if other not in rivals]
        own = values[:, held]
        gram = own.T @ own / len(own) + RIDGE * np.eye(len(held))
        directions[index] = np.linalg.solve(gram, own.T @ codes / len(own))[held.index(index)]
        read = readings @ directions[index]
        wanted[rivals, index] = read[rivals] / read[index]
    directions = (directions.T @ np.linalg.pinv(readings @ directions.T) @ wanted).T
    # Where controls depend on each other, the reading shares out among them what they do together.
    return directions, np.linalg.pinv(readings @ directions.T, rcond=1e-3) @ readings
