# SPDX-License-Identifier: GPL-3.0-or-later
import importlib.util
import os

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.errors import LwaeError
from backend.expressions import Follower
from tests.toy import sphere
from trainer.datasets.anny_expressions import Bone, turn
from trainer.datasets.expression_set import load_expressions


def test_a_bone_turns_each_person_about_their_own_place():
    ball = sphere()[0]
    morph = np.array([[0.0, 40.0, 0.0]])
    persons = np.array([[0.0], [1.0]])
    faces = ball + (persons @ morph)[:, None]
    bone = Bone(np.where(ball[:, 2] > 0, 1.0, 0.0), np.zeros(3), morph)
    turned = faces.copy()
    turn(turned, persons, bone, bone.weights, Rotation.from_euler("x", [[90], [90]], degrees=True))
    np.testing.assert_array_equal(turned[:, ball[:, 2] <= 0], faces[:, ball[:, 2] <= 0])
    upper = ball[ball[:, 2] > 0]
    expected = np.stack([upper[:, 0], -upper[:, 2], upper[:, 1]], axis=1)
    np.testing.assert_allclose(turned[0, ball[:, 2] > 0], expected, atol=1e-9)
    np.testing.assert_allclose(turned[1, ball[:, 2] > 0], expected + morph, atol=1e-9)


@pytest.mark.skipif(
    importlib.util.find_spec("anny") is None and not os.environ.get("CI"),
    reason="the package anny is not installed",
)
def test_anny_heads_with_expressions(tmp_path, monkeypatch):
    from trainer.datasets import anny
    from trainer.datasets.anny import prepare_anny

    head = anny._AnnyHead(True)
    monkeypatch.setattr(anny, "_AnnyHead", lambda expressions: head)  # it takes seconds to load
    dataset = prepare_anny(tmp_path / "a", 8, 1, 0.8)
    assert dataset.label_names[-51:] == head.action_names and "tongueOut" not in head.action_names
    actions = dataset.labels[:, -51:]
    assert (actions > 0).any(axis=1).all() and 0.5 < actions.max() < 0.801
    assert "--expressions 0.8" in dataset.command and "expressions" in dataset.provenance
    np.testing.assert_array_equal(prepare_anny(tmp_path / "b", 8, 1, 0.8).vertices, dataset.vertices)
    with pytest.raises(LwaeError, match="from 0 to 1"):
        prepare_anny(tmp_path / "c", 8, 1, 1.5)

    # The persons are those of the neutral set, and the back of the skull is where it was.
    monkeypatch.undo()
    neutral = prepare_anny(tmp_path / "n", 8, 1)
    np.testing.assert_array_equal(neutral.labels, dataset.labels[:, :-51])
    moved = np.linalg.norm(dataset.vertices - neutral.vertices, axis=2)
    skull = (head.mean[:, 1] > 90) & (head.mean[:, 2] > 0)
    assert skull.sum() > 50 and moved[:, skull].max() < 1e-3
    assert (moved.max(axis=1) > 2).all()

    rng = np.random.default_rng(0)
    phenotypes, local = head.sample_phenotypes(4, rng), head.sample_local_changes(4, rng)
    still = head.vertices(phenotypes, local)

    def offsets(**strengths):
        values = np.zeros((4, len(head.action_names)))
        for name, strength in strengths.items():
            values[:, head.action_names.index(name)] = strength
        return head.vertices(phenotypes, local, values) - still

    assert abs(offsets()).max() < 1e-9
    # The chin goes down; closed lips stay.
    lips = abs(offsets(mouthRollLower=1)).max(axis=(0, 2)) > 2
    opened, closed = offsets(jawOpen=1)[..., 2], offsets(jawOpen=1, mouthClose=1)[..., 2]
    assert (opened.min(axis=1) < -20).all() and (closed.min(axis=1) < -15).all()
    assert (abs(closed[:, lips]).mean(axis=1) < 0.3 * abs(opened[:, lips]).mean(axis=1)).all()
    # anny's blendshapes add the same to everybody; the jaw opens about everybody's own hinge.
    assert np.ptp(offsets(mouthSmileLeft=1), axis=0).max() < 1e-9
    assert np.ptp(offsets(jawOpen=1), axis=0).max() > 1
    # What the data set carries for shape keys is, on anybody, what anny itself does: jaw and eyeballs to 4 % of their
    # motion, lids but for what closes them, all else exactly.
    skin = np.ones(len(head.mean), bool)
    skin[dataset.template.polygon_vertices.reshape(-1, 4)[dataset.template.polygon_material == 1]] = False
    known = load_expressions(neutral.path, head.mean.astype(np.float32), skin)
    assert known.names == head.action_names
    follower = Follower(known, head.mean.astype(np.float32), skin)
    faces = (still - still.mean(axis=1, keepdims=True) + head.mean.mean(axis=0)).astype(np.float32)
    for index, name in enumerate(known.names):
        own = offsets(jawOpen=1, mouthClose=1) - offsets(jawOpen=1) if name == "mouthClose" else offsets(**{name: 1})
        for face, exact in zip(faces, own, strict=True):
            found = np.zeros_like(exact)
            vertices, found[vertices] = follower.delta(index, face)
            missed = np.linalg.norm(found - exact, axis=1)
            allowed = 0.05 * np.abs(exact).max() if known.turns[index].any() else 0.03
            assert missed.max() < (5 if known.closes[index] else allowed), name
    # A look turns the eyeballs and keeps their shape.
    look = still + offsets(eyeLookOutLeft=1, eyeLookInRight=1)
    template = dataset.template
    eyes = np.unique(template.polygon_vertices.reshape(-1, 4)[template.polygon_material == 1])
    for side in (1, -1):
        eye = eyes[side * head.mean[eyes, 0] > 0]
        front = eye[still[0, eye, 1].argmin()]
        assert (look[:, front, 0] > still[:, front, 0] + 1).all()  # to the person's left
        before, after = (np.linalg.norm(x[:, eye] - x[:, eye[:1]], axis=2) for x in (still, look))
        np.testing.assert_allclose(after, before, atol=0.5)
