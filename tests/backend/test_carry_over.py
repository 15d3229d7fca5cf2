# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import math

import numpy as np
import pytest

from backend.carry_over import carry_over
from backend.controls import slider_signature, split_code
from backend.face_file import fits, join_parts, own_code
from backend.model import WHOLE, Control
from backend.numpy_decoder import NumpyDecoder
from tests.backend.test_face_file import record_of
from tests.toy import toy_model


@pytest.fixture(scope="module")
def source():
    return NumpyDecoder(toy_model(residuals=False))


@pytest.fixture
def record(source):
    codes = source.model.prior.sample(np.random.default_rng(0), 2)
    return record_of(source.model, codes[0], donor=codes[1])


def other_topology(parts=3, seed=4):
    """The toy with its polygons in another order: another topology."""
    model = toy_model(seed=seed, parts=parts)
    return NumpyDecoder(dataclasses.replace(model, polygon_vertices=np.roll(model.polygon_vertices, 3)))


def test_the_same_model_changes_nothing(record, source):
    carried = carry_over(record, None, source)
    assert carried.record is record and carried.how == "same" and not carried.left and not carried.sentence()


def test_the_same_vertices_are_encoded_again(record, source):
    """A model with another basis of the same space: the same face, and the same donor."""
    model = source.model
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0]
    network = dict(model.network)
    for k in range(model.part_count):
        basis = network[f"part{k}/basis"].astype(np.float64)
        network[f"part{k}/basis"] = np.einsum("ij,jvc->ivc", rotation, basis).astype(np.float32)
    target = NumpyDecoder(dataclasses.replace(model, network=network))
    assert target.model.hash != model.hash
    carried = carry_over(record, source, target)
    assert carried.how == "vertices" and not carried.left and fits(carried.record, target.model)
    wanted = source.decode(own_code(record, model)[None])
    error = np.linalg.norm(target.decode(own_code(carried.record, target.model)[None]) - wanted, axis=-1)
    assert error.mean() == pytest.approx(carried.error, abs=1e-3) and error.mean() < 0.05
    assert np.abs(wanted - model.mean).max() > 2
    donor, new = record.donors[0], carried.record.donors[0]
    wanted = source.decode(join_parts(model, donor.code)[None])
    assert np.linalg.norm(target.decode(join_parts(target.model, new.code)[None]) - wanted, axis=-1).mean() < 0.05
    assert new.amounts == donor.amounts and new.settings == donor.settings
    assert carried.record.settings == record.settings
    assert carried.record.parts["middle"].settings == record.parts["middle"].settings
    assert "mm" in carried.sentence()


def test_another_mesh_takes_sliders_by_name(record, source):
    target = other_topology()
    carried = carry_over(record, source, target)
    assert carried.how == "sliders" and math.isnan(carried.error) and fits(carried.record, target.model)
    assert {name: part.sliders for name, part in carried.record.parts.items()} == {
        name: part.sliders | {"Shape 1": 0.0} for name, part in record.parts.items()
    }
    nameless = "the sliders Shape 1, 2, ..., which mean something else there"
    assert carried.left == [nameless, "the finer shape that no slider holds", "what is held in place"]
    values, _ = split_code(source.model, join_parts(source.model, record.donors[0].code))
    new, rest = split_code(target.model, join_parts(target.model, carried.record.donors[0].code))
    named = [control.name != "Shape 1" for control in source.model.controls]
    assert np.allclose(new, values * named, atol=1e-5) and np.allclose(rest, 0, atol=1e-5)


def test_a_model_that_is_not_installed_leaves_its_donors(record):
    carried = carry_over(record, None, other_topology())
    assert "its donor" in carried.left and not carried.record.donors
    assert carried.record.parts["top"].sliders == record.parts["top"].sliders | {"Shape 1": 0.0}


def test_parts_and_sliders_without_a_place_are_named(record, source):
    target = other_topology(parts=2)  # No bottom.
    record.parts["top"].sliders["Beard"] = 1.5
    record.parts["middle"].sliders["Idle"] = 0.0
    record.whole["Age"] = 0.5
    carried = carry_over(record, None, target)
    assert carried.left[:2] == ["the part bottom", "the sliders top Beard, Age"]
    assert list(carried.record.parts) == ["top", "middle"] and "Beard" not in carried.record.parts["top"].sliders
    assert "the part bottom" in carried.sentence()


def test_the_same_network_with_other_sliders_keeps_the_rest(record, source):
    model = source.model
    fewer = NumpyDecoder(dataclasses.replace(model, controls=[c for c in model.controls if c.name == "Width"]))
    assert fewer.model.hash == model.hash
    carried = carry_over(record, None, fewer)
    assert carried.record.parts["top"].rest == record.parts["top"].rest
    assert any("Shape 1" in phrase for phrase in carried.left) and len(carried.record.donors) == 1
    # With the sliders that the record was made with, nothing is lost.
    carried = carry_over(record, source, fewer)
    assert carried.how == "vertices" and carried.error < 0.05


