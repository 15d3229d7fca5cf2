# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.thumbnail import Portraits, blender_pixels
from tests.toy import toy_model


@pytest.fixture(scope="module")
def portraits():
    return Portraits(toy_model())


def test_a_square_with_nothing_around_the_head(portraits):
    picture = portraits.picture(portraits.model.mean, 64)
    alpha = picture[..., 3] / 255
    assert picture.shape == (64, 64, 4) and picture.dtype == np.uint8
    assert alpha[0].max() == alpha[-1].max() == alpha[:, 0].max() == alpha[:, -1].max() == 0
    # The sphere fills a disc but for the margin of 5 % on both sides.
    assert alpha.sum() == pytest.approx(np.pi * (0.45 * 64) ** 2, rel=0.05)
    rows, columns = np.nonzero(alpha > 0.5)
    assert abs(rows.mean() - 31.5) < 0.6 and abs(columns.mean() - 31.5) < 0.6


def test_larger_faces_are_larger_in_the_picture(portraits):
    mean = portraits.model.mean
    seen = [(portraits.picture(size * mean, 64)[..., 3] > 127).sum() for size in (0.8, 1.0)]
    assert seen[0] / seen[1] == pytest.approx(0.64, rel=0.05)


def test_colours_at_the_edge_are_not_darkened_by_the_background(portraits):
    picture = portraits.picture(portraits.model.mean, 64).astype(int)
    edge = (picture[..., 3] > 20) & (picture[..., 3] < 235)
    inside = np.median(picture[picture[..., 3] == 255][:, 0])
    assert edge.sum() > 40
    assert np.median(picture[edge][:, 0]) > 0.5 * inside


def test_a_wide_head_fits_into_the_square():
    model = toy_model()
    model.mean = model.mean * np.float32([3, 1, 1])
    alpha = Portraits(model).picture(model.mean, 64)[..., 3]
    assert alpha[:, 0].max() == alpha[:, -1].max() == 0
    assert (alpha > 127).any(axis=0).sum() > 50


def test_pixels_for_blender_start_at_the_bottom():
    picture = np.zeros((2, 2, 4), np.uint8)
    picture[0, 1] = 255
    assert blender_pixels(picture).reshape(2, 2, 4)[1, 1].tolist() == [1, 1, 1, 1]
    assert blender_pixels(picture).sum() == 4
