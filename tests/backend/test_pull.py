# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulling: the point goes where it is wanted, locked parts stay, and no pull leaves the space of faces."""

from pathlib import Path

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.lwae_file import load_model
from backend.numpy_decoder import NumpyDecoder
from backend.pull import REACH, Pull
from backend.pull_space import Handle, Puller
from backend.slopes import LocalSlopes, NumericSlopes
from tests.toy import toy_model

DEFAULT = Path(__file__).parents[2] / "blender_lwae" / "models" / "default.lwae"


class Face:
    """A face of a model, pulled at a vertex."""

    def __init__(self, model, seed=3):
        self.model, self.decoder = model, NumpyDecoder(model)
        self.puller = Puller(self.decoder)
        self.code = model.prior.sample(np.random.default_rng(seed), 1)[0]
        self.vertices = self.decoder.decode(self.code[None])[0]
        self.all = range(model.part_count)

    def near(self, place) -> int:
        return int(np.linalg.norm(self.vertices - place, axis=1).argmin())

    def pull(self, vertex, move, free=None, radius=30.0, mirror=False, kept=None, steps=4):
        """Code, vertices and what is left, after going there in some steps of the mouse."""
        handle = Handle(np.array([vertex]), np.ones(1))
        free = self.all if free is None else free
        pull = Pull(self.puller, self.code, self.vertices, handle, free, radius, mirror, kept)
        shown = []

        def show(code):
            shown.append(code)
            return self.decoder.decode_one(code)

        for step in range(1, steps + 1):
            left = pull.follow(np.array(move) * step / steps, show)
        return shown[-1], self.decoder.decode(shown[-1][None])[0], left


@pytest.fixture(scope="module")
def head():
    if not DEFAULT.is_file():
        pytest.skip("the bundled model is not here")
    return Face(load_model(DEFAULT))


@pytest.fixture(scope="module")
def toy():
    return Face(toy_model(border_strength=0.3))


NOSE, CHEEK, EAR, CHIN = (0, -62, -15), (38, -33, -45), (80, 20, 0), (0, -40, -78)


@pytest.mark.parametrize(
    ("place", "move"),
    [(NOSE, (0, -6, 0)), (NOSE, (0, 2, 4)), (CHEEK, (3, 0, 0)), (EAR, (2, 1.5, 0)), (CHIN, (0, -3, -3))],
)
def test_point_follows_and_the_face_stays_plausible(head, place, move):
    vertex = head.near(place)
    code, vertices, left = head.pull(vertex, move)
    assert left < 0.3
    assert np.linalg.norm(vertices[vertex] - head.vertices[vertex] - move) < 0.3
    before, after = head.model.prior.mahalanobis(np.stack([head.code, code]))
    assert after < before + 0.1
    far = np.linalg.norm(head.vertices - head.vertices[vertex], axis=1) > 100
    assert np.linalg.norm(vertices - head.vertices, axis=1)[far].mean() < 0.25 * np.linalg.norm(move)


@pytest.mark.parametrize("part", ["cheeks", "mouth"])
def test_locked_parts_keep_their_code_to_the_last_bit(head, part):
    locked = head.model.part_index(part)
    free = [k for k in head.all if k != locked]
    vertex = head.near(NOSE)
    code, vertices, left = head.pull(vertex, (0, -4, 0), free)
    own = head.model.part_slice(locked)
    assert np.array_equal(code[own], head.code[own])
    assert left < 0.3
    assert np.linalg.norm(vertices[vertex] - head.vertices[vertex] - (0, -4, 0)) < 0.3
    core = head.model.weights[locked] > 0.99
    assert np.linalg.norm(vertices - head.vertices, axis=1)[core].max(initial=0) < 0.05


def test_radius_decides_how_much_comes_along(head):
    vertex = head.near(NOSE)
    distance = np.linalg.norm(head.vertices - head.vertices[vertex], axis=1)
    ring = (distance > 15) & (distance < 30)
    moved = [
        np.linalg.norm(head.pull(vertex, (0, -5, 0), radius=radius)[1] - head.vertices, axis=1)[ring].mean()
        for radius in (10, 30, 90)
    ]
    assert moved[0] < moved[1] < moved[2] and moved[2] > 1.5 * moved[0]


def test_mirror_moves_both_sides(head):
    left, move = head.near(CHEEK), np.array([3.0, 0, -1])
    right = head.puller.mirrored(Handle(np.array([left]), np.ones(1))).vertices[0]
    assert np.allclose(head.model.mean[right], head.model.mean[left] * (-1, 1, 1), atol=0.1)
    vertices = head.pull(left, move, mirror=True)[1]
    assert np.linalg.norm(vertices[left] - head.vertices[left] - move) < 0.3
    assert np.linalg.norm(vertices[right] - head.vertices[right] - move * (-1, 1, 1)) < 0.3


def test_kept_readings_stay(head):
    readings = np.random.default_rng(1).normal(size=(3, head.model.code_size)) / 20
    vertex, move = head.near(NOSE), (0, -4, 0)
    code, vertices, left = head.pull(vertex, move, kept=readings)
    assert np.abs(readings @ (code - head.code)).max() < 1e-3
    assert np.abs(readings @ (head.pull(vertex, move)[0] - head.code)).max() > 0.02
    assert left < 0.3


