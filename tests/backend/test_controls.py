# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from backend.controls import control_matrix, join_code, part_controls, split_code
from tests.toy import toy_model


def test_split_and_join_are_inverse():
    model = toy_model()
    code = model.prior.sample(np.random.default_rng(0), 1)[0]
    values, rest = split_code(model, code)
    np.testing.assert_allclose(join_code(model, values, rest), code, atol=1e-5)
    # No slider can explain any of the rest: a second split finds nothing.
    np.testing.assert_allclose(split_code(model, rest)[0], 0, atol=1e-5)


def test_sliders_show_what_was_set():
    model = toy_model()
    values = np.random.default_rng(0).normal(size=len(model.controls)).astype(np.float32)
    found, rest = split_code(model, join_code(model, values, np.zeros(model.code_size, np.float32)))
    np.testing.assert_allclose(found, values, atol=1e-5)
    np.testing.assert_allclose(rest, 0, atol=1e-5)


def test_a_control_moves_its_own_part_only():
    model = toy_model()
    matrix = control_matrix(model)
    for index, control in enumerate(model.controls):
        inside = np.zeros(model.code_size, bool)
        inside[model.part_slice(control.part)] = True
        assert matrix[inside, index].any() and not matrix[~inside, index].any()
    assert part_controls(model, 1) == [2, 3]
