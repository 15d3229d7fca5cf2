# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders of parts: geometric ones keep to their region; "Shape n" are principal components of what is seen."""

import numpy as np
import pytest

from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model
from trainer.controls import HELD, _principal_directions, _within_region, fit_controls


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


def test_what_only_rounding_left_gets_no_slider():
    model = toy_model(code_size=4)
    line = np.random.default_rng(0).normal(size=(1, model.code_size))
    codes = (np.random.default_rng(1).normal(size=(60, 1)) * line).astype(np.float32)
    decoder = NumpyDecoder(model)
    base = decoder.decode(np.zeros((1, model.code_size), np.float32))[0]
    controls = fit_controls(decoder, codes)
    for control in controls:
        code = np.zeros((1, model.code_size), np.float32)
        code[0, model.part_slice(control.part)] = control.direction
        assert np.linalg.norm(decoder.decode(code)[0] - base, axis=1).max() > 0.01, control.name
    assert controls


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


def test_codes_that_move_nothing_beyond_the_part_are_as_free_as_before():
    fields = np.eye(3, 9, dtype=np.float32)  # Each number moves a coordinate of the first vertex.
    covariance = np.diag([1.0, 2, 3])
    np.testing.assert_array_equal(_within_region(covariance, fields, np.array([1, 0.5, 0])), covariance)


def test_what_moves_only_beyond_the_part_may_do_so_less():
    fields = np.zeros((3, 9), np.float32)
    fields[0, 0], fields[1, 3], fields[2, 8] = 1, 1, 2  # The last vertex lies beyond.
    within = _within_region(np.diag([1.0, 2, 3]), fields, np.array([1, 0.5, 0.1]))
    np.testing.assert_allclose(within, np.diag([1, 2, 3 / (1 + HELD)]), rtol=1e-6)


def test_a_slider_takes_the_way_that_stays_within_the_part():
    """Less of what it moves lies beyond, on average of all sliders."""
    model = toy_model(code_size=10)
    decoder, rng = NumpyDecoder(model), np.random.default_rng(2)
    codes = rng.normal(size=(400, model.code_size)).astype(np.float32)
    base = decoder.decode(np.zeros((1, model.code_size), np.float32))[0]
    beyond = []
    for held in (0, HELD):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trainer.controls.HELD", held)
            controls = [one for one in fit_controls(decoder, codes) if not one.name.startswith("Shape")]
        shares = []
        for control in controls:
            code = np.zeros((1, model.code_size), np.float32)
            code[0, model.part_slice(control.part)] = control.direction
            squares = ((decoder.decode(code)[0] - base) ** 2).sum(axis=1)
            shares.append(squares[model.weights[control.part] < 0.25].sum() / squares.sum())
        beyond.append(np.array(shares))
    assert len(beyond[0]) == len(beyond[1]) > 4
    assert beyond[1].mean() < 0.95 * beyond[0].mean(), beyond
