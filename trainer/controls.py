# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders: named directions in each part's code space, in standard deviations of the training faces.

First geometric ones, fitted by regression: size along each axis and place of the part, measured on its region. A
control changes its own measure and, as the regression is on all measures at once, leaves the part's others alone. It is
one among faces that hardly move beyond the part, where the part's soft border still reaches (`_within_region`).
Then principal components of what the geometric ones leave ("Shape 1", "Shape 2", ...), of the surface and not of codes,
whose numbers do not say how far they move it. Those of the whole face, from labels, are in `whole_controls`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.decoder import Decoder
from backend.model import Control, FaceModel

SHAPES = 6  # Principal components per part.
# A measure is only offered if the part's own codes move it by this much (standard deviation, mm).
LEAST_SPREAD_MM = 0.25
LEAST_SHAPE_MM = 0.02  # What a unit of "Shape 1", ... moves the most moved vertex by.
RIDGE = 0.02
PROBE = 0.5
# Beyond a part is where it weighs less than this. To move as much there as people do costs a slider as much as this
# many squared deviations of its codes: with more, sliders are cleaner, and what they leave to "Shape 1" is larger.
BEYOND = 0.25
HELD = 3


@dataclass(frozen=True)
class Measure:
    """A linear measure of a displacement field: sum over vertices of gradient . displacement, in mm."""

    name: str
    description: str
    gradient: np.ndarray


def fit_controls(decoder: Decoder, codes: np.ndarray) -> list[Control]:
    """Controls of all parts of the decoder's model from the codes [S, D] of the training faces."""
    model, controls = decoder.model, []
    for part, name in enumerate(model.part_names):
        columns = model.part_slice(part)
        own = codes[:, columns] - codes[:, columns].mean(axis=0)
        controls += _part_controls(decoder, part, name, own)
    return controls


def _part_controls(decoder: Decoder, part: int, name: str, codes: np.ndarray) -> list[Control]:
    measures, fields = region_measures(decoder.model, part, name), _fields(decoder, part)
    jacobian = np.stack([measure.gradient.ravel() for measure in measures]) @ fields.T
    weighted = fields * _roots(decoder.model)
    values = codes @ jacobian.T
    spread = values.std(axis=0)
    kept = [i for i in range(len(measures)) if spread[i] >= LEAST_SPREAD_MM]
    directions = np.zeros((0, codes.shape[1]))
    if kept:
        standard = jacobian[kept] / spread[kept, None]
        covariance = codes.T @ codes / len(codes)
        # Multiple regression of the codes on standardised measures: other measures held, a direction moves its own.
        within = _within_region(covariance, weighted, decoder.model.weights[part])
        directions = np.linalg.solve(_ridged(standard @ within @ standard.T), standard @ within)
        # One unit is one standard deviation of the measure among faces that are alike in the others: a direction that
        # holds the others is so much rarer than its measure that 3 of the measure's own deviations tear a face apart.
        own = np.einsum("id,id->i", directions, standard)
        rarity = np.sqrt(np.diag(np.linalg.inv(_ridged(standard @ covariance @ standard.T))))
        directions /= (own * rarity)[:, None]
    controls = [
        Control(measures[i].name, part, direction.astype(np.float32), measures[i].description)
        for i, direction in zip(kept, directions, strict=True)
    ]
    rest = codes - codes @ np.linalg.pinv(directions) @ directions if len(directions) else codes
    count = min(SHAPES, codes.shape[1] - len(kept))
    shapes = _principal_directions(rest, weighted, count)
    moved = np.linalg.norm((shapes @ fields).reshape(len(shapes), decoder.model.vertex_count, 3), axis=2)
    for index, direction in enumerate(shapes[moved.max(axis=1) >= LEAST_SHAPE_MM]):
        description = f"Principal shape variation {index + 1} of the {name} that the sliders above do not cover"
        controls.append(Control(f"Shape {index + 1}", part, direction.astype(np.float32), description))
    return controls