def test_sliders_of_the_whole_face_say_what_the_face_shows(record, source):
    model = source.model
    direction = np.random.default_rng(3).normal(size=model.code_size).astype(np.float32)
    age = Control("Age", WHOLE, direction, readout=direction / (direction @ direction))
    aged = NumpyDecoder(dataclasses.replace(model, controls=[*model.controls, age]))
    code = own_code(record, model)
    values, rest = split_code(aged.model, code)
    record = dataclasses.replace(record, whole={"Age": float(values[-1])}, whole_settings={"Age": {"locked": True}})
    for k, part in enumerate(record.parts.values()):
        part.rest = rest[model.part_slice(k)].tolist()
        part.sliders = dict(zip(part.sliders, values[2 * k : 2 * k + 2].tolist(), strict=True))
    assert fits(record, aged.model) and np.allclose(own_code(record, aged.model), code, atol=1e-5)
    other = dataclasses.replace(
        aged.model, header=dict(model.header, name="other"), mean=model.mean + np.float32(0.01)
    )
    carried = carry_over(record, aged, NumpyDecoder(other))
    assert carried.how == "vertices" and carried.record.whole["Age"] == pytest.approx(values[-1], abs=0.02)
    assert carried.record.whole_settings == {"Age": {"locked": True}}
    wanted = aged.decode(code[None])
    shown = NumpyDecoder(other).decode(own_code(carried.record, other)[None])
    assert np.linalg.norm(shown - wanted, axis=-1).mean() < 0.06


def test_numbers_of_vertices_stay_with_their_mesh(record, source):
    record.arrays["neck_edge"] = [1.0, 2.0, 3.0]
    renamed = NumpyDecoder(dataclasses.replace(source.model, part_names=["top", "middle", "chin"]))
    assert carry_over(record, source, renamed).record.arrays == record.arrays
    carried = carry_over(record, source, other_topology())
    assert carried.record.arrays == {} and "what is held in place" in carried.left


def test_donors_of_parts_that_are_gone_are_named(source, record):
    model = source.model
    renamed = dataclasses.replace(model, part_names=["top", "middle", "chin"])
    carried = carry_over(record, source, NumpyDecoder(renamed))
    assert carried.how == "vertices" and carried.left == ["what donors give to bottom"]
    assert carried.record.donors[0].amounts == {"top": 0.25, "middle": 0.25, "chin": 0.0}


def test_other_sliders_of_the_same_code_show_the_same_face_exactly(record, source):
    """Names alone do not tell two models apart, and the code need not be encoded again."""
    model = source.model
    controls = [dataclasses.replace(control, direction=control.direction / 2) for control in model.controls]
    target = NumpyDecoder(dataclasses.replace(model, controls=controls))
    assert target.model.hash == model.hash and fits(record, target.model), "without a signature only names count"
    record = dataclasses.replace(record, sliders=slider_signature(model))
    assert fits(record, model) and not fits(record, target.model)
    carried = carry_over(record, source, target)
    assert (carried.how, carried.error, carried.left) == ("vertices", 0.0, [])
    assert fits(carried.record, target.model) and carried.record.sliders == slider_signature(target.model)
    assert np.allclose(own_code(carried.record, target.model), own_code(record, model), atol=1e-6)
    assert carried.record.donors[0].code == record.donors[0].code
    sliders = record.parts["middle"].sliders
    assert any(sliders.values())
    for name, value in carried.record.parts["middle"].sliders.items():
        assert value == pytest.approx(2 * sliders[name], abs=1e-5)


def test_a_damaged_record_of_the_same_model_says_what_it_lacks(record, source):
    del record.parts["middle"]
    carried = carry_over(record, source, source)
    assert carried.how == "sliders" and carried.unsaid == ("middle",)
    assert "it has no entry for middle, now average" in carried.sentence() and fits(carried.record, source.model)
    assert carried.record.parts["top"].rest == record.parts["top"].rest


def test_the_shape_of_a_record_outlives_its_model(record, source):
    model = source.model
    mixed = own_code(record, model)
    record.arrays |= {"shape": np.round(source.decode(mixed[None]), 2).ravel().tolist(), "neck_edge": [1.0]}
    target = NumpyDecoder(dataclasses.replace(model, header=dict(model.header, name="new"), mean=model.mean + 0.01))
    target.model.mean = target.model.mean.astype(np.float32)
    carried = carry_over(record, None, target)
    assert carried.how == "vertices" and fits(carried.record, target.model) and carried.error < 0.05
    shown = target.decode(own_code(carried.record, target.model)[None])
    assert np.linalg.norm(shown - source.decode(mixed[None]), axis=-1).mean() < 0.06
    assert carried.left == ["its donors, though what they gave stays"] and not carried.record.donors
    assert carried.record.arrays == {"neck_edge": [1.0]}, "the shape was the old model's"
    assert carry_over(record, None, other_topology()).how == "sliders"
    record.arrays["shape"].pop()
    assert carry_over(record, None, target).how == "sliders"
