# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from matplotlib.image import imread

from trainer.report.colour_map import LIGHT_MAGMA
from trainer.report.plate import Plate, Scale, picture_grid


def saved(figure, folder):
    plate = Plate("grid", "Grid", "A grid.", figure)
    plate.save(folder)
    pixels = (imread(folder / "grid.png")[:, :, :3] * 255).round().astype(np.uint8)
    assert pixels.shape[1::-1] == plate.size
    return pixels


def test_pictures_come_through_pixel_by_pixel(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(256, size=(40, 30, 3), dtype=np.uint8) for _ in range(3)]
    options = {"columns": ["a", "b"], "names": ["x", "y"], "notes": [["1", "2"], ["3", ""]], "name_width": 30}
    pixels = saved(picture_grid([pictures[:2], [pictures[2], None]], scale=Scale(1, "mm"), **options), tmp_path)
    corners = np.argwhere((pixels[:-40, :-30] == pictures[0][0, 0]).all(axis=2))
    assert any(np.array_equal(pixels[i : i + 40, j : j + 30], pictures[0]) for i, j in corners)
    i, j = next((i, j) for i, j in corners if np.array_equal(pixels[i : i + 40, j : j + 30], pictures[0]))
    assert np.array_equal(pixels[i : i + 40, j + 36 : j + 66], pictures[1])
    assert (pixels[i + 72 : i + 112, j + 36 : j + 66] == 255).all()  # the empty place


def test_a_colour_bar_shows_both_ends(tmp_path):
    pixels = saved(picture_grid([[np.full((200, 600, 3), 255, np.uint8)]], scale=Scale(2.5, "distance, mm")), tmp_path)
    for colour in LIGHT_MAGMA.colors[[3, 128, 252]]:
        assert (np.abs(pixels - colour * 255).max(axis=2) < 3).any()


def test_pictures_of_different_sizes_stand_in_the_middle(tmp_path):
    small, large = np.zeros((20, 10, 3), np.uint8), np.full((20, 50, 3), 100, np.uint8)
    pixels = saved(picture_grid([[small], [large]], gap=5), tmp_path)
    columns = np.flatnonzero((pixels == 0).all(axis=2).any(axis=0))
    assert columns[0] == 25 and columns[-1] == 34


@pytest.mark.parametrize("values, most", [((0, 0.0913), 0.095), ((0, 3.7), 4.0), ((0, 24.0), 25.0), ((0, 0), 1e-9)])
def test_scales_end_at_round_numbers(values, most):
    scale = Scale.of(np.array(values, float), "mm", share=1.0)
    assert scale.most == pytest.approx(most, rel=1e-6) and not scale.open
    np.testing.assert_allclose(scale.colours(np.array([0.0, scale.most])), LIGHT_MAGMA.colors[[0, -1]])


def test_a_scale_says_when_values_are_beyond_it():
    values = np.concatenate([np.linspace(0, 1, 1000), [50.0]])
    scale = Scale.of(values, "mm", share=0.99)
    assert scale.open and scale.most == 1.0
    np.testing.assert_allclose(scale.colours(np.array([50.0])), LIGHT_MAGMA.colors[-1:])
