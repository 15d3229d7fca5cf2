# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from trainer.regression import Moments, held_out, signs_of, subtract


@pytest.fixture
def people():
    """Codes [80, 6] of three parts that belong together, and what is wanted of them, [80, 5]."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(80, 6))
    return codes, codes @ rng.normal(size=(6, 5)) + rng.normal(size=(80, 5)), np.repeat([0, 1, 2], 2)


def test_the_map_minimises_what_the_docstring_states(people):
    z, y, parts = people
    apart = np.where(parts[:, None] == parts, z.T @ z / 80, 0)

    def badness(matrix):
        return ((y - z @ matrix.T) ** 2).sum() / 80 + 0.05 * np.trace(matrix @ apart @ matrix.T)

    best = Moments(z, parts, np.zeros(6)).solve(z.T @ y / 80, 0.05).T
    rng = np.random.default_rng(1)
    for _ in range(30):
        step = 1e-3 * rng.normal(size=best.shape)
        assert badness(best) < min(badness(best + step), badness(best - step))


def test_some_numbers_alone(people):
    z, y, parts = people
    own = np.array([0, 1, 4, 5])
    alone = Moments(z[:, own], parts[own], np.zeros(4)).solve(z[:, own].T @ y, 0.1)
    np.testing.assert_allclose(Moments(z, parts, np.zeros(6)).solve(z[:, own].T @ y, 0.1, own), alone)


def test_faces_and_their_mirror_images_count_without_being_made(people):
    z, _, parts = people
    signs = np.array([1, -1, 1, -1, 1, 1])
    both = Moments(np.concatenate([z, z * signs]), parts, np.zeros(6))
    known = Moments(z, parts, signs)
    np.testing.assert_allclose(known.together, both.together, atol=1e-12)
    np.testing.assert_allclose(known.apart, both.apart, atol=1e-12)


def test_numbers_that_never_vary_are_harmless():
    moments = Moments(np.zeros((5, 3)), np.array([0, 0, 1]), np.zeros(3))
    np.testing.assert_array_equal(moments.solve(np.zeros((3, 2)), 0.01), 0)


def test_fields_are_taken_away_in_place():
    rng = np.random.default_rng(0)
    bases = [(np.array([0, 2]), rng.normal(size=(2, 2, 3))), (np.array([2, 3, 5]), rng.normal(size=(1, 3, 3)))]
    faces, amounts = rng.normal(size=(70, 6, 3)), rng.normal(size=(70, 3))
    want = faces.copy()
    want[:, [0, 2]] -= np.einsum("sz,znc->snc", amounts[:, :2], bases[0][1])
    want[:, [2, 3, 5]] -= np.einsum("sz,znc->snc", amounts[:, 2:], bases[1][1])
    subtract(faces, amounts, bases)
    np.testing.assert_allclose(faces, want)


def test_judges_are_a_tenth_and_signs_need_mirror_images():
    assert held_out(1780).sum() == 178 and held_out(9).sum() == 0
    assert signs_of([(np.array([0]), np.ones((2, 1, 3)))], None).tolist() == [0, 0]
