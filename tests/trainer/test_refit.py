# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases that are fitted to each other."""

import numpy as np
import pytest

from backend.local_arrays import part_arrays
from backend.numpy_decoder import NumpyDecoder
from tests.trainer.test_tails import closed_form, misses, people, toy_image  # noqa: F401 (a fixture)
from trainer.equivariance import parity
from trainer.mirror import mirror_images
from trainer.refit import leave_residual, refit


def refitted(displacements, image=None, size=5, rounds=1):
    model, rest, left = closed_form(displacements, image, size), displacements.copy(), displacements.copy()
    better, codes = refit(model, rest, rounds, image)
    leave_residual(model, left)
    return model, better, codes, left, rest


def test_other_people_are_met_better_and_no_part_reaches_further(people):  # noqa: F811
    train, test = people
    model, better, codes, left, rest = refitted(train)
    assert misses(better, test) < 0.9 * misses(model, test)
    for part in range(model.part_count):
        np.testing.assert_array_equal(part_arrays(model, part)[0], part_arrays(better, part)[0])
    np.testing.assert_allclose(better.mean + train - NumpyDecoder(better).decode(codes), rest, atol=1e-4)
    assert np.square(rest).sum() < 0.9 * np.square(left).sum()
    once, thrice = (misses(refitted(train, size=9, rounds=rounds)[1], test) for rounds in (1, 3))
    assert thrice < once


def test_where_one_part_stands_alone_its_basis_stays(people):  # noqa: F811
    """It is a PCA, which nothing linear improves; and nobody else's code may be used there."""
    train, _ = people
    model, better, _, _, _ = refitted(train)
    vertices, before = part_arrays(model, 0)
    alone = model.weights[0, vertices] == 1
    change = np.abs(part_arrays(better, 0)[1] - before).max(axis=(0, 2))
    assert change[~alone].max() > 10 * change[alone].max()


def test_a_stranger_s_part_is_not_relied_on(people):  # noqa: F811
    """Mixes of parts stay as far from the mean as before: nothing large is there to be cancelled."""
    train, test = people
    model, better, *_ = refitted(train, size=9)
    sizes = []
    for each in (model, better):
        codes = NumpyDecoder(each).encode(each.mean + test)
        mixed = np.concatenate([np.roll(codes[:, each.part_slice(k)], k, axis=0) for k in range(3)], axis=1)
        sizes.append(np.square(NumpyDecoder(each).decode(mixed) - each.mean).sum())
    assert 0.95 < sizes[1] / sizes[0] < 1.1


def test_sides_stay_alike(people):  # noqa: F811
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
def test_few_faces(people, faces):  # noqa: F811
    train, test = people
    model, better, *_ = refitted(train[:faces])
    assert misses(better, test) < 1.05 * misses(model, test)


def test_noise_is_left_alone():
    noise = np.random.default_rng(0).normal(size=(60, 266, 3)).astype(np.float32)
    model, better, _, left, rest = refitted(noise)
    assert better is model
    np.testing.assert_array_equal(left, rest)
