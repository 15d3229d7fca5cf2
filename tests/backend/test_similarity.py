# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.similarity import Similarity, exact_map, fit_similarity, nearest_rotation
from tests.poses import random_rotation


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(30, 3)) * [80, 60, 100]


@pytest.mark.parametrize("scale", [None, 25.4])
def test_finds_any_similarity_again(points, scale):
    for seed in range(20):
        true = Similarity(25.4, random_rotation(seed), np.array([3.0, -400, 7]))
        found = fit_similarity(points, true.apply(points), np.ones(30), scale)
        assert found.scale == pytest.approx(25.4)
        np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-9)
        np.testing.assert_allclose(found.translation, true.translation, atol=1e-6)


def test_points_without_weight_do_not_matter(points):
    true = Similarity(1.0, random_rotation(1), np.array([1.0, 2, 3]))
    target, weights = true.apply(points), np.arange(30) % 2
    target[weights == 0] += 1000
    np.testing.assert_allclose(fit_similarity(points, target, weights).matrix, true.matrix, atol=1e-9)


def test_weights_are_those_of_least_squares(points):
    rng = np.random.default_rng(2)
    target, weights = points + rng.normal(size=points.shape) * 5, rng.uniform(size=30)

    def cost(pose):
        return weights @ np.sum((pose.apply(points) - target) ** 2, axis=1)

    best = fit_similarity(points, target, weights)
    for seed in range(50):
        turn = nearest_rotation(np.eye(3) + 0.01 * np.random.default_rng(seed).normal(size=(3, 3)))
        nudged = Similarity(
            best.scale * rng.uniform(0.99, 1.01), turn @ best.rotation, best.translation + rng.normal(size=3) * 0.1
        )
        assert cost(nudged) > cost(best)


def test_inverse_and_matrix_agree_with_apply(points):
    pose = Similarity(0.01, random_rotation(3), np.array([1.0, 2, 3]))
    np.testing.assert_allclose(pose.inverse().apply(pose.apply(points)), points, atol=1e-9)
    columns = np.concatenate([points, np.ones((30, 1))], axis=1).T
    np.testing.assert_allclose((pose.matrix @ columns)[:3].T, pose.apply(points), atol=1e-12)


def test_a_reflection_is_never_a_rotation():
    matrices = np.random.default_rng(4).normal(size=(100, 3, 3))
    np.testing.assert_allclose(np.linalg.det(nearest_rotation(matrices)), 1, atol=1e-9)


def test_tells_moves_of_the_whole_from_edits(points):
    points = (points / 1000).astype(np.float32)
    true = Similarity(1.7, random_rotation(3), np.array([4.0, -5, 6]))
    moved = true.apply(points).astype(np.float32)
    found = exact_map(points, moved)
    assert isinstance(found, Similarity)
    np.testing.assert_allclose(found.matrix, true.matrix, atol=1e-5)
    for factors in ((1, 1.01, 1), (-1, 1, 1)):
        np.testing.assert_allclose(exact_map(points, points * factors)[:3], np.diag(factors), atol=1e-6)
    moved[4, 2] += 1e-4
    assert exact_map(points, moved) is None
