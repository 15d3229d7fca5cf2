# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.rasteriser import fit_camera, rasterise, view_axes
from tests.toy import sphere
from trainer.mesh.topology import triangulate


def one_by_one(vertices, triangles, camera):
    """The nearest triangle of each pixel, triangle after triangle; -1 where there is none."""
    x, y, near = camera.project(vertices)
    row, column = np.indices((camera.height, camera.width)) + 0.5
    seen = np.full((camera.height, camera.width), -1)
    nearest = np.full((camera.height, camera.width), -np.inf)
    for t, (i, j, k) in enumerate(triangles):
        system = np.array([[x[i], x[j], x[k]], [y[i], y[j], y[k]], [1, 1, 1]])
        if abs(np.linalg.det(system)) < 1e-9:
            continue
        pixels = np.stack([column, row, np.ones_like(row)])
        shares = np.einsum("ci,ihw->chw", np.linalg.inv(system), pixels)
        depth = np.einsum("c,chw->hw", near[[i, j, k]], shares)
        closer = (shares.min(axis=0) >= 0) & (depth > nearest)
        seen[closer], nearest[closer] = t, depth[closer]
    return seen


def test_the_same_as_one_triangle_after_the_other():
    rng = np.random.default_rng(0)
    vertices, triangles = rng.normal(size=(60, 3)), rng.integers(60, size=(80, 3))
    triangles[0] = 5, 5, 9
    camera = fit_camera(vertices, 20, 10, 60)
    seen = rasterise(vertices, triangles, camera)
    expected = one_by_one(vertices, triangles, camera).ravel()
    found = np.full(len(expected), -1)
    found[seen.pixel] = seen.triangle
    assert (found == expected).mean() > 0.999 and (expected >= 0).mean() > 0.5 and 0 not in found
    np.testing.assert_allclose(seen.barycentric.sum(axis=0), 1, atol=1e-9)
    x, y, _ = camera.project(vertices)
    row, column = np.divmod(seen.pixel, camera.width)
    for values, middle in ((x, column + 0.5), (y, row + 0.5)):
        corners = values[triangles[seen.triangle]].T
        np.testing.assert_allclose((corners * seen.barycentric).sum(axis=0), middle, atol=1e-6)


def test_a_closed_surface_has_no_holes():
    vertices, sizes, corners = sphere()
    camera = fit_camera(vertices, 30, 20, 151)
    covered = np.zeros((camera.height, camera.width), bool)
    covered.ravel()[rasterise(vertices, triangulate(sizes, corners), camera).pixel] = True
    for line in covered:
        inside = np.flatnonzero(line)
        assert len(inside) == 0 or line[inside[0] : inside[-1] + 1].all()
    assert covered.mean() == pytest.approx(0.96**2 * np.pi / 4, abs=0.02)


@pytest.mark.parametrize("azimuth, elevation", [(0, 0), (35, 8), (180, 0), (-60, 80)])
def test_the_camera_sees_everything(azimuth, elevation):
    faces = np.random.default_rng(1).normal(size=(3, 50, 3)) * (3, 1, 2) + 100
    camera = fit_camera(faces, azimuth, elevation, 200)
    for face in faces:
        x, y, _ = camera.project(face)
        assert x.min() >= 0 and x.max() <= camera.width and y.min() >= 0 and y.max() <= camera.height
    axes = view_axes(azimuth, elevation)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1) and axes[1, 2] > 0


def test_from_the_front_the_persons_left_is_on_the_right():
    camera = fit_camera(np.array([[-1.0, 0, -1], [1, 0, 1]]), 0, 0, 100)
    x, y, near = camera.project(np.array([[1.0, 0, 0], [0, 0, 1], [0, -0.5, 0], [0, 0.5, 0]]))
    assert x[0] > x[1] and y[1] < y[0] and near[2] > 1 > near[3]


def test_what_lies_outside_of_the_picture_is_cut():
    triangle = np.array([[-100.0, 0, -100], [100, 0, -100], [0, 0, 100]])
    camera = fit_camera(triangle / 50, 0, 0, 40)
    seen = rasterise(triangle, np.array([[0, 1, 2]]), camera)
    assert len(seen.pixel) == camera.width * camera.height
    assert len(rasterise(triangle + (0, 0, 1000), np.array([[0, 1, 2]]), camera).pixel) == 0


def test_flat_and_single_points_do_not_break_the_camera():
    for points in (np.zeros((4, 3)), np.eye(3)[:1].repeat(3, axis=0), np.array([[0.0, 0, 0], [9, 0, 0]])):
        camera = fit_camera(points, 0, 0, 50)
        assert camera.width >= 1 and len(rasterise(points, np.array([[0, 1, 1]]), camera).pixel) == 0
