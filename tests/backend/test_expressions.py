# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.errors import LwaeError
from backend.expressions import Expressions, Follower, check_expressions
from backend.lwae_file import load_model, save_model
from tests.toy import toy_model
from trainer.datasets.expression_set import Turn, load_expressions, make_expressions, save_expressions


@pytest.fixture
def model():
    return toy_model()


def some(model) -> Expressions:
    """A smile that is the same for all, and a jaw that turns the lower half by 30 degrees about one vertex."""
    low = model.mean[:, 2] < 0
    smile = np.where((model.mean[:, 1] < -60)[:, None], [0, -2.0, 1.0], 0)
    matrix = Rotation.from_euler("x", 30, degrees=True).as_matrix() - np.eye(3)
    pivot = int(np.argmax(model.mean[:, 1]))
    jaw = low[:, None] * ((model.mean - model.mean[pivot]) @ matrix.T)
    turns = {"jawOpen": Turn(matrix, low.astype(float), np.array([pivot]), np.array([1.0]))}
    return make_expressions({"mouthSmile_L": smile, "jawOpen": jaw, "nothing": np.zeros_like(smile)}, turns)


def on(follower, name, face):
    result = face.astype(np.float64).copy()
    vertices, deltas = follower.delta(follower.numbers[name], face)
    result[vertices] += deltas
    return result


def test_names_are_arkits_and_what_moves_nothing_is_left_out(model):
    assert some(model).names == ["mouthSmileLeft", "jawOpen"]


def test_what_turns_turns_about_the_persons_own_pivot(model):
    known = some(model)
    follower = Follower(known, model.mean, model.skin)
    rng = np.random.default_rng(0)
    face = (model.mean * rng.uniform(0.8, 1.2, 3) + rng.normal(size=3) * 10).astype(np.float32)
    pivot = face[np.argmax(model.mean[:, 1])]
    turned = on(follower, "jawOpen", face)
    low = model.mean[:, 2] < 0
    exact = (face - pivot) @ Rotation.from_euler("x", 30, degrees=True).as_matrix().T + pivot
    # A vertex next to the pivot that hardly moves on the mean face is not stored.
    stored = np.isin(np.arange(len(face)), follower.delta(1, face)[0])
    np.testing.assert_allclose(turned[low & stored], exact[low & stored], atol=1e-3)
    np.testing.assert_array_equal(turned[~low], face[~low].astype(np.float64))
    # An additive action is the same for everyone.
    np.testing.assert_allclose(
        on(follower, "mouthSmileLeft", face) - face, on(follower, "mouthSmileLeft", model.mean) - model.mean, atol=1e-4
    )


def test_changes_add_up_to_the_action_on_the_new_face(model):
    """A key follows step by step, with no memory of where the face was."""
    known = replace(some(model), closes=np.array([True, False]))
    follower = Follower(known, model.mean, model.skin)
    rng = np.random.default_rng(1)
    for index in range(2):
        face = model.mean.copy()
        vertices, deltas = follower.delta(index, face)
        deltas = deltas.astype(np.float64)
        for _ in range(5):
            step = rng.normal(size=face.shape).astype(np.float32)
            face = face + step
            own = follower.change(index, step)
            if own is not None:
                deltas[np.searchsorted(vertices, own[0])] += own[1]
        np.testing.assert_allclose(deltas, follower.delta(index, face)[1], atol=1e-3)


def lids() -> tuple[Expressions, np.ndarray, np.ndarray, np.ndarray]:
    """Two lids as flat strips, 8 mm of eye between their edges; the upper one comes down onto the lower one."""
    x, z = np.meshgrid(np.linspace(-15, 15, 16), np.concatenate([np.arange(4, 13), -np.arange(4, 9)]))
    mean = np.stack([x.ravel(), np.zeros(x.size), z.ravel()], axis=1).astype(np.float32)
    upper = mean[:, 2] > 0
    down = np.where(upper, -7.5 * (12 - mean[:, 2]) / 8, 0)
    delta = np.stack([np.zeros_like(down), np.zeros_like(down), down], axis=1)
    return make_expressions({"eyeBlinkLeft": delta}, {}), mean, upper, np.abs(mean[:, 2]) == 4


