# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest

from backend.encode_mesh import encode_mesh
from backend.errors import LwaeError
from backend.numpy_decoder import NumpyDecoder
from backend.prior import Prior
from tests.poses import random_rotation
from tests.toy import toy_model


def related(model, rank=4, seed=5):
    """The model with parts that belong together: the whole code follows from a few numbers."""
    factors = np.random.default_rng(seed).normal(size=(model.code_size, rank)).astype(np.float32)
    return dataclasses.replace(model, prior=Prior(np.zeros(model.code_size, np.float32), factors, 1e-4))


@pytest.fixture(scope="module", params=[True, False], ids=["residuals", "linear"])
def decoder(request):
    return NumpyDecoder(related(toy_model(residuals=request.param)))


@pytest.fixture(scope="module")
def faces(decoder):
    return decoder.decode(decoder.model.prior.sample(np.random.default_rng(0), 4))


def distances(decoder, result, vertices):
    return np.linalg.norm(result.pose.apply(vertices) - decoder.decode(result.code[None])[0], axis=1)


@pytest.mark.parametrize("mm", [1.0, 10.0, 25.4, 100.0, 1000.0])
def test_any_pose_and_usual_unit(decoder, faces, mm):
    for seed, face in enumerate(faces):
        rotation, place = random_rotation(seed), np.array([30.0, -2, 5])
        mesh = face / mm @ rotation.T + place
        result = encode_mesh(decoder, mesh)
        assert result.pose.scale == mm
        assert result.mean_error < 0.02
        placed = result.pose.inverse().apply(decoder.decode(result.code[None])[0])
        np.testing.assert_allclose(placed, mesh, atol=0.3 / mm)
        np.testing.assert_allclose(result.errors, distances(decoder, result, mesh), atol=1e-4)
        assert result.max_error == pytest.approx(result.errors.max())


def test_a_whole_mesh_is_met_as_by_the_models_own_encoder(decoder, faces):
    rng = np.random.default_rng(3)
    for face in faces + rng.normal(size=faces.shape, scale=0.01).astype(np.float32):
        own = np.linalg.norm(decoder.decode(decoder.encode(face[None]))[0] - face, axis=1).mean()
        assert encode_mesh(decoder, face).mean_error < 1.1 * own + 0.005


def test_parts_of_several_people_are_met_too(decoder):
    """Under the prior's own tau they would be pulled together."""
    model = decoder.model
    codes = model.prior.sample(np.random.default_rng(1), 3)
    mixed = np.concatenate([codes[k, model.part_slice(k)] for k in range(3)])
    assert model.prior.mahalanobis(mixed)[0] > 5
    assert encode_mesh(decoder, decoder.decode(mixed[None])[0]).mean_error < 0.02


def test_missing_parts_become_what_the_prior_expects(decoder, faces):
    model = decoder.model
    weights = (model.weights[2] == 0).astype(float)
    hole = model.weights[2] > 0.99
    zero = dataclasses.replace(
        model, prior=Prior(np.zeros(model.code_size, np.float32), np.zeros((model.code_size, 1), np.float32), 1.0)
    )
    for seed, face in enumerate(faces):
        face = face @ random_rotation(seed).T
        result = encode_mesh(decoder, np.where(weights[:, None] > 0, face, np.nan), weights)
        assert np.isnan(result.errors[weights == 0]).all()
        assert result.mean_error == pytest.approx(result.errors[weights > 0].mean(), rel=1e-4)
        missed = distances(decoder, result, face)[hole].mean()
        unrelated = encode_mesh(NumpyDecoder(zero), face, weights)
        assert missed < 0.1 * distances(decoder, unrelated, face)[hole].mean()
        assert missed < 0.4 < 4 < np.linalg.norm(face - model.mean @ random_rotation(seed).T, axis=1)[hole].mean()


