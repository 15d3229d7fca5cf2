# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.local_network import LocalNumpy
from backend.lwae_file import load_model
from backend.model import WHOLE
from tests.test_default_model import PATH as DEFAULT
from tests.toy import toy_model


def foreign_model():
    """Blocks and borders that reach beyond their parts' own vertices, as another program's model file may have."""
    model = toy_model(seed=4)
    model.network["residual1/vertices"] = np.flipud(model.network["residual1/vertices"] + 60)
    model.network["part1/vertices"] = model.network["part1/vertices"][:-30]
    model.network["part1/basis"] = model.network["part1/basis"][:, :-30]
    return model


MODELS = {
    "toy": toy_model,
    "borders that stay": lambda: toy_model(border_strength=0),
    "linear": lambda: toy_model(residuals=False),
    "five parts": lambda: toy_model(parts=5, seed=2),
    "foreign": foreign_model,
    "bundled": lambda: load_model(DEFAULT),
}


@pytest.mark.parametrize("kind", MODELS)
def test_any_path_of_changes_gives_what_a_whole_decode_gives(kind):
    model = MODELS[kind]()
    network, rng = LocalNumpy(model), np.random.default_rng(0)
    code = model.prior.sample(rng, 1, 1.5)[0]
    network.decode_one(code)
    for step in range(120):
        parts = rng.choice(model.part_count, size=rng.choice([0, 1, 1, 1, 1, 2, model.part_count]), replace=False)
        for k in parts:
            columns = model.part_slice(k)
            code[columns] = rng.choice([0.0, 1.0]) * code[columns] + rng.normal(size=model.code_sizes[k])
        for _ in range(3 if len(parts) == 1 else 1):  # a drag goes on
            code[model.part_slice(parts[0] if len(parts) else 0)] += 0.1
            shown = network.decode_one(code)
        np.testing.assert_allclose(shown, network.decode(code[None])[0], atol=1e-4, err_msg=f"step {step}, {parts}")


@pytest.mark.parametrize("kind", MODELS)
def test_a_slider_of_the_whole_face_shows_what_a_whole_decode_gives(kind):
    model = MODELS[kind]()
    network, rng = LocalNumpy(model), np.random.default_rng(0)
    code = model.prior.sample(rng, 1)[0]
    network.decode_one(code)
    for _ in range(4):
        direction = rng.normal(size=model.code_size) * rng.choice([0, 1], size=model.code_size) / 5
        for step in range(40):
            code = code + np.float32(rng.uniform(-0.5, 0.5)) * direction.astype(np.float32)
            shown = network.decode_one(code)
            np.testing.assert_allclose(shown, network.decode(code[None])[0], atol=1e-4, err_msg=f"step {step}")


def test_the_tiniest_steps_are_steps():
    """Their squares are 0 in float32; so a line would be along NaN."""
    model = toy_model()
    network, code = LocalNumpy(model), np.zeros(model.code_size, np.float32)
    direction = np.random.default_rng(0).normal(size=model.code_size).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        for amount in (0, 1e-25, 2e-25, 3e-25, 1e-44, 1e-3, 2e-3, 3e-3):
            code = np.float32(amount) * direction
            np.testing.assert_allclose(network.decode_one(code), network.decode(code[None])[0], atol=1e-4)


def test_a_face_that_was_there_before_comes_back_to_the_last_bit():
    model = load_model(DEFAULT)
    network, codes = LocalNumpy(model), model.prior.sample(np.random.default_rng(0), 5)
    first = [network.decode_one(code) for code in codes]
    for order in ([0, 1, 0, 1, 0], [4, 2, 3, 1, 0]):
        for number in order:
            np.testing.assert_array_equal(network.decode_one(codes[number]), first[number])


def test_a_drag_of_the_whole_face_soon_needs_no_basis(monkeypatch):
    model = load_model(DEFAULT)
    network = LocalNumpy(model)
    code = model.prior.sample(np.random.default_rng(0), 1)[0]
    direction = next(control.direction for control in model.controls if control.part == WHOLE)
    for amount in np.linspace(-1, 1, 30):
        network.decode_one((code + amount * direction).astype(np.float32))
    expected = LocalNumpy(model).decode((code + np.float32(0.123) * direction)[None].astype(np.float32))[0]
    network.bases[:] = [None] * model.part_count
    for block in network.residuals:
        monkeypatch.setattr(block, "basis", None)
    shown = network.decode_one((code + np.float32(0.123) * direction).astype(np.float32))
    np.testing.assert_allclose(shown, expected, atol=1e-4)


def test_no_error_adds_up_over_a_long_drag():
    model = toy_model(parts=5)
    network, rng = LocalNumpy(model), np.random.default_rng(1)
    code = model.prior.sample(rng, 1)[0]
    for _ in range(5000):
        code[model.part_slice(rng.integers(5))] = rng.normal(size=4)
        shown = network.decode_one(code)
    fresh = LocalNumpy(model).decode_one(code)
    np.testing.assert_allclose(shown, fresh, atol=2e-5)


def test_only_what_depends_on_the_dragged_part_is_computed(monkeypatch):
    model = toy_model()
    network = LocalNumpy(model)
    code = model.prior.sample(np.random.default_rng(0), 1)[0]
    network.decode_one(code)
    code[model.part_slice(2)] += 1
    network.decode_one(code)
    code[model.part_slice(2)] += 1
    expected = LocalNumpy(model).decode(code[None])[0]
    monkeypatch.setattr(type(network.residuals[0]), "__call__", lambda *_: pytest.fail("a block of other parts"))
    network.bases[:2] = [None, None]  # nobody multiplies with these
    np.testing.assert_allclose(network.decode_one(code), expected, atol=1e-4)


def test_what_was_returned_is_the_callers_own():
    model = toy_model()
    network = LocalNumpy(model)
    code = model.prior.sample(np.random.default_rng(0), 1)[0]
    network.decode_one(code)[:] = 0
    code[0] += 1
    network.decode_one(code)[:] = 0
    np.testing.assert_allclose(network.decode_one(code), network.decode(code[None])[0], atol=1e-4)
