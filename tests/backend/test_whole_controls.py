# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls of the whole face: split and join, the file, conditional draws, synth's table."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from backend.controls import (
    control_label,
    control_matrix,
    join_code,
    part_controls,
    read_whole,
    readouts,
    slider_matrix,
    split_code,
    whole_directions,
)
from backend.errors import LwaeError
from backend.lwae_file import load_model, read_header, save_model
from backend.model import WHOLE
from backend.synthesis import Plan, Table, face_rng, sample_parts, sampling_hash
from tests.toy import toy_model, with_whole_controls


@pytest.fixture
def model():
    return with_whole_controls(toy_model())


def test_sliders_show_what_a_code_says_and_join_to_it_again(model):
    code = model.prior.sample(np.random.default_rng(0), 1)[0]
    values, rest = split_code(model, code)
    np.testing.assert_allclose(join_code(model, values, rest), code, atol=1e-5)
    whole = values[part_controls(model, WHOLE)]
    np.testing.assert_allclose(whole, readouts(model) @ code, rtol=1e-5)
    # Of what they leave, no part's slider explains more.
    left = code - whole_directions(model) @ whole
    matrix = control_matrix(model)[:, : len(model.controls) - 2]
    np.testing.assert_allclose(values[:-2], np.linalg.lstsq(matrix, left, rcond=None)[0], atol=1e-4)
    # One unit more shows as one unit more, and nothing else of the whole face.
    np.testing.assert_allclose(
        read_whole(model, code + model.controls[-2].direction) - whole, [1, 0], atol=1e-4
    )


def test_given_values_of_the_whole_face_stay(model):
    code = model.prior.sample(np.random.default_rng(1), 1)[0]
    values, rest = split_code(model, code, np.array([0.5, -2], np.float32))
    assert values[-2:].tolist() == [0.5, -2]
    np.testing.assert_allclose(join_code(model, values, rest), code, atol=1e-5)


def test_the_matrix_of_many_codes_is_the_split_of_each(model):
    codes = model.prior.sample(np.random.default_rng(2), 5)
    for some in (model, toy_model()):
        together = codes @ slider_matrix(some).T
        np.testing.assert_allclose(together, [split_code(some, code)[0] for code in codes], atol=1e-4)


def test_the_file_keeps_them_and_says_that_it_is_newer(model, tmp_path):
    save_model(model, tmp_path / "whole.lwae")
    again = load_model(tmp_path / "whole.lwae")
    for control, same in zip(model.controls, again.controls, strict=True):
        assert (control.name, control.part, control.description) == (same.name, same.part, same.description)
        np.testing.assert_array_equal(control.direction, same.direction)
        if control.part == WHOLE:
            np.testing.assert_array_equal(control.readout, same.readout)
    assert again.hash == toy_model().hash
    assert read_header(tmp_path / "whole.lwae")["format_version"] == 2
    save_model(toy_model(), tmp_path / "parts.lwae")
    assert read_header(tmp_path / "parts.lwae")["format_version"] == 1
    with zipfile.ZipFile(tmp_path / "parts.lwae") as archive:
        assert "control_readouts.npy" not in archive.namelist()


