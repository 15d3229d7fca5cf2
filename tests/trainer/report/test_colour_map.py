# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from trainer.report.colour_map import LIGHT_MAGMA, to_lab


def test_lab_of_known_colours():
    """Tabulated for sRGB primaries under D65."""
    lab = to_lab(np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]], atol=0.1)


def test_equal_steps_from_light_to_dark():
    lab = to_lab(LIGHT_MAGMA.colors)
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() < 1.05 * steps.min()
    assert (np.diff(lab[:, 0]) < 0).all() and lab[0, 0] > 90 and lab[-1, 0] < 30
    assert np.hypot(*lab[0, 1:]) < 5  # neutral where there is nothing
