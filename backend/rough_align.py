# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a head lies in a mesh that nobody has placed: unit, orientation and position, from the shape alone.

Every usual orientation and size is tried with a few steps of ICP (Besl & McKay 1992) between some hundred points of
both surfaces; the better half goes on with more points, and so on. Points are compared with their normals (six
numbers), so that the front of a head does not take the back for itself, and in both directions with robust weights, so
that a body below, a missing back or hair does little harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from .encode_mesh import UNITS
from .errors import LwaeError
from .similarity import Similarity, fit_similarity
from .surface import Surface

# Heights in mm that the whole mesh may have: a face, a head, a head with neck, a bust, half a body, a body.
HEIGHTS = (180.0, 245.0, 310.0, 430.0, 800.0, 1720.0)
NORMAL_RANGE = 60.0  # mm that a quarter turn of the normal counts as, times its square root of 2
# Rounds of the contest: points of either surface, steps, how many go on, reach of the weights in mm.
ROUNDS = ((110, 4, 90, 70.0), (200, 6, 24, 45.0), (400, 10, 6, 25.0), (900, 12, 3, 12.0))
CAP = 25.0  # mm; farther is all the same when hypotheses are judged
AMID, MARGIN = 110.0, 10.0  # mm around the middle of the model, and around what a mask has of a head
MASK, CROWN = 120.0, 65.0  # mm: a model less deep is no whole head, whose crown may lie so much above it
FLAT = 0.03  # of a mesh's least extent to its largest, below which it holds no head
SIZES = (0.75, 1.35)  # of the head found, against the mean one


@dataclass
class Guess:
    """A pose that moves the mesh into the model's frame (mm), and how badly it fits there, mm."""

    pose: Similarity
    score: float


def rough_poses(model_surface: Surface, target: Surface, rng: np.random.Generator) -> Iterator[float | list[Guess]]:
    """Find a head by trying.

    Args:
        model_surface: the mean face, in mm, looking along -Y, without eyes.
        target: the mesh in any unit and pose, its normals outwards.

    Yields:
        The share of the work that is done, now and then, and last the best guesses, the best first.

    Raises:
        LwaeError: the mesh is flat.
    """
    poses = _first_poses(model_surface, target)
    total = sum(n * steps for n, (_, steps, _, _) in zip([len(poses), *(r[2] for r in ROUNDS)], ROUNDS, strict=False))
    done, middle = 0, model_surface.vertices.mean(axis=0)
    guesses = [Guess(pose, np.inf) for pose in poses]
    for points, steps, kept, reach in ROUNDS:
        model_points = model_surface.sample(points, rng)[:2]
        # A body's points are mostly not on its head, so there are more of them.
        target_points = target.sample(2 * points, rng)[:2]
        for index, guess in enumerate(guesses):
            guesses[index] = _improve(guess.pose, model_points, target_points, steps, reach)
            done += steps
            if index % 8 == 7:
                yield done / total
        guesses = _different(sorted(guesses, key=lambda guess: guess.score), kept, middle)
        yield done / total
    yield guesses


def _first_poses(model_surface: Surface, target: Surface) -> list[Similarity]:
    low, high = model_surface.vertices.min(axis=0), model_surface.vertices.max(axis=0)
    middle = 0.5 * (low + high)
    # Of a whole head a mask has the front, below the top of the forehead.
    is_mask = (high - low)[1] < MASK
    tops = [high[2], high[2] + CROWN] if is_mask else [high[2]]
    points = target.sample(1500, np.random.default_rng(0))[0]
    lengths = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if lengths[2] < FLAT * lengths[0]:
        raise LwaeError("The mesh is flat or thin as a wire, so there is no head in it. Select a mesh of a head.")
    poses = []
    for rotation in _rotations():
        turned = points @ rotation.T
        bottom, top = turned[:, 2].min(), turned[:, 2].max()
        height = top - bottom
        for scale in _scales(height):
            head = turned[turned[:, 2] >= top - min((high - low)[2] / scale, height)]
            # The front of a face without the back of a head, or the middle of what is there.
            centre = 0.5 * (head.min(axis=0) + head.max(axis=0))
            depth = scale * np.ptp(head[:, 1])
            places = [middle[1]]
            if depth < 0.8 * (high - low)[1] or is_mask:
                places.append(low[1] + depth / 2)
            for place, crown in product(places, tops):
                shift = np.array([middle[0], place, crown]) - scale * np.array([centre[0], centre[1], top])
                poses.append(Similarity(scale, rotation, shift))
    return poses