def test_lids_close_on_the_persons_own_lids():
    known, mean, upper, edge = lids()
    follower = Follower(known, mean, np.ones(len(mean), bool))
    for opening in (-5.0, 6.0, 15.0):
        face = mean.copy()
        face[upper, 2] += opening * np.clip((13 - mean[upper, 2]) / 9, 0, 1)
        face[:, 0] *= 1.2
        closed = on(follower, "eyeBlinkLeft", face)
        gap = closed[upper & edge, 2] - closed[~upper & edge, 2]
        assert np.abs(gap - 0.5).max() < 0.25, f"opened by {opening}: {gap}"
        # The lid is drawn along evenly: nothing of it overtakes what was below it.
        columns = np.sort(closed[upper].reshape(9, 16, 3)[:, :, 2], axis=0)
        np.testing.assert_allclose(columns, closed[upper].reshape(9, 16, 3)[:, :, 2], atol=1e-6)
        np.testing.assert_array_equal(closed[~upper], face[~upper].astype(np.float64))


def test_a_lid_that_meets_nothing_just_moves():
    known, mean, upper, _ = lids()
    mean = np.where(upper[:, None], mean, mean - [0, 0, 40]).astype(np.float32)
    follower = Follower(known, mean, np.ones(len(mean), bool))
    face = mean + np.float32([0, 1, 2])
    np.testing.assert_allclose(follower.delta(0, face)[1], known.deltas, atol=1e-5)


def test_a_model_file_keeps_them(model, tmp_path):
    model = replace(model, expressions=replace(some(model), closes=np.array([True, False])))
    save_model(model, tmp_path / "model.lwae")
    again = load_model(tmp_path / "model.lwae").expressions
    assert again.names == model.expressions.names and again.closes.tolist() == [True, False]
    step = np.abs(model.expressions.deltas).max() / 32767
    np.testing.assert_allclose(again.deltas, model.expressions.deltas, atol=0.6 * step)
    for name in ("sizes", "vertices", "shares", "turns", "pivot_vertices", "pivot_weights"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model.expressions, name))
    assert load_model(tmp_path / "model.lwae").hash == toy_model().hash


def test_a_model_without_has_none(model, tmp_path):
    save_model(model, tmp_path / "model.lwae")
    assert not load_model(tmp_path / "model.lwae").expressions


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"names": ["same", "same"]}, "same name"),
        ({"names": ["one"]}, "shape"),
        ({"names": ["one", 2]}, "same name, or one has none"),
        ({"sizes": np.array([1, 1], np.int32)}, "add up"),
        ({"sizes": np.array([-1, 500], np.int32)}, "add up"),
        ({"vertices": np.full(0, 0, np.int32)}, "shape"),
        ({"turns": np.full((2, 3, 3), np.nan, np.float32)}, "NaN"),
        ({"pivot_vertices": np.full((2, 1), 10**6, np.int32)}, "does not exist"),
        ({"pivot_weights": np.zeros((2, 3), np.float32)}, "shape"),
        ({"shares": np.zeros((3, 3), np.float32)}, "shape"),
    ],
)
def test_what_does_not_fit_is_refused(model, changes, sentence):
    with pytest.raises(LwaeError, match=sentence):
        check_expressions(replace(some(model), **changes), model.vertex_count)


def test_falling_vertices_are_refused(model):
    known = some(model)
    with pytest.raises(LwaeError, match="do not rise"):
        check_expressions(replace(known, vertices=known.vertices[::-1].copy()), model.vertex_count)


def test_a_data_set_carries_them_for_any_face_of_its_mesh(model, tmp_path):
    known = some(model)
    save_expressions(tmp_path, known, model.mean)
    same = load_expressions(tmp_path, model.mean, model.skin)
    np.testing.assert_allclose(same.deltas, known.deltas, atol=1e-4)
    # On a mean face that is not the one they were made for, the jaw turns about that one's pivot.
    larger = model.mean * np.float32(1.1)
    moved = load_expressions(tmp_path, larger, model.skin)
    jaw = moved.rows(1)
    np.testing.assert_allclose(moved.deltas[jaw], 1.1 * known.deltas[jaw], atol=1e-3)
    assert not load_expressions(tmp_path / "elsewhere", model.mean, model.skin)
    with pytest.raises(LwaeError, match="another mesh"):
        load_expressions(tmp_path, model.mean[:-1], model.skin[:-1])
    (tmp_path / "expressions.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(LwaeError, match="damaged"):
        load_expressions(tmp_path, model.mean, model.skin)
