# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest

from backend.controls import read_whole
from backend.model import WHOLE, Control
from backend.numpy_decoder import NumpyDecoder
from backend.variations import vary
from tests.toy import toy_model

ALL = (0, 1, 2)


@pytest.fixture(scope="module")
def model():
    return toy_model()


@pytest.fixture(scope="module")
def face(model):
    return model.prior.sample(np.random.default_rng(5), 1)[0]


def test_the_same_seed_gives_the_same_face_and_another_seed_another(model, face):
    first = vary(model, face, ALL, 3, 0.4)
    assert np.array_equal(first, vary(model, face, ALL, 3, 0.4))
    assert np.abs(first - vary(model, face, ALL, 4, 0.4)).max() > 0.1


def test_difference_0_is_the_face_itself(model, face):
    assert np.array_equal(vary(model, face, ALL, 3, 0.0), face)


def test_locked_parts_are_copied_exactly_and_the_others_change(model, face):
    varied = vary(model, face, [0, 2], 3, 0.5)
    locked = model.part_slice(1)
    assert np.array_equal(varied[locked], face[locked])
    for part in (0, 2):
        assert np.abs(varied[model.part_slice(part)] - face[model.part_slice(part)]).max() > 0.05
    assert np.array_equal(vary(model, face, [], 3, 0.5), face)


@pytest.mark.parametrize("difference", [0.25, 0.6, 1.0])
def test_difference_is_a_share_of_how_much_strangers_differ(model, difference):
    """Measured on vertices, over many persons; a linear model, for which the share is exact."""
    model = toy_model(residuals=False)
    faces = model.prior.sample(np.random.default_rng(1), 600)
    varied = np.stack([vary(model, face, ALL, seed, difference) for seed, face in enumerate(faces)])
    decode = NumpyDecoder(model).decode

    def distance(one, other):
        return np.sqrt(np.mean((decode(one) - decode(other)) ** 2))

    assert distance(varied, faces) / distance(faces, np.roll(faces, 1, axis=0)) == pytest.approx(difference, rel=0.08)


def test_variations_of_people_are_people(model):
    """The spread of the prior stays, also after many variations of variations."""
    faces = model.prior.sample(np.random.default_rng(2), 1500)
    for step in range(3):
        faces = np.stack([vary(model, face, ALL, 1500 * step + i, 0.5) for i, face in enumerate(faces)])
    spread = np.cov(faces.T)
    error = np.linalg.norm(spread - model.prior.covariance) / np.linalg.norm(model.prior.covariance)
    assert error < 0.15
    assert model.prior.mahalanobis(faces).mean() == pytest.approx(1, abs=0.05)


def test_a_free_part_goes_towards_what_the_locked_ones_suggest(model, face):
    """At difference 1 nothing is kept: the part is a draw that fits, as Randomise makes it."""
    free = np.zeros(model.code_size, dtype=bool)
    free[model.part_slice(0)] = True
    draws = np.stack([vary(model, face, [0], seed, 1.0)[free] for seed in range(800)])
    spread = draws.std(axis=0).max()
    assert np.abs(draws.mean(axis=0) - model.prior.mean_given(face, free)).max() < 5 * spread / np.sqrt(800)


def test_kept_traits_of_the_whole_face_stay(face):
    """Other people of the same age: what the face shows of it is the same to the digit, and the rest varies."""
    model = toy_model()
    direction = np.random.default_rng(3).normal(size=model.code_size).astype(np.float32)
    age = Control("Age", WHOLE, direction, readout=direction / (direction @ direction))
    model = dataclasses.replace(model, controls=[*model.controls, age])
    shown = read_whole(model, face)[0]
    for parts in (ALL, [0, 2]):
        free = vary(model, face, parts, 3, 0.8, np.array([False]))
        same = vary(model, face, parts, 3, 0.8, np.array([True]))
        assert abs(read_whole(model, free)[0] - shown) > 0.05
        assert read_whole(model, same)[0] == pytest.approx(shown, abs=1e-3)
        assert np.abs(same - face).max() > 0.3
    assert np.array_equal(same[model.part_slice(1)], face[model.part_slice(1)])
