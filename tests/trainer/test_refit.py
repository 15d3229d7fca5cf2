# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases that are fitted to each other."""

import dataclasses

import numpy as np
import pytest

from backend.local_arrays import part_arrays
from backend.numpy_decoder import NumpyDecoder
from backend.prior import Prior
from tests.toy import toy_model
from trainer.closed_form import local_arrays
from trainer.equivariance import parity
from trainer.mesh.topology import triangulate
from trainer.mirror import find_image, mirror_images
from trainer.refit import leave_residual, refit
from trainer.smooth_regression import SmoothRegression

SIZE = 5  # numbers of a part
DIRECTIONS = 12  # in which the people of `people` differ, of which a part's code holds `SIZE`


@pytest.fixture(scope="module")
def people():
    """200 and 50 faces whose parts belong together, float32 [S, N, 3] mm around the mean of a toy model."""
    base, rng = toy_model(), np.random.default_rng(0)
    waves = np.sin(base.mean @ rng.normal(scale=0.02, size=(3, DIRECTIONS)) + rng.uniform(0, 6, DIRECTIONS)).T
    modes = waves[:, :, None] * rng.normal(size=(DIRECTIONS, 1, 3)) * np.geomspace(4, 0.4, DIRECTIONS)[:, None, None]
    amounts = rng.normal(size=(250, DIRECTIONS))
    faces = np.tensordot(amounts, modes, 1).astype(np.float32)
    return faces[:200] - faces[:200].mean(axis=0), faces[200:] - faces[:200].mean(axis=0)


@pytest.fixture(autouse=True)
def bolder(monkeypatch):
    """The toy's borders bend four times as much as its faces, so that it would pay too much for every bend."""
    monkeypatch.setattr("trainer.refit.WAYS", ((0.2, 0.001), (5.0, 0.1)))


def toy_image():
    base = toy_model()
    template = type("Template", (), {"polygon_sizes": base.polygon_sizes, "polygon_vertices": base.polygon_vertices})
    return find_image(base.mean, template)


def closed_form(displacements, image=None, size=SIZE):
    """A linear model of such faces."""
    base = toy_model(residuals=False)
    triangles = triangulate(base.polygon_sizes, base.polygon_vertices)
    weights = base.weights if image is None else (base.weights + base.weights[:, image]) / 2
    arrays = local_arrays(displacements, base.mean, triangles, weights, size, image=image)
    sizes = [len(arrays[f"part{k}/basis"]) for k in range(base.part_count)]
    prior = Prior(np.zeros(sum(sizes), np.float32), np.eye(sum(sizes), dtype=np.float32), 1.0)
    return dataclasses.replace(base, weights=weights, code_sizes=sizes, prior=prior, controls=[], network=arrays)


def misses(model, displacements):
    """Mean distance of faces from what their codes decode to, mm."""
    decoder = NumpyDecoder(model)
    made = decoder.decode(decoder.encode(model.mean + displacements))
    return np.linalg.norm(made - model.mean - displacements, axis=2).mean()


def refitted(displacements, image=None, size=5, rounds=1):
    model, rest, left = closed_form(displacements, image, size), displacements.copy(), displacements.copy()
    better = refit(model, rest, rounds, image)
    leave_residual(model, left)
    return model, better, left, rest


def test_other_people_are_met_better_and_no_part_reaches_further(people):
    train, test = people
    model, better, left, rest = refitted(train)
    assert misses(better, test) < 0.9 * misses(model, test)
    for part in range(model.part_count):
        np.testing.assert_array_equal(part_arrays(model, part)[0], part_arrays(better, part)[0])
    decoder = NumpyDecoder(better)
    made = decoder.decode(decoder.encode(better.mean + train))
    np.testing.assert_allclose(better.mean + train - made, rest, atol=1e-3)
    assert np.square(rest).sum() < 0.9 * np.square(left).sum()
    once, thrice = (misses(refitted(train, size=9, rounds=rounds)[1], test) for rounds in (1, 3))
    assert thrice < once


def test_where_one_part_stands_alone_its_basis_stays(people):
    """It is a PCA, which nothing linear improves; and nobody else's code may be used there."""
    train, _ = people
    model, better, *_ = refitted(train)
    vertices, before = part_arrays(model, 0)
    alone = model.weights[0, vertices] == 1
    change = np.abs(part_arrays(better, 0)[1] - before).max(axis=(0, 2))
    assert change[~alone].max() > 10 * change[alone].max()


def test_a_stranger_s_part_is_not_relied_on(people):
    """Mixes of parts stay as far from the mean as before: nothing large is there to be cancelled."""
    train, test = people
    model, better, *_ = refitted(train, size=9)
    sizes = []
    for each in (model, better):
        codes = NumpyDecoder(each).encode(each.mean + test)
        mixed = np.concatenate([np.roll(codes[:, each.part_slice(k)], k, axis=0) for k in range(3)], axis=1)
        sizes.append(np.square(NumpyDecoder(each).decode(mixed) - each.mean).sum())
    assert 0.95 < sizes[1] / sizes[0] < 1.1


def test_sides_stay_alike(people):
    train, test = people
    image = toy_image()
    model, better, *_ = refitted(train, image, size=8)
    assert not np.array_equal(model.network["part1/basis"], better.network["part1/basis"])
    for part in range(3):
        assert set(parity(*part_arrays(better, part), image)) == {-1, 1}
        vertices, basis = part_arrays(better, part)
        signs = parity(vertices, basis, image)[:, None, None]
        np.testing.assert_array_equal(mirror_images(basis, np.searchsorted(vertices, image[vertices])) * signs, basis)


@pytest.mark.parametrize("faces", [4, 12, 30])
def test_few_faces(people, faces):
    train, test = people
    model, better, *_ = refitted(train[:faces])
    assert misses(better, test) < 1.05 * misses(model, test)


@pytest.mark.parametrize("size", [5, 20])
def test_noise_is_not_learned(size):
    """There is nothing that one part could tell of another, and other faces are met no worse."""
    noise = np.random.default_rng(0).normal(size=(100, 266, 3)).astype(np.float32)
    model, better, *_ = refitted(noise[:60], size=size, rounds=4)
    assert better is not model
    assert misses(better, noise[60:]) < 1.001 * misses(model, noise[60:])


def test_it_is_as_bold_as_mixes_of_training_faces_allow(people, monkeypatch):
    train, _ = people
    monkeypatch.setattr("trainer.refit.MORE_BENDING", -9)
    model, better, left, rest = refitted(train)
    assert better is model
    np.testing.assert_array_equal(left, rest)
    tried = []
    monkeypatch.setattr("trainer.refit.Seam.__call__", lambda *_: len(tried) and 9)
    monkeypatch.setattr("trainer.refit.WAYS", ((0.2, 3.0), (0.3, 5.0)))

    class Regression(SmoothRegression):
        def __init__(self, *given):
            tried.append(given[3])
            super().__init__(*given)

    monkeypatch.setattr("trainer.refit.SmoothRegression", Regression)
    assert refitted(train)[1].network["part0/basis"] is not None and tried == [0.2, 0.3]


def test_faces_that_only_move_are_left_alone():
    moved = np.zeros((40, 266, 3), np.float32) + np.random.default_rng(0).normal(size=(40, 1, 3)).astype(np.float32)
    model, better, *_ = refitted(moved - moved.mean(axis=0), size=1)
    assert misses(better, moved) <= misses(model, moved) + 1e-4
