# SPDX-License-Identifier: GPL-3.0-or-later
import math

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial import ConvexHull

from backend.errors import LwaeError
from trainer.mesh.closest_point import closest_points
from trainer.mesh.hierarchy import build_hierarchy
from trainer.mesh.topology import boundary_edges, connected_components, scaled_laplacian, triangle_edges


def sphere(count: int, radius: float = 1.0, centre=(0.0, 0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """Fibonacci points on a sphere and their outward triangles."""
    i = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * i / count), np.pi * (1 + 5**0.5) * i
    points = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)
    triangles = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = points[triangles.T]
    inward = np.einsum("ti,ti->t", np.cross(b - a, c - a), a + b + c) < 0
    triangles[inward] = triangles[inward, ::-1]
    return radius * points + np.asarray(centre), triangles


def sheet(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size]
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(float)
    first = (np.arange(size - 1)[:, None] * size + np.arange(size - 1)).ravel()
    lower = np.stack([first, first + 1, first + size + 1], axis=1)
    return vertices, np.concatenate([lower, np.stack([first, first + size + 1, first + size], axis=1)])


def joined(*meshes):
    offsets = np.cumsum([0] + [len(v) for v, _ in meshes])
    return (
        np.concatenate([v for v, _ in meshes]),
        np.concatenate([t + o for (_, t), o in zip(meshes, offsets, strict=False)]),
    )


def check_invariants(hierarchy, count, levels, factor):
    assert len(hierarchy.vertices) == len(hierarchy.laplacians) == levels + 1
    for level in range(1, levels + 1):
        target = math.ceil(count / factor**level)
        assert abs(hierarchy.sizes[level] - target) <= 0.02 * target
    for level in range(levels):
        down, up, kept = hierarchy.down[level], hierarchy.up[level], hierarchy.kept[level]
        fine, coarse = hierarchy.vertices[level], hierarchy.vertices[level + 1]
        assert down.shape == (len(coarse), len(fine)) and up.shape == down.shape[::-1]
        assert np.all(np.diff(kept) > 0) and np.array_equal(down.indices, kept) and np.all(down.data == 1)
        assert np.array_equal(coarse, fine[kept])
        assert up.data.min() >= 0 and np.allclose(up.sum(axis=1), 1) and np.diff(up.indptr).max() <= 3
        assert abs(down @ up - sp.identity(len(coarse))).max() < 1e-12
    for vertices, triangles, laplacian in zip(
        hierarchy.vertices, hierarchy.triangles, hierarchy.laplacians, strict=True
    ):
        assert len(triangles) and triangles.max() < len(vertices)
        assert len(np.unique(np.sort(triangles, axis=1), axis=0)) == len(triangles)
        expected = scaled_laplacian(triangle_edges(triangles), len(vertices))
        assert abs(laplacian - expected).max() == 0


