# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions for anny's heads: which facial actions come together, and the bones that carry some of them.

anny's actions are additive blendshapes: each adds the same offsets to every person. The jaw and the eyeballs turn
about bones instead, whose places are the person's own: there identity and expression multiply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

# Each group is active in a face with the probability ACTIVE, and then with one of its actions.
GROUPS = (
    ("browDown", "browOuterUp"),
    ("browInnerUp",),
    ("cheekPuff", "cheekSquint"),
    ("eyeBlink", "eyeSquint", "eyeWide"),
    ("noseSneer",),
    ("jawOpen",),
    ("jawForward", "jawLeft", "jawRight"),
    ("mouthSmile", "mouthFrown", "mouthStretch", "mouthDimple", "mouthPress", "mouthPucker", "mouthFunnel"),
    ("mouthRollLower", "mouthShrugLower", "mouthLowerDown"),
    ("mouthRollUpper", "mouthShrugUpper", "mouthUpperUp"),
    ("mouthLeft", "mouthRight"),
)
ACTIVE = 0.3
ONE_SIDED = 0.1  # How often an action with two sides has one only: a wink, a crooked smile.
ASYMMETRY = 0.15  # Else: standard deviation of the two sides' strengths, relative to their common one.
LIPS_CLOSED = 0.3  # How often lips stay together, more or less, over an open jaw.
GAZE = 0.35  # Standard deviation of both eyes' common direction, relative to the strongest look.

# Degrees at strength 1: those that fit anny's own blendshapes best, but for a jaw that opens a little less.
JAW_OPEN, JAW_ASIDE, LOOK_ASIDE, LOOK_UP_DOWN = 20.0, 5.0, 14.0, 10.0
BONE_ACTIONS = ("jawOpen", "jawLeft", "jawRight", "mouthClose")  # Bones do all of them; of a look, the eyeballs.
LOOKS = ("eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp")


def sample_actions(names: list[str], count: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Few actions for each face, left and right alike, opposite ones never together.

    Args:
        names: of the actions, such as jawOpen and mouthSmileLeft.
        strength: of the strongest action, 0..1.

    Returns:
        float64 [count, actions], 0..strength.
    """
    values = {name: np.zeros(count) for name in names}
    for group in GROUPS:
        chosen = np.where(rng.random(count) < ACTIVE, rng.integers(len(group), size=count), -1)
        common = rng.random(count)
        sides = common[:, None] * (1 + ASYMMETRY * rng.standard_normal((count, 2)))
        only = np.where(rng.random(count) < ONE_SIDED, rng.integers(2, size=count), -1)
        sides[only == 0, 1] = sides[only == 1, 0] = 0
        for index, action in enumerate(group):
            active = chosen == index
            if action in values:
                values[action][active] = common[active]
            else:
                values[f"{action}Left"][active] = sides[active, 0]
                values[f"{action}Right"][active] = sides[active, 1]
    values["mouthClose"] = np.where(rng.random(count) < LIPS_CLOSED, rng.random(count), 0) * (values["jawOpen"] > 0)
    to_left, up = GAZE * rng.standard_normal((2, count))
    for side in ("Left", "Right"):
        outwards = to_left if side == "Left" else -to_left
        looks = {"Out": outwards, "In": -outwards, "Up": up, "Down": -up}
        for look, value in looks.items():
            values[f"eyeLook{look}{side}"] = np.maximum(value, 0)
    return strength * np.clip(np.stack([values[name] for name in names], axis=1), 0, 1)


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
