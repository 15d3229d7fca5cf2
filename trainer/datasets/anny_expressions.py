# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions for anny's heads: the bones that carry some of the facial actions.

anny's actions are additive blendshapes: each adds the same offsets to every person. The jaw and the eyeballs turn
about bones instead, whose places are the person's own: there identity and expression multiply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

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