def test_sphere_stays_a_sphere():
    vertices, triangles = sphere(3000)
    hierarchy = build_hierarchy(vertices, triangles, levels=3)
    check_invariants(hierarchy, 3000, 3, 4)
    for points, faces in zip(hierarchy.vertices, hierarchy.triangles, strict=True):
        assert len(points) - len(triangle_edges(faces)) + len(faces) == 2  # Euler: closed, no handles
        assert len(boundary_edges(faces)) == 0
        corners = points[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert np.all(np.einsum("ti,ti->t", normals, corners.mean(axis=1)) > 0)  # nothing folded over
    up = hierarchy.up[0] @ hierarchy.vertices[1]
    assert np.linalg.norm(up - vertices, axis=1).max() < 0.02


def test_same_input_same_hierarchy():
    mesh = sphere(700)
    first, second = build_hierarchy(*mesh, levels=2), build_hierarchy(*mesh, levels=2)
    for a, b in zip(first.up + first.down, second.up + second.down, strict=True):
        assert (a != b).nnz == 0


def test_detail_is_kept_where_the_surface_bends():
    vertices, triangles = sheet(41)
    x, y = vertices[:, 0] - 20, vertices[:, 1] - 20
    vertices[:, 2] = 6 * np.exp(-(x**2 + y**2) / 18)
    coarse = build_hierarchy(vertices, triangles, levels=1).vertices[1]
    near = np.hypot(coarse[:, 0] - 20, coarse[:, 1] - 20) < 10
    assert near.mean() > 1.5 * np.mean(np.hypot(x, y) < 10)


def test_sheet_keeps_its_outline():
    vertices, triangles = sheet(30)
    hierarchy = build_hierarchy(vertices, triangles, levels=2)
    check_invariants(hierarchy, 900, 2, 4)
    coarse, faces = hierarchy.vertices[2], hierarchy.triangles[2]
    a, b, c = coarse[faces.T]
    assert np.isclose(np.cross(b - a, c - a)[:, 2].sum() / 2, 29**2)
    assert {(0.0, 0.0), (29.0, 0.0), (0.0, 29.0), (29.0, 29.0)} <= {tuple(p[:2]) for p in coarse}


def test_components_do_not_mix():
    head, eye = sphere(2000), sphere(200, radius=0.2, centre=(0.0, 0.0, 0.82))
    vertices, triangles = joined(head, eye)
    hierarchy = build_hierarchy(vertices, triangles, levels=3)
    check_invariants(hierarchy, 2200, 3, 4)
    is_eye = np.arange(2200) >= 2000
    up, kept = hierarchy.up[0], hierarchy.kept[0]
    assert abs(up[is_eye][:, kept < 2000]).sum() == 0
    assert abs(up[~is_eye][:, kept >= 2000]).sum() == 0


def test_rough_meshes():
    body = sphere(400)
    vertices, triangles = joined(
        body, sheet(6), sphere(12, 0.1, (3, 0, 0)), (np.zeros((5, 3)), np.empty((0, 3), int))
    )
    rng = np.random.default_rng(3)
    fins = np.stack([rng.integers(0, 400, 20), rng.integers(0, 400, 20), rng.integers(0, 400, 20)], axis=1)
    vertices[30] = vertices[31]  # zero-area triangles
    triangles = np.concatenate([triangles, triangles[:50], triangles[:9, ::-1], fins, [[7, 7, 8]]])
    hierarchy = build_hierarchy(vertices, triangles, levels=2)
    check_invariants(hierarchy, len(vertices), 2, 4)


def test_many_loose_pieces():
    rng = np.random.default_rng(0)
    pieces = [sphere(4, 0.05, rng.uniform(-2, 2, 3)) for _ in range(60)]
    vertices, triangles = joined(sphere(500), *pieces)
    hierarchy = build_hierarchy(vertices, triangles, levels=3)
    check_invariants(hierarchy, 740, 3, 4)
    assert connected_components(triangle_edges(hierarchy.triangles[3]), hierarchy.sizes[3]).max() >= 0


@pytest.mark.parametrize(
    "vertices, triangles, words",
    [
        (np.zeros((9, 3)), np.empty((0, 3), int), "no triangles"),
        (np.full((9, 3), np.nan), np.array([[0, 1, 2]]), "not finite"),
        (np.zeros((3, 3)), np.array([[0, 1, 9]]), "uses vertex 9"),
        (*sphere(20), "too small"),
    ],
)
def test_bad_meshes_get_a_sentence(vertices, triangles, words):
    with pytest.raises(LwaeError, match=words):
        build_hierarchy(vertices, triangles, levels=4)


def test_closest_points_against_brute_force():
    rng = np.random.default_rng(1)
    vertices, triangles = sphere(60)
    vertices = vertices * rng.uniform(0.3, 1.5, (60, 1))
    triangles = np.concatenate([triangles, [[3, 3, 9], [5, 5, 5]]])  # a segment and a point
    points = rng.normal(size=(120, 3))
    triangle, weights = closest_points(points, vertices, triangles)
    assert weights.min() >= 0 and np.allclose(weights.sum(axis=1), 1)
    found = np.linalg.norm(np.einsum("pc,pci->pi", weights, vertices[triangles[triangle]]) - points, axis=1)
    steps = np.linspace(0, 1, 30)
    s, t = (g.ravel() for g in np.meshgrid(steps, steps))
    s, t = s[s + t <= 1], t[s + t <= 1]
    samples = np.einsum("cs,tci->tsi", np.stack([1 - s - t, s, t]), vertices[triangles]).reshape(-1, 3)
    brute = np.array([np.linalg.norm(samples - p, axis=1).min() for p in points])
    assert np.all(found <= brute + 1e-9) and np.all(found >= brute - 0.08)
