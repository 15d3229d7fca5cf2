# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from trainer.regression import Moments, signs_of


@pytest.fixture
def people():
    """Codes [80, 6] of three parts that belong together."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(80, 6))
    return codes, np.repeat([0, 1, 2], 2)


def test_faces_and_their_mirror_images_count_without_being_made(people):
    z, parts = people
    signs = np.array([1, -1, 1, -1, 1, 1])
    both = Moments(np.concatenate([z, z * signs]), parts, np.zeros(6))
    known = Moments(z, parts, signs)
    np.testing.assert_allclose(known.together, both.together, atol=1e-12)
    np.testing.assert_allclose(known.apart, both.apart, atol=1e-12)


def test_signs_need_mirror_images():
    assert signs_of([(np.array([0]), np.ones((2, 1, 3)))], None).tolist() == [0, 0]
