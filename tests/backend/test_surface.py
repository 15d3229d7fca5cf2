# SPDX-License-Identifier: GPL-3.0-or-later
"""Surfaces: welding, open edges, normals, even samples."""

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.polygons import triangulate
from backend.surface import Surface, barycentric
from tests.toy import sphere


@pytest.fixture
def ball() -> Surface:
    vertices, sizes, corners = sphere()
    return Surface(vertices, triangulate(sizes, corners))


def test_fans_of_polygons():
    triangles = triangulate([3, 5, 4], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    assert triangles.tolist() == [[0, 1, 2], [3, 4, 5], [3, 5, 6], [3, 6, 7], [8, 9, 10], [8, 10, 11]]


def test_normals_of_a_ball_point_outwards(ball):
    directions = ball.vertices / np.linalg.norm(ball.vertices, axis=1, keepdims=True)
    assert np.einsum("vi,vi->v", ball.normals, directions).min() > 0.98
    assert np.allclose(ball.flipped().normals, -ball.normals)
    assert not ball.open_edge.any()


def test_unshared_vertices_are_welded(ball):
    """STL has three vertices of its own for each triangle."""
    soup = Surface(ball.vertices[ball.triangles].reshape(-1, 3), np.arange(3 * len(ball.triangles)).reshape(-1, 3))
    assert len(soup.vertices) == len(ball.vertices) and not soup.open_edge.any()
    assert np.isclose(soup.areas.sum(), ball.areas.sum())


def test_a_hole_has_an_open_edge(ball):
    kept = ball.vertices[ball.triangles][:, :, 2].max(axis=1) < 50
    bowl = Surface(ball.vertices, ball.triangles[kept])
    rim = bowl.vertices[bowl.open_edge]
    assert len(rim) == 24 and np.ptp(rim[:, 2]) < 1e-6


def test_samples_are_even_over_the_area_and_on_the_surface(ball):
    points, normals, triangles = ball.sample(20_000, np.random.default_rng(0))
    upper = (points[:, 2] > 0).mean()
    assert abs(upper - 0.5) < 0.01
    # A zone of a sphere has the area of its height.
    assert abs((np.abs(points[:, 2]) < 50).mean() - 0.5) < 0.02
    corners = ball.vertices[ball.triangles[triangles]]
    shares = barycentric(points, corners)
    assert np.allclose(np.einsum("pc,pci->pi", shares, corners), points, atol=1e-9)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)


@pytest.mark.parametrize(
    ("vertices", "sentence"),
    [([[0, 0, 0], [1, 0, 0], [2, 0, 0]], "no faces with an area"), ([[0, 0, 0], [1, 0, np.nan], [0, 1, 0]], "NaN"),
     ([[0, 0, 0], [1, 0, 1e20], [0, 1, 0]], "infinite")],
)
def test_bad_meshes_are_refused(vertices, sentence):
    with pytest.raises(LwaeError, match=sentence):
        Surface(np.array(vertices, dtype=float), np.array([[0, 1, 2]]))