def test_no_pull_leaves_the_space_of_faces(head):
    vertex, face = head.near(NOSE), head
    code, vertices, left = head.pull(vertex, (0, -60, 0), steps=12)
    assert 20 < left < 60
    assert head.model.prior.mahalanobis(code)[0] < 1.5
    # From there it goes no further, but back at once.
    farther = Face.__new__(Face)
    farther.__dict__.update(face.__dict__, code=code, vertices=vertices)
    again = farther.pull(vertex, (0, -60, 0), steps=6)[1]
    assert np.linalg.norm(again[vertex] - vertices[vertex]) < 2
    back = farther.pull(vertex, (0, 4, 0))[1]
    assert np.linalg.norm(back[vertex] - vertices[vertex] - (0, 4, 0)) < 0.5


def test_limit_is_the_identity_near_people(toy):
    handle = Handle(np.array([toy.near((0, -100, 0))]), np.ones(1))
    pull = Pull(toy.puller, toy.puller.model.prior.mean, toy.model.mean, handle, toy.all, 40.0)
    small = 0.5 / np.sqrt(np.linalg.eigvalsh(pull._matrix.T @ pull._matrix).max()) * np.array([0.6, 0, 0.8])
    assert np.allclose(pull.limited(small), small)
    huge = pull.limited(small * 1e4)
    assert np.linalg.norm(pull._matrix @ huge) < np.sqrt(3) * (REACH + 0.5)


def test_zero_gives_the_code_itself(head):
    code, vertices, left = head.pull(head.near(NOSE), (0, 0, 0))
    assert np.array_equal(code, head.code) and left == 0


def test_result_does_not_depend_on_the_way(head):
    vertex = head.near(CHIN)
    at_once = head.pull(vertex, (0, -3, -3), steps=1)[1]
    slowly = head.pull(vertex, (0, -3, -3), steps=25)[1]
    assert np.abs(at_once - slowly).max() < 0.15


def test_first_order_solution_is_the_regularised_least_squares(toy):
    """Against the normal equations of the energy in the docstring, on all anchors."""
    face = toy
    handle = Handle(np.array([face.near((60, -70, 20)), face.near((50, -80, 20))]), np.array([0.7, 0.3]))
    pull = Pull(face.puller, face.code, face.vertices, handle, face.all, 50.0)
    space = face.puller.space(face.all)
    everywhere = LocalSlopes(face.model, np.eye(face.model.code_size))
    everywhere.renew(face.model.prior.mean)
    fields = everywhere.rows(face.puller._anchors) @ space.basis
    everywhere.renew(face.code)
    point = np.einsum("v,vir->ir", handle.weights, everywhere.rows(handle.vertices)) @ space.basis
    falloff = face.puller.falloffs(face.vertices, [handle.at(face.vertices)], 50.0)[0]
    mass, held, noise = face.puller._mass, (0.25 * 50.0) ** 2, 0.1**2
    normal = np.eye(len(space.spread)) + point.T @ point / noise
    normal += np.einsum("v,vir,vis->rs", mass, fields, fields) / held
    move = np.array([1.0, -2.0, 0.5])
    right = point.T @ move / noise + np.einsum("v,v,vir,i->r", mass, falloff, fields, move) / held
    assert np.allclose(pull._matrix @ move, np.linalg.solve(normal, right), atol=1e-6)


def test_basis_is_white_under_the_prior_and_diagonal_on_the_surface(toy):
    space = toy.puller.space(toy.all)
    kept = space.white @ toy.model.prior.covariance @ space.white.T
    assert np.allclose(kept, np.eye(len(kept)), atol=1e-6)
    assert np.allclose(space.white @ space.basis, np.eye(len(kept)), atol=1e-6)


def test_held_parts_say_what_the_free_ones_are_expected_to_be(toy):
    model, free = toy.model, [1]
    space = toy.puller.space(free)
    own = np.zeros(model.code_size, dtype=bool)
    own[model.part_slice(1)] = True
    assert not space.basis[~own].any()
    covariance = model.prior.covariance
    loosened = covariance[np.ix_(~own, ~own)] + 3.0 * np.eye((~own).sum())
    code = toy.code.astype(np.float64).copy()
    code[own] = model.prior.mean[own] + covariance[np.ix_(own, ~own)] @ np.linalg.solve(
        loosened, code[~own] - model.prior.mean[~own]
    )
    assert np.abs(space.white @ (code - model.prior.mean)).max() < 1e-6


def test_other_presets_are_pulled_by_differences(toy, monkeypatch):
    """As a network that is no `local` one: the same model behind the numeric derivative."""
    monkeypatch.setattr(type(toy.model), "preset", property(lambda self: "another"))
    puller = Puller(toy.decoder)
    assert isinstance(puller._slopes, NumericSlopes)
    vertex = toy.near((0, -100, 0))
    handle = Handle(np.array([vertex]), np.ones(1))
    pull = Pull(puller, toy.code, toy.vertices, handle, [0, 1], 40.0)
    shown = []

    def show(code):
        shown.append(code)
        return toy.decoder.decode_one(code)

    move = np.array([0.0, -1.0, 0.5])
    for _ in range(3):
        pull.follow(move, show)
    moved = toy.decoder.decode_one(shown[-1])[vertex] - toy.vertices[vertex]
    assert np.linalg.norm(moved - pull._reached @ pull.limited(move)) < 0.06
    assert moved @ move > 0.5 * move @ move
    held = toy.model.part_slice(2)
    assert np.array_equal(shown[-1][held], toy.code[held])


def test_nothing_free_gets_a_sentence(toy):
    with pytest.raises(LwaeError, match="locked"):
        toy.puller.space([])


def test_model_without_a_mirror_image_gets_a_sentence(toy):
    with pytest.raises(LwaeError, match="without Mirror"):
        lopsided = toy_model()
        lopsided.mean[:, 0] += 40
        Puller(NumpyDecoder(lopsided)).mirrored(Handle(np.array([40]), np.ones(1)))
