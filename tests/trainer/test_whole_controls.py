# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of the whole face, from labels that are known to shape made-up codes."""

import numpy as np
import pytest

from backend.model import WHOLE
from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model
from trainer.whole_controls import fit_whole_controls

COUNT = 400


@pytest.fixture(scope="module")
def made():
    """Codes that age and weight shape, linearly, beside much else; a label that shapes nothing; three shares."""
    rng = np.random.default_rng(0)
    decoder = NumpyDecoder(toy_model(residuals=False))
    size = decoder.model.code_size
    labels = {name: rng.random(COUNT) for name in ("age", "weight", "height", "african", "asian", "caucasian")}
    labels["age"] = 0.5 * labels["age"] + 0.5 * labels["weight"]  # old people are heavier here
    total = labels["african"] + labels["asian"] + labels["caucasian"]
    truth = {name: rng.normal(size=size) for name in ("age", "weight", "african", "asian", "caucasian")}
    codes = 0.05 * rng.normal(size=(COUNT, size))
    for name, direction in truth.items():
        share = labels[name] / total if name in ("african", "asian", "caucasian") else labels[name]
        codes += np.outer(share - share.mean(), direction) * 3
    labels["years"] = 20 + 60 * labels["age"]
    values = np.stack(list(labels.values()), axis=1)
    controls = fit_whole_controls(decoder, codes.astype(np.float32), list(labels), values)
    return decoder, labels, truth, {control.name: control for control in controls}


def test_only_labels_that_shape_faces_become_controls(made):
    controls = made[3]
    assert list(controls) == ["Age", "Weight", "African", "Asian", "European"]
    assert all(control.part == WHOLE and len(control.direction) == 12 for control in controls.values())


def test_a_control_is_its_own_label_with_the_others_held(made):
    """Old people are heavier, but Age does not add weight."""
    _, labels, truth, controls = made
    for name, label in (("Age", "age"), ("Weight", "weight")):
        expected = 3 * truth[label] * labels[label].std()
        np.testing.assert_allclose(controls[name].direction, expected, atol=0.1 * np.abs(expected).max())


def test_a_control_reads_back_what_it_did(made):
    controls = made[3]
    for name, control in controls.items():
        for other in ("Age", "Weight"):
            assert controls[other].readout @ control.direction == pytest.approx(float(name == other), abs=0.02)
    shares = [controls[name] for name in ("African", "Asian", "European")]
    read = np.array([[one.readout @ other.direction for other in shares] for one in shares])
    np.testing.assert_allclose(read, np.eye(3) - 1 / 3, atol=0.06)


def test_a_label_that_codes_do_not_know_moves_nothing(made, caplog):
    caplog.set_level("INFO")
    decoder, labels = made[:2]
    codes = np.random.default_rng(2).normal(size=(COUNT, 12)).astype(np.float32)
    assert fit_whole_controls(decoder, codes, ["age"], labels["age"][:, None]) == []
    assert "of it, too little for a slider." in caplog.text and "nan" not in caplog.text


def test_no_labels_no_controls(made):
    decoder, codes = made[0], np.random.default_rng(1).normal(size=(50, 12)).astype(np.float32)
    assert fit_whole_controls(decoder, codes, [], np.zeros((50, 0))) == []
    assert fit_whole_controls(decoder, codes, ["identity000"], codes[:, :1]) == []
    # Constant, unknown to the codes, or not a number.
    for label in (np.ones(50), np.random.default_rng(2).random(50), np.full(50, np.nan)):
        assert fit_whole_controls(decoder, codes, ["age"], label[:, None]) == []
