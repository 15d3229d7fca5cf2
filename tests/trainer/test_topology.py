# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.errors import LwaeError
from trainer.mesh import topology


def grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A flat sheet of unit quads: vertices [N, 3], polygon sizes, polygon corners."""
    y, x = np.mgrid[:height, :width]
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(float)
    first = (np.arange(height - 1)[:, None] * width + np.arange(width - 1)).ravel()
    quads = np.stack([first, first + 1, first + width + 1, first + width], axis=1)
    return vertices, np.full(len(quads), 4), quads.ravel()


def test_triangulate_mixed_polygons():
    sizes, corners = [3, 4, 5], [0, 1, 2, 2, 1, 3, 4, 4, 3, 5, 6, 7]
    assert topology.triangulate(sizes, corners).tolist() == [
        [0, 1, 2], [2, 1, 3], [2, 3, 4], [4, 3, 5], [4, 5, 6], [4, 6, 7],
    ]  # fmt: skip


@pytest.mark.parametrize("sizes, corners", [([3, 2], [0, 1, 2, 0, 1]), ([3], [0, 1, 2, 3])])
def test_triangulate_refuses_broken_polygons(sizes, corners):
    with pytest.raises(LwaeError):
        topology.triangulate(sizes, corners)


def test_polygon_edges_have_no_diagonals():
    _, sizes, corners = grid(2, 2)
    assert topology.polygon_edges(sizes, corners).tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert len(topology.triangle_edges(topology.triangulate(sizes, corners))) == 5


def test_boundary_edges_of_a_sheet_and_of_a_closed_surface():
    vertices, sizes, corners = grid(5, 4)
    edges = topology.boundary_edges(topology.triangulate(sizes, corners))
    assert len(edges) == 14 and sorted(edges[:, 0]) == sorted(edges[:, 1]) == sorted(set(edges[:, 0].tolist()))
    assert np.all(np.abs(vertices[edges[:, 0]] - vertices[edges[:, 1]]).sum(axis=1) == 1)
    tetrahedron = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    assert len(topology.boundary_edges(tetrahedron)) == 0


def test_components_are_numbered_by_first_vertex():
    edges = np.array([[4, 5], [0, 2]])
    assert topology.connected_components(edges, 6).tolist() == [0, 1, 0, 2, 3, 3]


def test_laplacians_ignore_constants_and_isolated_vertices():
    vertices, sizes, corners = grid(4, 4)
    vertices = np.r_[vertices, [[9.0, 9.0, 9.0]]]
    triangles = topology.triangulate(sizes, corners)
    edges = topology.triangle_edges(triangles)
    for matrix in (topology.umbrella_laplacian(edges, 17), topology.cotangent_laplacian(vertices, triangles)):
        assert np.abs(matrix @ np.ones(17)).max() < 1e-12
        assert matrix[16].nnz == 0 or np.abs(matrix[16]).max() == 0
    # A flat sheet has no curvature: the cotangent Laplacian of inner positions is zero (the umbrella one is not).
    inner = [5, 6, 9, 10]
    assert np.abs((topology.cotangent_laplacian(vertices, triangles) @ vertices)[inner]).max() < 1e-12


def test_scaled_laplacian_spectrum():
    _, sizes, corners = grid(6, 6)
    matrix = topology.scaled_laplacian(topology.triangle_edges(topology.triangulate(sizes, corners)), 36).toarray()
    values = np.linalg.eigvalsh(matrix)
    assert np.isclose(values[0], -1) and values[-1] < 1
    assert np.allclose(matrix, matrix.T)


def test_areas():
    vertices, sizes, corners = grid(5, 3)
    triangles = topology.triangulate(sizes, corners)
    assert np.isclose(topology.vertex_areas(vertices, triangles).sum(), 8)
    assert np.allclose(topology.vertex_normals(vertices, triangles), [0, 0, 1])


def test_geodesics_go_around_and_use_diagonals():
    vertices, sizes, corners = grid(21, 21)
    triangles = topology.triangulate(sizes, corners)
    distance, origin = topology.nearest_source(vertices, triangles, np.array([0]))
    true = np.linalg.norm(vertices - vertices[0], axis=1)
    assert np.all(distance >= true - 1e-9)
    assert (
        np.isclose(distance[20], 20) and np.isclose(distance[440], 20 * 2**0.5) and np.isclose(distance[420], 20)
    )
    assert (distance[1:] / true[1:]).max() < 1.09
    assert set(origin) == {0}
    loose = topology.geodesic_distances(np.r_[vertices, [[0.0, 0.0, 1.0]]], triangles, np.array([0]))
    assert np.isinf(loose[-1])


def test_distances_from_sources_with_a_start():
    vertices, sizes, corners = grid(21, 3)
    triangles = topology.triangulate(sizes, corners)
    start = np.full(len(vertices), np.inf)
    assert np.isinf(topology.distances_from(vertices, triangles, start)).all()
    start[[0, 20]] = 0.0, 4.0
    distance = topology.distances_from(np.r_[vertices, [[0.0, 0.0, 1.0]]], triangles, np.r_[start, np.inf])
    x = np.arange(21)
    assert np.allclose(distance[:21], np.minimum(x, 24 - x)) and np.isinf(distance[-1])
    start[20] = 30.0  # further than from the other source
    assert np.allclose(topology.distances_from(vertices, triangles, start)[:21], x)


def test_mirror_map():
    vertices = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 2.0, 0], [5.0, 5, 5], [-1.0001, 3, 0], [1.0, 3, 0]])
    assert topology.mirror_map(vertices, 0.01).tolist() == [1, 0, 2, -1, 5, 4]