def _rotations() -> list[np.ndarray]:
    """Six yaws about each of the six axes that may point up, twelve about the two usual ones."""
    rotations = []
    axes = np.eye(3)
    for axis, sign in ((2, 1), (1, 1), (1, -1), (2, -1), (0, 1), (0, -1)):
        up = sign * axes[axis]
        front = axes[(axis + 1) % 3]
        count = 12 if (axis, sign) in ((2, 1), (1, 1)) else 6
        for angle in 2 * np.pi * np.arange(count) / count:
            forward = np.cos(angle) * front + np.sin(angle) * np.cross(up, front)
            # Rows are the directions that become X, Y and Z: a face looks along -Y.
            rotations.append(np.stack([np.cross(-forward, up), -forward, up]))
    return rotations


def _scales(height: float) -> list[float]:
    """Millimetres per unit: the usual units where they make it as tall as anything, else by the height itself."""
    usual = [unit for unit in UNITS.values() if HEIGHTS[0] * 0.7 < unit * height < 1.2 * HEIGHTS[-1]]
    scales = [value / height for value in HEIGHTS]
    for unit in usual:
        if min(abs(np.log(unit / scale)) for scale in scales) > 0.05:
            scales.append(unit)
    return scales


def _improve(pose: Similarity, model, target, steps: int, reach: float) -> Guess:
    """Some steps of ICP in both directions, with Geman-McClure weights."""
    (model_points, model_normals), (target_points, target_normals) = model, target
    least, most = pose.scale * SIZES[0], pose.scale * SIZES[1]
    features = np.concatenate([model_points, NORMAL_RANGE * model_normals], axis=1)
    squares = np.sum(features**2, axis=1)
    score = np.inf
    for step in range(steps + 1):
        moved, turned = pose.apply(target_points), target_normals @ pose.rotation.T
        others = np.concatenate([moved, NORMAL_RANGE * turned], axis=1)
        between = squares[:, None] + np.sum(others**2, axis=1) - 2 * features @ others.T
        to_target, to_model = between.argmin(axis=1), between.argmin(axis=0)
        forth = np.maximum(between[np.arange(len(features)), to_target], 0)
        back = np.maximum(between[to_model, np.arange(len(others))], 0)
        if step == steps:
            # A mesh that holds more than a head is not blamed for the rest, but for what lies amid the head.
            low, high = model_points.min(axis=0), model_points.max(axis=0)
            amid = np.minimum((high - low) / 2 + MARGIN, AMID)
            near = (np.abs(moved - (low + high) / 2) < amid).all(axis=1)
            there = np.sqrt(back[near]) if near.sum() > 20 else np.array([CAP * 2])
            score = float(np.minimum(np.sqrt(forth), 2 * CAP).mean() + np.minimum(there, 2 * CAP).mean())
            break
        source = np.concatenate([target_points[to_target], target_points])
        goal = np.concatenate([model_points, model_points[to_model]])
        distances = np.concatenate([forth, back])
        weights = (reach**2 / (reach**2 + distances)) ** 2
        pose = fit_similarity(source, goal, weights)
        if not least < pose.scale < most:
            pose = fit_similarity(source, goal, weights, float(np.clip(pose.scale, least, most)))
    return Guess(pose, score)


def _different(guesses: list[Guess], most: int, head: np.ndarray) -> list[Guess]:
    """The first ones, without those that ended where a better one did."""
    kept: list[Guess] = []
    for guess in guesses:
        rotations = np.array([other.pose.rotation for other in kept]).reshape(-1, 3, 3)
        turns = np.einsum("kij,ij->k", rotations, guess.pose.rotation)
        shifts = np.array([other.pose.translation for other in kept]).reshape(-1, 3)
        scales = np.array([other.pose.scale for other in kept]) / guess.pose.scale
        # The point of the mesh at the head's middle, where a shift is not mixed up with a turn.
        middle = guess.pose.inverse().apply(head)
        places = np.einsum("kij,j->ki", rotations, middle) * (scales * guess.pose.scale)[:, None] + shifts
        near = np.linalg.norm(places - head, axis=1) < 12.0
        if not (near & (turns > 2.95) & (np.abs(np.log(scales)) < 0.04)).any():
            kept.append(guess)
            if len(kept) == most:
                break
    return kept
