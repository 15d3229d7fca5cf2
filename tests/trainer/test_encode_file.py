# SPDX-License-Identifier: GPL-3.0-or-later
import json

import numpy as np
import pytest

from backend.controls import split_code
from backend.lwae_file import load_model, save_model
from backend.numpy_decoder import NumpyDecoder
from tests.poses import random_rotation
from tests.toy import toy_model
from trainer import cli


@pytest.fixture
def model_path(tmp_path):
    save_model(toy_model(), tmp_path / "toy.lwae")
    return tmp_path / "toy.lwae"


@pytest.fixture
def mesh(model_path):
    """A face of the model in metres, turned and moved."""
    model = load_model(model_path)
    face = NumpyDecoder(model).decode(model.prior.sample(np.random.default_rng(0), 1))[0]
    return face @ random_rotation(1).T / 1000 + [1, 2, 3]


def write_obj(path, mesh):
    path.write_text("".join(f"v {x:.9f} {y:.9f} {z:.9f}\n" for x, y, z in mesh) + "f 1 2 3\n")
    return path


def test_an_obj_becomes_a_code_with_its_error(model_path, mesh, tmp_path, capsys):
    out = tmp_path / "face.json"
    assert cli.main(["encode", str(model_path), str(write_obj(tmp_path / "a.obj", mesh)), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    facts, model = json.loads(out.read_text()), load_model(model_path)
    assert facts["model_hash"] == model.hash and facts["mm_per_unit"] == 1000
    assert f"{facts['mean_error_mm']:.3f} mm mean" in printed and facts["mean_error_mm"] < 0.02
    face = NumpyDecoder(model).decode(np.array([facts["code"]], np.float32))[0]
    matrix = np.array(facts["matrix_to_mesh"])
    np.testing.assert_allclose(face @ matrix[:3, :3].T + matrix[:3, 3], mesh, atol=3e-4)
    values, _ = split_code(model, np.array(facts["code"], np.float32))
    np.testing.assert_allclose(list(facts["values"].values()), values, atol=1e-5)
    assert list(facts["values"])[0] == "top.Width"


def test_nan_is_missing(model_path, mesh, tmp_path, capsys):
    mesh[:20] = np.nan
    np.savez(tmp_path / "a.npz", vertices=mesh)
    assert cli.main(["encode", str(model_path), str(tmp_path / "a.npz"), "--out", str(tmp_path / "f.json")]) == 0
    assert "20 vertices missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "kind, sentence",
    [("short", "has 266 vertices"), ("two", "2 faces"), ("text", "unknown kind"), ("scale", "times as large")],
)
def test_what_cannot_be_encoded_leaves_no_file(model_path, mesh, tmp_path, capsys, kind, sentence):
    path, options = tmp_path / "a.npz", []
    np.savez(path, vertices={"short": mesh[1:], "two": np.stack([mesh, mesh])}.get(kind, mesh))
    if kind == "text":
        path = write_obj(tmp_path / "a.txt", mesh)
    if kind == "scale":
        options = ["--scale", "1"]
    out = tmp_path / "f.json"
    assert cli.main(["encode", str(model_path), str(path), "--out", str(out), *options]) == 1
    assert sentence in capsys.readouterr().err and not out.exists()