def test_where_missing_vertices_lie_does_not_matter(decoder, faces):
    weights = (np.arange(decoder.model.vertex_count) % 3 > 0).astype(float)
    codes = []
    for rubbish in (0, np.nan, np.inf, 1e300):
        codes.append(encode_mesh(decoder, np.where(weights[:, None] > 0, faces[0], rubbish), weights).code)
    for code in codes[1:]:
        np.testing.assert_array_equal(code, codes[0])


def test_noise_is_not_taken_for_shape(decoder, faces):
    """A part that is missing must not be blown up by what noise does to the others."""
    weights = (decoder.model.weights[2] == 0).astype(float)
    rng = np.random.default_rng(2)
    for face in faces:
        result = encode_mesh(decoder, face + rng.normal(size=face.shape), weights)
        deviation = np.linalg.norm(face - decoder.model.mean, axis=1)
        assert distances(decoder, result, face).mean() < 0.25 * deviation.mean()


def test_robust_passes_over_spikes(decoder, faces):
    rng = np.random.default_rng(4)
    spikes = rng.uniform(size=len(faces[0])) < 0.05
    mesh = faces[0] + spikes[:, None] * rng.normal(size=faces[0].shape, scale=12)
    plain, robust = (distances(decoder, encode_mesh(decoder, mesh, robust=r), faces[0]) for r in (False, True))
    assert robust.mean() < 0.03 < plain.mean()
    assert encode_mesh(decoder, mesh, robust=True).errors[spikes].min() > 1


def test_size_is_a_trait_unless_the_scale_is_free(decoder):
    small = 0.85 * decoder.decode(decoder.model.prior.mean[None])[0] / 1000
    kept, fitted = encode_mesh(decoder, small), encode_mesh(decoder, small, scale="free")
    assert kept.pose.scale == 1000
    assert fitted.pose.scale == pytest.approx(1000 / 0.85, rel=0.01)
    assert fitted.mean_error < 0.1 < kept.mean_error, "no face of this model is as small"


def test_any_scale_keeps_a_head_s_size_as_a_trait_and_fits_others(decoder, faces):
    assert encode_mesh(decoder, faces[0] / 1000, scale="any").pose.scale == 1000
    result = encode_mesh(decoder, faces[0] / 1000 * 2, scale="any")
    assert result.pose.scale == pytest.approx(500, rel=0.01) and result.mean_error < 0.1


def test_a_stated_scale_is_kept(decoder, faces):
    result = encode_mesh(decoder, faces[0] / 3, scale=3)
    assert result.pose.scale == 3 and result.mean_error < 0.02


def test_decoders_without_local_bases_are_fitted_by_differences(decoder, faces):
    """The codes of `related` lie in few dimensions, as those of an encoder network do."""
    header = decoder.model.header | {"preset": "other"}
    model, decode = dataclasses.replace(decoder.model, header=header), decoder.decode

    class Other:
        def __init__(self):
            self.model, self.decode = model, decode

    weights = (model.weights[2] == 0).astype(float)
    for given in (np.ones(len(weights)), weights):
        result = encode_mesh(Other(), faces[1] / 10 @ random_rotation(1).T, given)
        assert result.mean_error < 0.05
        assert distances(decoder, result, faces[1] / 10 @ random_rotation(1).T).mean() < 0.1


def test_the_paper_preset_is_fitted_too():
    pytest.importorskip("torch")
    from tests.backend.test_paper_network import PARTS, as_model, build
    from tests.backend.test_paper_network import faces as training_faces
    from trainer.latent import fit_prior

    data, network = training_faces(), as_model(build())
    latent = network.header["network"]["latent"]
    model = dataclasses.replace(
        toy_model(parts=PARTS),
        header={"name": "paper", "preset": "paper", **network.header},
        mean=data.mean(axis=0),
        code_sizes=[latent] * PARTS,
        controls=[],
        network=network.network,
    )
    codes = NumpyDecoder(model).encode(data)
    decoder = NumpyDecoder(dataclasses.replace(model, prior=fit_prior(10 * codes)))
    target = decoder.decode(10 * codes[:1])[0]
    assert np.linalg.norm(target - decoder.decode(decoder.model.prior.mean[None])[0], axis=1).mean() > 1
    weights = (model.mean[:, 2] < 60).astype(float)
    for given in (np.ones(len(weights)), weights):
        result = encode_mesh(decoder, target @ random_rotation(2).T / 10, given)
        assert result.pose.scale == 10 and distances(decoder, result, target @ random_rotation(2).T / 10).mean() < 0.05


