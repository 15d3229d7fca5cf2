# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from backend.spans import Span


def span(matrix, most=4, tolerance=1e-9):
    """A span that notes how often the map itself was asked."""
    asked = []

    def apply(vectors):
        asked.extend(vectors)
        return vectors @ matrix

    return Span(apply, *matrix.shape, tolerance, most), asked


def test_vectors_of_a_plane_need_the_map_twice():
    rng = np.random.default_rng(0)
    matrix, plane = rng.normal(size=(30, 50)).astype(np.float32), rng.normal(size=(2, 30))
    of, asked = span(matrix)
    for _ in range(50):
        vector = (rng.normal(size=2) @ plane).astype(np.float32)
        np.testing.assert_allclose(of(vector), vector @ matrix, atol=2e-4)
    assert len(asked) == 2


def test_vectors_of_all_directions_start_over_and_stay_exact():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(30, 50)).astype(np.float32)
    of, _ = span(matrix)
    for _ in range(50):
        vector = rng.normal(size=30).astype(np.float32)
        np.testing.assert_allclose(of(vector), vector @ matrix, atol=1e-4)


def test_close_vectors_do_not_blow_rounding_up():
    rng = np.random.default_rng(2)
    matrix, start = rng.normal(size=(30, 50)).astype(np.float32), rng.normal(size=30)
    of, _ = span(matrix)
    direction = rng.normal(size=30)
    for step in [0.0, 1e-5, 1e-4, 1e-3, 100.0, -100.0]:
        vector = start + step * direction
        np.testing.assert_allclose(of(vector), vector @ matrix, atol=1e-5 * max(1, abs(step)) * 10)


def test_what_is_shorter_than_the_tolerance_is_left_out():
    matrix = np.eye(3, dtype=np.float32)
    of, asked = span(matrix, tolerance=0.01)
    of(np.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(of(np.array([1.0, 0.005, 0.0])), [1, 0, 0], atol=1e-6)
    assert len(asked) == 1


def test_zero_needs_no_map():
    of, asked = span(np.eye(3, dtype=np.float32))
    np.testing.assert_array_equal(of(np.zeros(3)), np.zeros(3))
    assert not asked


def test_what_is_expected_needs_no_map_any_more():
    rng = np.random.default_rng(3)
    matrix, plane = rng.normal(size=(30, 50)).astype(np.float32), rng.normal(size=(3, 30))
    of, asked = span(matrix)
    assert of.is_empty
    of.expect((rng.normal(size=(8, 3)) @ plane).astype(np.float32))
    assert len(asked) == 3 and not of.is_empty
    for _ in range(20):
        vector = (rng.normal(size=3) @ plane).astype(np.float32)
        np.testing.assert_allclose(of(vector), vector @ matrix, atol=2e-4)
    assert len(asked) == 3


def test_no_more_is_expected_than_there_is_room_for():
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(30, 50)).astype(np.float32)
    of, asked = span(matrix, most=4)
    of.expect(rng.normal(size=(9, 30)))
    assert len(asked) == 4
    vector = rng.normal(size=30)
    np.testing.assert_allclose(of(vector), vector @ matrix, atol=1e-4)
    of.expect(np.zeros((2, 30)))
    assert len(asked) == 5
