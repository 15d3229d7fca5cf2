# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from tests.toy import sphere
from tests.trainer.faces import two_halves
from trainer.mesh.topology import mirror_map, polygon_edges, triangulate, umbrella_laplacian
from trainer.weights.seams import Seams, moved_borders, seam_matrix, seam_weights


@pytest.fixture(scope="module")
def ball():
    """A ball whose upper and lower half vary on their own, smoothly; faces [S, N, 3], mean, triangles, edges."""
    mean, sizes, corners = sphere(24, 48)
    faces = two_halves(mean, 200, 0.02)
    return faces.astype(np.float32), faces.mean(axis=0), triangulate(sizes, corners), polygon_edges(sizes, corners)


@pytest.fixture(scope="module")
def seams(ball):
    return Seams(*ball)


def halves(height, border=0.0):
    return np.stack([height > border, height <= border], axis=1).astype(float)


def test_seam_matrix_is_the_quadratic_form_it_claims_to_be(ball):
    faces, mean, _, edges = ball
    deviation = faces.astype(np.float64) - mean
    matrix = seam_matrix(deviation.transpose(1, 0, 2).astype(np.float32), edges)
    assert abs(matrix @ np.ones(len(mean))).max() < 1e-9
    weights = np.random.default_rng(2).random(len(mean))
    laplacian = umbrella_laplacian(edges, len(mean))
    natural = np.einsum("snc->n", np.stack([laplacian @ d for d in deviation]) ** 2)
    # L (w D) - w (L D) is sum_i L_vi (w_i - w_v) D_i
    mixed = np.stack([laplacian @ (weights[:, None] * d) - weights[:, None] * (laplacian @ d) for d in deviation])
    expected = (np.einsum("snc->n", mixed**2) / natural).sum()
    assert weights @ (matrix @ weights) == pytest.approx(expected, rel=1e-3)


def test_the_predicted_seam_is_that_of_mixed_faces(ball, seams):
    faces, mean, _, edges = ball
    weights = halves(mean[:, 2])
    laplacian = umbrella_laplacian(edges, len(mean))
    rng = np.random.default_rng(1)
    deviation = faces[:60] - mean
    first, second = deviation[rng.integers(60, size=2000)], deviation[rng.integers(60, size=2000)]
    mixed = weights[:, :1] * first + weights[:, 1:] * second

    def bending(x):
        return np.mean([((laplacian @ face) ** 2).sum(axis=1) for face in x], axis=0)

    ratio = np.sqrt(np.percentile(bending(mixed) / bending(deviation), 95))
    assert seams.seam(weights) == pytest.approx(ratio, rel=0.15)


def test_weights_are_smooth_and_stay_at_home(seams):
    hard = halves(seams.mean[:, 2])
    weights = seam_weights(hard, seams)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-9)
    assert seams.seam(weights) < 0.6 * seams.seam(hard)
    far = seams.border_distance(hard.argmax(axis=1)) > 48
    assert np.abs(weights - hard)[far].max() < 0.05


def test_ragged_borders_become_short(seams):
    x, y, z = seams.mean.T
    ragged = halves(z, 12 * np.sign(np.sin(12 * np.arctan2(x, y))))
    moved = moved_borders(ragged, seams)

    def length(parts):
        label = parts.argmax(axis=1)
        return (label[seams.edges[:, 0]] != label[seams.edges[:, 1]]).sum()

    assert length(moved) < 0.8 * length(ragged)
    assert set(np.unique(moved)) == {0.0, 1.0}


def test_borders_run_through_the_middles_of_edges(seams):
    label = (seams.mean[:, 2] > 0).astype(int)
    cut = seams.edges[label[seams.edges[:, 0]] != label[seams.edges[:, 1]]]
    half = np.linalg.norm(seams.mean[cut[:, 0]] - seams.mean[cut[:, 1]], axis=1) / 2
    distance = seams.border_distance(label)
    assert (distance[cut] <= half[:, None] + 1e-9).all()
    assert distance.min() == pytest.approx(half.min())
    assert np.isinf(seams.border_distance(np.zeros_like(label))).all()


def test_borders_of_symmetric_parts_stay_symmetric(ball, seams):
    """Also where the faces are not: here one side varies half as much again as the other."""
    faces, mean, triangles, edges = ball
    lopsided = np.where(mean[:, :1] > 0, 1.5, 1.0) * (faces - mean) + mean
    mirror = mirror_map(mean)
    assert (mirror >= 0).all()
    moved = moved_borders(halves(mean[:, 2], 9.0), Seams(lopsided.astype(np.float32), mean, triangles, edges))
    np.testing.assert_array_equal(moved, moved[mirror])
    away = np.random.default_rng(0).normal(size=mean.shape) * 3  # too far for the nearest to be the image
    rough = Seams((lopsided + away).astype(np.float32), mean + away, triangles, edges)
    moved = moved_borders(halves(mean[:, 2], 9.0), rough, image=mirror)
    np.testing.assert_array_equal(moved, moved[mirror])
    sides = moved_borders(halves(mean[:, 0]), seams)  # left and right are each other's image: not made one
    assert (sides != sides[mirror]).any()


def test_no_part_vanishes(seams):
    label = np.zeros(len(seams.mean), dtype=int)
    label[seams.mean[:, 2].argmax()] = 1  # a single vertex, which short borders would swallow
    assert len(np.unique(moved_borders(np.eye(2)[label], seams).argmax(axis=1))) == 2


def test_a_part_that_would_vanish_grows_and_is_seen(seams):
    label = (seams.mean[:, 2] < 0).astype(int)
    small = np.linalg.norm(seams.mean - seams.mean[seams.mean[:, 1].argmin()], axis=1) < 8
    label[small] = 2
    hard = np.eye(3)[label]
    moved = moved_borders(hard, seams)
    assert moved[:, 2].sum() > 2 * small.sum()
    weights = seam_weights(hard, seams)
    assert (weights.argmax(axis=1) == 2).sum() > small.sum() and weights[small, 2].max() > 0.5


def test_one_part_alone_has_no_border(seams):
    whole = np.ones((len(seams.mean), 1))
    np.testing.assert_array_equal(seam_weights(whole, seams), whole)


def test_response_is_the_share_that_arrives(seams):
    weights = np.full((len(seams.mean), 2), 0.5)
    weights[:, 0] += 0.25
    np.testing.assert_allclose(seams.response(weights), [0.75, 1.0])  # nowhere strongest: nothing wanted
