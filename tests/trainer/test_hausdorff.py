# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from tests.toy import sphere
from trainer.evaluation.hausdorff import hausdorff_distance
from trainer.mesh.closest_point import closest_points
from trainer.mesh.topology import triangulate


def farthest(points, vertices, triangles):
    triangle, shares = closest_points(points, vertices, triangles)
    nearest = np.einsum("pc,pcd->pd", shares, vertices[triangles[triangle]])
    return np.linalg.norm(points - nearest, axis=1).max()


def test_the_same_as_projecting_every_vertex_both_ways():
    vertices, sizes, corners = sphere()
    triangles = triangulate(sizes, corners)
    rng = np.random.default_rng(0)
    for size in (0.5, 5, 40):
        a, b = (vertices + rng.normal(size=vertices.shape) * size for _ in range(2))
        expected = max(farthest(a, b, triangles), farthest(b, a, triangles))
        assert hausdorff_distance(a, b, triangles) == pytest.approx(expected, rel=1e-6)
        assert hausdorff_distance(b, a, triangles) == pytest.approx(expected, rel=1e-6)


def test_a_spike_counts_from_either_side():
    vertices, sizes, corners = sphere()
    triangles = triangulate(sizes, corners)
    spiked = vertices.copy()
    spiked[vertices[:, 2].argmax(), 2] += 30
    for pair in ((vertices, spiked), (spiked, vertices)):
        assert hausdorff_distance(*pair, triangles) == pytest.approx(30, abs=0.01)
    assert hausdorff_distance(vertices, vertices, triangles) < 1e-5
    # Sliding along the surface is no distance from it.
    turn = np.radians(15)
    turned = vertices @ np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    assert hausdorff_distance(vertices, turned, triangles) < 0.01


def test_vertices_without_a_triangle_are_no_surface():
    vertices, sizes, corners = sphere()
    triangles = triangulate(sizes, corners)
    loose = np.concatenate([vertices, [[0, 0, 500.0]]])
    other = np.concatenate([vertices, [[0, 0, 900.0]]])
    assert hausdorff_distance(loose, other, triangles) < 1e-5
