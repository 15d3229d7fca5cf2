# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.borders import BorderShift, border_pairs
from backend.errors import LwaeError
from backend.local_arrays import part_arrays
from backend.local_network import LocalNumpy
from tests.toy import toy_model


def shift_of(model):
    return BorderShift(model, [part_arrays(model, k) for k in range(model.part_count)])


def test_pairs_are_neighbours_in_both_orders():
    assert border_pairs(toy_model()) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert border_pairs(toy_model(border_strength=0)) == []


def test_moved_weights_are_a_partition_of_unity_between_zero_and_one():
    model = toy_model(border_strength=1.0)
    shift = shift_of(model)
    codes = 3 * np.random.default_rng(0).standard_normal((50, model.code_size)).astype(np.float32)
    amounts = shift.amounts(codes)
    weights = np.zeros((50, model.part_count, model.vertex_count), np.float32)
    for k in range(model.part_count):
        vertices, _ = part_arrays(model, k)
        moved = np.repeat(model.weights[k, vertices][:, None, None], 50, axis=2)
        shift.apply(moved, amounts, k)
        weights[:, k, vertices] = moved[:, 0].T
    assert np.abs(amounts).max() > 0.5
    assert weights.min() >= 0 and weights.max() <= 1 + 1e-3
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-3)  # weights in half precision
    assert np.abs(weights - model.weights).max() > 0.1


def test_the_more_pronounced_side_keeps_more_of_the_border():
    model = toy_model(border_strength=1.0)
    codes = np.ones((1, model.code_size), np.float32)
    codes[:, model.part_slice(0)] *= 5
    amounts = shift_of(model).amounts(codes)[0]
    assert amounts[0] > 0.5 and amounts[1] == pytest.approx(-amounts[0])


def test_nothing_moves_at_the_mean_face_or_without_strength():
    model = toy_model()
    codes = np.zeros((1, model.code_size), np.float32)
    assert (shift_of(model).amounts(codes) == 0).all()
    plain = toy_model(border_strength=0)
    assert LocalNumpy(plain).shift is None


def test_an_old_model_without_the_option_decodes_as_before():
    model = toy_model(border_strength=0)
    codes = np.random.default_rng(1).standard_normal((3, model.code_size)).astype(np.float32)
    expected = LocalNumpy(model).decode(codes)
    del model.header["network"]["border_strength"]
    np.testing.assert_array_equal(LocalNumpy(model).decode(codes), expected)


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(LwaeError, match="from 0 to 1"):
        LocalNumpy(toy_model(border_strength=strength))