def _within_region(covariance: np.ndarray, fields: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Covariance of codes [Z_k, Z_k] given that they move next to nothing beyond the part.

    Args:
        fields: what a unit of each number moves, times the roots of what coordinates count, [Z_k, 3N].
        weights: of the part, [N].
    """
    beyond = fields[:, np.repeat(weights < BEYOND, 3)].astype(np.float64)
    cost = beyond @ beyond.T
    typical = np.vdot(covariance, cost)
    if typical <= 0:  # No vertex lies there, or none of them moves.
        return covariance
    return np.linalg.solve(np.eye(len(covariance)) + HELD / typical * covariance @ cost, covariance)


def _ridged(gram: np.ndarray) -> np.ndarray:
    return gram + RIDGE * np.diag(np.diag(gram))


def _principal_directions(codes: np.ndarray, fields: np.ndarray, count: int) -> np.ndarray:
    """Where codes lie when one of the principal components of what they show is one standard deviation, [count, Z_k].

    Args:
        codes: [S, Z_k], of mean 0.
        fields: what a unit of each number shows, [Z_k, M].
        count: of components at most; those of next to nothing are left out.
    """
    values, axes = np.linalg.eigh((fields @ fields.T).astype(np.float64))
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    _, deviations, axes = np.linalg.svd(codes @ root / np.sqrt(len(codes)), full_matrices=False)
    kept = [index for index in range(min(count, len(axes))) if deviations[index] > 1e-3 * deviations[0]]
    # The regression of codes on a component's score.
    result = [codes.T @ (codes @ root @ axes[index]) / (len(codes) * deviations[index]) for index in kept]
    result = [direction * np.sign(direction[np.abs(direction).argmax()]) for direction in result]
    return np.reshape(result, (len(kept), codes.shape[1]))


def _mass(model: FaceModel) -> np.ndarray:
    """What each vertex counts, [N]; all alike in a preset that does not say."""
    return model.network.get("mass", np.ones(model.vertex_count))


def _roots(model: FaceModel) -> np.ndarray:
    """Square root of what each coordinate counts, float32 [3N]."""
    return np.sqrt(np.repeat(_mass(model), 3)).astype(np.float32)


def region_measures(model: FaceModel, part: int, name: str) -> list[Measure]:
    """Width, height, depth, forward, up and, for parts with two sides, spacing, each in mm.

    A size is how far the region's ends move apart, estimated by least squares over the whole region: the slope of
    the displacement along an axis times the region's extent (four standard deviations of its vertices).
    """
    weight = model.weights[part] ** 2 * _mass(model)
    weight = weight / weight.sum()
    sides = _sides(model.mean, weight)
    measures = []
    for axis, title, what in ((0, "Width", "wider"), (2, "Height", "taller"), (1, "Depth", "deeper")):
        gradient = np.zeros_like(model.mean, dtype=np.float64)
        for side in sides:
            inside = weight * side
            inside = inside / inside.sum()
            offset = model.mean[:, axis] - inside @ model.mean[:, axis]
            variance = max(inside @ offset**2, 1e-6)  # a part may be a single vertex
            gradient[:, axis] += inside * offset / variance * 4 * np.sqrt(variance) / len(sides)
        measures.append(Measure(title, f"Makes the {name} {what}", gradient))
    for axis, sign, title, what in ((1, -1, "Forward", "forward"), (2, 1, "Up", "up")):
        gradient = np.zeros_like(model.mean, dtype=np.float64)
        gradient[:, axis] = sign * weight
        measures.append(Measure(title, f"Moves the {name} {what}", gradient))
    if len(sides) == 2:
        gradient = np.zeros_like(model.mean, dtype=np.float64)
        for side, sign in zip(sides, (1, -1), strict=True):
            gradient[:, 0] += sign * weight * side / (weight @ side)
        measures.append(Measure("Spacing", f"Moves the two sides of the {name} apart", gradient))
    return measures


def _sides(mean: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
    """Masks of the left and right half, for parts that have next to nothing on the middle plane; else all."""
    x = mean[:, 0]
    reach = np.sqrt(weight @ x**2)
    middle = weight @ (np.abs(x) < 0.25 * reach)
    left, right = weight @ (x > 0), weight @ (x < 0)
    if middle < 0.05 and min(left, right) > 0.25:
        return [(x > 0).astype(float), (x < 0).astype(float)]
    return [np.ones(len(x))]


def _fields(decoder: Decoder, part: int) -> np.ndarray:
    """What a unit of each number of the part's code moves around the mean face, float32 [Z_k, 3N] mm."""
    model = decoder.model
    columns = np.arange(model.code_size)[model.part_slice(part)]
    result = np.empty((len(columns), 3 * model.vertex_count), dtype=np.float32)
    for start in range(0, len(columns), 16):
        some = columns[start : start + 16]
        probe = np.zeros((2 * len(some), model.code_size), dtype=np.float32)
        probe[np.arange(len(some)), some] = PROBE
        probe[len(some) + np.arange(len(some)), some] = -PROBE
        faces = decoder.decode(probe).reshape(len(probe), -1)
        result[start : start + len(some)] = (faces[: len(some)] - faces[len(some) :]) / (2 * PROBE)
    return result
