# SPDX-License-Identifier: GPL-3.0-or-later
"""The sliders "Shape n": principal components of what is seen, whatever the numbers of a code are."""

import numpy as np

from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model
from trainer.controls import _principal_directions, fit_controls


def test_they_are_the_pca_of_the_surface_in_any_numbers():
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(6, 40)) * np.array([1, 5, 0.1, 2, 0.3, 3])[:, None]
    codes = rng.normal(size=(500, 6))
    codes -= codes.mean(axis=0)
    shown = codes @ fields
    _, deviations, axes = np.linalg.svd(shown / np.sqrt(len(shown)), full_matrices=False)
    found = _principal_directions(codes, fields, 4)
    np.testing.assert_allclose(np.abs(found @ fields), np.abs(deviations[:4, None] * axes[:4]), atol=1e-6)
    mixing = rng.normal(size=(6, 6))
    other = _principal_directions(codes @ np.linalg.inv(mixing), mixing @ fields, 4)
    np.testing.assert_allclose(np.abs(other @ mixing @ fields), np.abs(found @ fields), atol=1e-6)


def test_what_shows_nothing_gets_no_slider():
    codes = np.random.default_rng(0).normal(size=(50, 3))
    fields = np.zeros((3, 9))
    fields[1] = 1
    assert len(_principal_directions(codes - codes.mean(axis=0), fields, 3)) == 1


def test_the_first_one_moves_the_surface_most():
    model = toy_model(code_size=10)
    decoder = NumpyDecoder(model)
    codes = np.random.default_rng(1).normal(size=(400, model.code_size)).astype(np.float32)
    base = decoder.decode(np.zeros((1, model.code_size), np.float32))
    controls = [control for control in fit_controls(decoder, codes) if control.name.startswith("Shape")]
    for part in range(model.part_count):
        shapes = [control for control in controls if control.part == part]
        moved = []
        for control in shapes:
            code = np.zeros((1, model.code_size), np.float32)
            code[0, model.part_slice(part)] = control.direction
            moved.append(np.sqrt(((decoder.decode(code) - base) ** 2).sum()))
        assert shapes and moved[0] > 0.8 * max(moved)