def broken(kind, mesh):
    weights, scale = np.ones(len(mesh)), "units"
    if kind == "count":
        mesh = mesh[1:]
    elif kind == "flat":
        mesh = mesh.ravel()
    elif kind in ("nan", "inf", "huge"):
        mesh[7, 1] = {"nan": np.nan, "inf": np.inf, "huge": 1e200}[kind]
    elif kind == "no weight":
        weights[:] = 0
    elif kind == "two":
        weights[2:] = 0
    elif kind == "weights":
        weights = weights[1:]
    elif kind in ("negative", "above", "nan weight"):
        weights[3] = {"negative": -0.1, "above": 1.1, "nan weight": np.nan}[kind]
    elif kind == "point":
        mesh[:] = 3
    elif kind == "tiny":
        mesh *= 1e-300
    elif kind == "line":
        mesh[:, 1:] = 0
    elif kind == "line of weights":
        weights[3:] = 0
        mesh[:3] = [[0, 0, 1], [0, 0, 2], [0, 0, 3]]
    elif kind == "order":
        mesh = np.random.default_rng(0).permutation(mesh)
    elif kind.startswith("mirrored"):
        mesh[:, int(kind[-1])] *= -1
    elif kind == "units":
        mesh *= 0.6
    elif kind == "word":
        scale = "metres"
    elif kind in ("zero scale", "nan scale", "wrong scale"):
        scale = {"zero scale": 0, "nan scale": np.nan, "wrong scale": 1000}[kind]
    return mesh, weights, scale


@pytest.mark.parametrize(
    "kind, sentence",
    [
        ("count", "has 266 vertices"),
        ("flat", "has 266 vertices"),
        ("nan", "1 vertices are NaN or infinite .the first is number 7"),
        ("inf", "weight 0"),
        ("huge", "weight 0"),
        ("no weight", "Fewer than 3"),
        ("two", "Fewer than 3"),
        ("weights", "Weights are 266 numbers"),
        ("negative", "Weights are"),
        ("above", "Weights are"),
        ("nan weight", "Weights are"),
        ("point", "one point"),
        ("tiny", "one point"),
        ("line", "one line"),
        ("line of weights", "one line"),
        ("order", "another order"),
        ("mirrored 0", "negate its X"),
        ("mirrored 1", "negate its X"),
        ("units", r"a unit is 1\.\d+ mm"),
        ("word", "no scale 'metres'"),
        ("zero scale", "above 0"),
        ("nan scale", "above 0"),
        ("wrong scale", "times as large"),
    ],
)
def test_bad_input_gets_one_sentence(decoder, faces, kind, sentence):
    mesh, weights, scale = broken(kind, faces[2].astype(float))
    with pytest.raises(LwaeError, match=sentence) as caught:
        encode_mesh(decoder, mesh @ random_rotation(8).T if mesh.ndim == 2 else mesh, weights, scale)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_the_callers_arrays_are_left_alone(decoder, faces):
    mesh, weights = faces[0].astype(float), np.full(len(faces[0]), 1.0)
    weights[:9] = 1e-9
    before = mesh.copy(), weights.copy()
    encode_mesh(decoder, mesh, weights)
    np.testing.assert_array_equal(mesh, before[0])
    np.testing.assert_array_equal(weights, before[1])
