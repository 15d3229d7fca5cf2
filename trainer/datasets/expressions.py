# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions: which facial actions come together. The actions' names are those of Apple's ARKit."""

from __future__ import annotations

import re

import numpy as np

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
LOOKS = ("eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp")
ACTIVE = 0.3
ONE_SIDED = 0.1  # How often an action with two sides has one only: a wink, a crooked smile.
ASYMMETRY = 0.15  # Else: standard deviation of the two sides' strengths, relative to their common one.
LIPS_CLOSED = 0.3  # How often lips stay together, more or less, over an open jaw.
GAZE = 0.35  # Standard deviation of both eyes' common direction, relative to the strongest look.


def sample_actions(names: list[str], count: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Few actions for each face, left and right alike, opposite ones never together.

    Args:
        names: of the actions, such as jawOpen and mouthSmileLeft or mouthSmile_L; any of the known ones may be
            missing, and others are groups of their own.
        strength: of the strongest action, 0..1.

    Returns:
        float64 [count, actions], 0..strength.
    """
    names = [re.sub("_L$", "Left", re.sub("_R$", "Right", name)) for name in names]
    values = {name: np.zeros(count) for name in names}

    def draw(group: tuple[str, ...]) -> None:
        chosen = np.where(rng.random(count) < ACTIVE, rng.integers(len(group), size=count), -1)
        common = rng.random(count)
        sides = common[:, None] * (1 + ASYMMETRY * rng.standard_normal((count, 2)))
        only = np.where(rng.random(count) < ONE_SIDED, rng.integers(2, size=count), -1)
        sides[only == 0, 1] = sides[only == 1, 0] = 0
        for index, action in enumerate(group):
            shares = {action: common, f"{action}Left": sides[:, 0], f"{action}Right": sides[:, 1]}
            for name in shares.keys() & values.keys():
                values[name] = np.where(chosen == index, shares[name], 0)

    for group in GROUPS:
        draw(group)
    if "mouthClose" in values:  # which without an open jaw turns the lips inside out
        jaw = values.get("jawOpen", np.zeros(count))
        values["mouthClose"] = np.where(rng.random(count) < LIPS_CLOSED, rng.random(count), 0) * (jaw > 0)
    to_left, up = GAZE * rng.standard_normal((2, count))
    for side in ("Left", "Right"):
        outwards = to_left if side == "Left" else -to_left
        looks = {"Out": outwards, "In": -outwards, "Up": up, "Down": -up}
        for look, value in looks.items():
            if f"eyeLook{look}{side}" in values:
                values[f"eyeLook{look}{side}"] = np.maximum(value, 0)
    known = {action for group in GROUPS for action in group} | {"mouthClose", *LOOKS}
    unsided = (name if name in known else re.sub("(Left|Right)$", "", name) for name in names)
    for action in dict.fromkeys(action for action in unsided if action not in known):
        draw((action,))
    return strength * np.clip(np.array([values[name] for name in names]).reshape(-1, count).T, 0, 1)
