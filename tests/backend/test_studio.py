# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest

from backend.rasteriser import fit_camera
from backend.sky import visible_sky
from backend.studio import Studio
from tests.toy import sphere, toy_model
from trainer.mesh.topology import triangulate

HEIGHT = 80


@pytest.fixture(scope="module")
def ball():
    vertices, sizes, corners = sphere()
    return Studio(vertices, triangulate(sizes, corners))


def test_light_comes_from_the_upper_left_on_white_paper(ball):
    picture = ball.clay(ball.mean, fit_camera(ball.mean, 0, 0, HEIGHT)).astype(int)
    size = picture.shape[1]
    assert (picture[0, 0] == 255).all() and (picture[-1, -1] == 255).all()
    bright, dark = picture[HEIGHT // 4, size // 4], picture[3 * HEIGHT // 4, 3 * size // 4]
    assert (bright > dark + 40).all()
    assert bright[0] > bright[1] > bright[2]  # clay


def test_triangles_that_face_inwards_are_turned(ball):
    camera = fit_camera(ball.mean, 20, 5, HEIGHT)
    turned = Studio(ball.mean, ball.triangles[:, ::-1])
    assert np.abs(turned.clay(ball.mean, camera).astype(int) - ball.clay(ball.mean, camera)).max() <= 2


def test_a_colour_keeps_its_hue_all_over_the_surface(ball):
    colours = np.broadcast_to((0.9, 0.5, 0.2), (len(ball.mean), 3))
    picture = ball.colours(ball.mean, fit_camera(ball.mean, 0, 0, HEIGHT), colours) / 255
    inside = picture[np.linalg.norm(np.indices(picture.shape[:2]).T - HEIGHT / 2, axis=2).T < 0.4 * HEIGHT]
    np.testing.assert_allclose(inside[:, 1] / inside[:, 0], 5 / 9, atol=0.02)
    assert inside[:, 0].min() > 0.5 * 0.9 and inside[:, 0].max() <= 0.9


def test_tint_reaches_as_far_as_its_weight(ball):
    camera = fit_camera(ball.mean, 0, 0, HEIGHT)
    upper = (ball.mean[:, 2] > 20).astype(float)
    tint = np.column_stack([np.broadcast_to((0, 0, 1), (len(upper), 3)), upper])
    plain, tinted = ball.clay(ball.mean, camera).astype(int), ball.clay(ball.mean, camera, tint).astype(int)
    assert np.abs(plain - tinted)[int(0.7 * HEIGHT) :].max() == 0
    middle = tinted[HEIGHT // 4, plain.shape[1] // 2]
    assert middle[2] > middle[0]


def test_eyes_have_an_iris_and_are_not_tinted():
    model = toy_model()
    front = np.zeros(len(model.polygon_sizes), np.uint8)
    corners = np.split(model.polygon_vertices, np.cumsum(model.polygon_sizes)[:-1])
    front[[model.mean[vertices, 1].mean() < 0 for vertices in corners]] = 1
    studio = Studio.of(dataclasses.replace(model, polygon_material=front))
    camera = fit_camera(studio.mean, 0, 0, HEIGHT)
    picture = studio.clay(studio.mean, camera).astype(int)
    middle, side = picture.shape[1] // 2, int(0.2 * picture.shape[1])
    assert picture[HEIGHT // 2, middle].max() < 60 < 120 < picture[HEIGHT // 2, side].min()
    tint = np.ones((len(studio.mean), 4))
    np.testing.assert_array_equal(studio.clay(studio.mean, camera, tint), picture)


def test_a_roof_hides_the_sky():
    vertices, sizes, corners = sphere()
    triangles = triangulate(sizes, corners)
    roof = np.array([[-300.0, -300, 130], [300, -300, 130], [300, 300, 130], [-300, 300, 130]])
    n = len(vertices)
    both = np.concatenate([triangles, [[n, n + 1, n + 2], [n, n + 2, n + 3]]])
    directions, seen = visible_sky(np.concatenate([vertices, roof]), both)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.02)
    top, bottom = vertices[:, 2].argmax(), vertices[:, 2].argmin()
    up = directions[:, 2] > 0.5
    assert not seen[up, top].any() and seen[~up & (directions[:, 2] < -0.2), bottom].all()
