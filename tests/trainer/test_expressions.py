# SPDX-License-Identifier: GPL-3.0-or-later
import re

import numpy as np

from trainer.datasets.expressions import GROUPS, LOOKS, sample_actions

SIDED = ("brow", "cheekSquint", "eye", "noseSneer", "mouthSmile", "mouthFrown", "mouthStretch", "mouthDimple")
SIDED += ("mouthPress", "mouthLowerDown", "mouthUpperUp")
NAMES = ["mouthClose"]
for _action in [action for group in GROUPS for action in group] + list(LOOKS):
    _sides = ("Left", "Right") if _action.startswith(SIDED) and _action != "browInnerUp" else ("",)
    NAMES += [_action + side for side in _sides]


def by_name(count=4000, strength=1.0, seed=0):
    values = sample_actions(NAMES, count, strength, np.random.default_rng(seed))
    assert values.shape == (count, len(NAMES))
    return dict(zip(NAMES, values.T, strict=True))


def test_actions_are_few_and_within_their_strength():
    values = np.stack(list(by_name(strength=0.6).values()), axis=1)
    assert values.min() == 0 and 0.58 < values.max() <= 0.6
    mimic = values[:, [not name.startswith("eyeLook") for name in NAMES]]
    assert 3 < (mimic > 0).sum(axis=1).mean() < 7
    assert (mimic > 0).mean(axis=0).min() > 0.01
    np.testing.assert_array_equal(values, np.stack(list(by_name(strength=0.6).values()), axis=1))


def test_opposite_actions_do_not_come_together():
    values = by_name()
    for group in GROUPS:
        active = [sum(v for name, v in values.items() if name.startswith(action)) > 0 for action in group]
        assert np.sum(active, axis=0).max() == 1
    assert not (values["mouthClose"] * (values["jawOpen"] == 0)).any()


def test_sides_belong_together():
    values = by_name()
    left, right = values["mouthSmileLeft"], values["mouthSmileRight"]
    both = (left > 0) & (right > 0)
    assert np.corrcoef(left[both], right[both])[0, 1] > 0.9 and (left[both] != right[both]).mean() > 0.9
    assert 0.05 < 1 - both.sum() / ((left > 0) | (right > 0)).sum() < 0.15
    # Both eyes look at one thing.
    np.testing.assert_array_equal(values["eyeLookOutLeft"], values["eyeLookInRight"])
    np.testing.assert_array_equal(values["eyeLookUpLeft"], values["eyeLookUpRight"])
    assert not (values["eyeLookUpLeft"] * values["eyeLookDownLeft"]).any()


def test_names_of_other_models():
    """ICT-FaceKit writes sides as _L and _R and has them for more actions; the draws are the same."""
    names = [re.sub("Left$", "_L", re.sub("Right$", "_R", name)) for name in NAMES]
    jaws = {"jaw_L": "jawLeft", "jaw_R": "jawRight", "mouth_L": "mouthLeft", "mouth_R": "mouthRight"}
    names = [jaws.get(name, name) for name in names]
    values = sample_actions(names, 100, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(values, np.stack(list(by_name(100).values()), axis=1))
    both = sample_actions(["browInnerUp_L", "browInnerUp_R"], 4000, 1.0, np.random.default_rng(0))
    assert 0.25 < (both.max(axis=1) > 0).mean() < 0.35 and np.corrcoef(both.T)[0, 1] > 0.8


def test_missing_and_unknown_actions():
    assert sample_actions([], 5, 1.0, np.random.default_rng(0)).shape == (5, 0)
    assert not sample_actions(["mouthClose"], 50, 1.0, np.random.default_rng(0)).any()
    values = sample_actions(["tongueOut", "wiggle_L", "wiggle_R"], 4000, 0.5, np.random.default_rng(0))
    assert (abs((values > 0).mean(axis=0) - (0.3, 0.285, 0.285)) < 0.03).all() and values.max() <= 0.5
    assert np.corrcoef(values[:, 1:].T)[0, 1] > 0.8 and abs(np.corrcoef(values[:, :2].T)[0, 1]) < 0.1
