# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.thumbnail import Portraits, blender_pixels
from tests.toy import toy_model


@pytest.fixture(scope="module")
def portraits():
    return Portraits(toy_model())


def test_a_head_from_its_top_down_with_nothing_around_it(portraits):
    picture = portraits.picture(portraits.model.mean, 100)
    alpha = picture[..., 3] / 255
    assert picture.shape == (100, 100, 4) and picture.dtype == np.uint8
    assert alpha[:4].max() == 0 and alpha[:36, [0, -1]].max() == 0
    # The sphere has 90 pixels without, 108 with zoom, of which 95 are seen.
    rows, columns = (np.flatnonzero((alpha > 0.5).any(axis=axis)) for axis in (1, 0))
    assert abs(rows[0] - 5) <= 2 and rows[-1] == 99
    assert len(columns) >= 98
    assert alpha[5:59].sum() == pytest.approx(np.pi * 54**2 / 2, rel=0.08)


def test_larger_faces_are_larger_in_the_picture(portraits):
    mean = portraits.model.mean
    seen = [(portraits.picture(size * mean, 64)[..., 3] > 127).sum() for size in (0.8, 1.0)]
    assert seen[0] / seen[1] == pytest.approx(0.68, rel=0.08)  # The neck's end is cut off.


def test_colours_at_the_edge_are_not_darkened_by_the_background(portraits):
    picture = portraits.picture(portraits.model.mean, 64).astype(int)
    edge = (picture[..., 3] > 20) & (picture[..., 3] < 235)
    inside = np.median(picture[picture[..., 3] == 255][:, 0])
    assert edge.sum() > 40
    assert np.median(picture[edge][:, 0]) > 0.5 * inside


def test_a_wide_head_is_scaled_to_the_width():
    model = toy_model()
    model.mean = model.mean * np.float32([3, 1, 1])
    alpha = Portraits(model).picture(model.mean, 64)[..., 3]
    seen = np.flatnonzero((alpha > 127).any(axis=0))
    assert len(seen) > 55 and abs(seen.mean() - 31.5) < 1
    assert (alpha > 127).any(axis=1).sum() < 40


def test_pixels_for_blender_start_at_the_bottom():
    picture = np.zeros((2, 2, 4), np.uint8)
    picture[0, 1] = 255
    assert blender_pixels(picture).reshape(2, 2, 4)[1, 1].tolist() == [1, 1, 1, 1]
    assert blender_pixels(picture).sum() == 4