def rewritten(path, header=None, **arrays):
    """The file with changes to its header and with some arrays replaced, or left out (None)."""
    with zipfile.ZipFile(path) as archive:
        contents = {name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    facts = json.loads(contents["header"].tobytes()) | (header or {})
    contents["header"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    contents |= arrays
    np.savez(path, **{name: array for name, array in contents.items() if array is not None})
    path.with_suffix(".lwae.npz").replace(path)


ENTRIES = [{"name": f"C{i}", "part": part, "description": ""} for i, part in enumerate((0, 0, 1, 1, 2, 2, -1, -1))]


@pytest.mark.parametrize(
    ("header", "arrays", "sentence"),
    [
        (None, {"control_readouts": None}, "how to read"),
        (None, {"control_readouts": np.zeros((1, 12), np.float32)}, "how to read"),
        (None, {"control_readouts": np.zeros((3, 12), np.float32)}, "length"),
        (None, {"control_readouts": np.zeros((2, 11), np.float32)}, "how to read"),
        (None, {"control_readouts": np.full((2, 12), np.nan, np.float32)}, "NaN"),
        (None, {"control_directions": np.zeros(40, np.float32)}, "length"),
        ({"controls": [*ENTRIES[6:], *ENTRIES[:6]]}, {}, "part after part"),
        ({"controls": [*ENTRIES[:6], ENTRIES[6], {**ENTRIES[7], "name": "C6"}]}, {}, "two controls"),
        ({"controls": [*ENTRIES[:7], {**ENTRIES[7], "part": -2}]}, {}, "no part"),
        ({"controls": ENTRIES[:6]}, {}, "length"),
    ],
)
def test_files_that_do_not_fit_get_one_sentence(model, tmp_path, header, arrays, sentence):
    path = tmp_path / "whole.lwae"
    save_model(model, path)
    rewritten(path, header, **arrays)
    with pytest.raises(LwaeError, match=f"whole.lwae is not a usable model.*{sentence}"):
        load_model(path)


def test_draws_that_keep_a_trait_follow_the_conditional_distribution(model):
    """Kept exactly; the rest has the mean and the covariance of the Gaussian given that reading."""
    prior, row = model.prior, readouts(model)[:1].astype(np.float64)
    code = prior.sample(np.random.default_rng(3), 1)[0]
    kept = np.array([True, False])
    draws = np.array([sample_parts(model, code, range(3), face_rng(0, i), 1.0, kept) for i in range(3000)])
    np.testing.assert_allclose(draws @ row[0], row[0] @ code, atol=1e-3)
    gain = prior.covariance @ row.T / (row @ prior.covariance @ row.T)
    mean = prior.mean + gain[:, 0] * (row[0] @ (code - prior.mean))
    covariance = prior.covariance - gain @ row @ prior.covariance
    spread = np.sqrt(np.diag(prior.covariance))
    assert (np.abs(draws.mean(axis=0) - mean) < 0.1 * spread).all()
    assert (np.abs(np.cov(draws.T) - covariance) < 0.15 * np.outer(spread, spread)).all()


def test_some_parts_are_drawn_beside_others_with_a_trait_kept(model):
    code = model.prior.sample(np.random.default_rng(4), 1)[0]
    drawn = sample_parts(model, code, [1], face_rng(1, 0), 1.0, np.array([False, True]))
    held = np.ones(model.code_size, bool)
    held[model.part_slice(1)] = False
    np.testing.assert_array_equal(drawn[held], code[held])
    assert np.abs(drawn - code).max() > 0.05
    assert read_whole(model, drawn)[1] == pytest.approx(read_whole(model, code)[1], abs=1e-3)
    assert abs(read_whole(model, drawn)[0] - read_whole(model, code)[0]) > 0.01
    plain = sample_parts(model, code, [1], face_rng(1, 0), 1.0)
    np.testing.assert_array_equal(sample_parts(model, code, [1], face_rng(1, 0), 1.0, np.zeros(2, bool)), plain)


def test_synths_table_names_and_fills_their_columns(model):
    plan = Plan(model, seed=1, count=3)
    table, codes = Table(plan), plan.codes(0, 3)
    rows = list(csv.DictReader(io.StringIO(table.header() + table.rows(0, codes, [("a", i) for i in range(3)]))))
    for row, code in zip(rows, codes, strict=True):
        for index, value in enumerate(split_code(model, code)[0]):
            assert float(row[control_label(model, index)]) == pytest.approx(value, abs=1e-4)
    assert "whole.Age" in rows[0] and "top.Width" in rows[0]


def test_synth_notices_another_reading(model):
    other = [replace(c, readout=c.readout + 1) if c.part == WHOLE else c for c in model.controls]
    assert sampling_hash(model) != sampling_hash(replace(model, controls=other))
