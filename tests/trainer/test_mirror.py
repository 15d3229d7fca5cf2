# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the template is symmetric, what is learned prefers no side."""

import shutil

import numpy as np
import pytest
import torch

from backend.local_arrays import part_arrays
from backend.numpy_decoder import NumpyDecoder
from backend.torch_decoder import torch_network
from tests.toy import sphere
from tests.trainer.test_training import SMALL, data  # noqa: F401
from trainer import training
from trainer.closed_form import local_arrays, weighted_basis
from trainer.datasets.dataset import Template
from trainer.equivariance import Equivariance, parity
from trainer.evaluation.closed_forms import mirror_image, search
from trainer.evaluation.evaluate_runs import _with_prior
from trainer.evaluation.testbed import TestBed
from trainer.face_store import FaceStore
from trainer.latent import encode_faces, fit_prior, training_codes
from trainer.mesh.topology import triangulate
from trainer.mirror import find_image, mirror_images, symmetric_mean
from trainer.run import create_run, open_run
from trainer.weights.local_weights import local_weights
from trainer.weights.seams import mirrored_parts, symmetric_weights
from trainer.weights.weights_file import load_weights, save_weights


def template(sizes, corners):
    return Template(sizes, corners, np.zeros((0, 2)), np.zeros(len(sizes), np.uint8))


@pytest.fixture(scope="module")
def ball():
    """Vertices, triangles, mirror image and 30 lopsided displacements."""
    vertices, sizes, corners = sphere(8, 12)
    image = find_image(vertices, template(sizes, corners))
    displacements = np.random.default_rng(0).normal(size=(30, len(vertices), 3)).astype(np.float32)
    return vertices, triangulate(sizes, corners), image, displacements - displacements.mean(axis=0)


def test_only_symmetric_polygons_have_mirror_images(caplog):
    caplog.set_level("INFO")
    vertices, sizes, corners = sphere(8, 12)
    image = find_image(vertices, template(sizes, corners))
    np.testing.assert_allclose(mirror_images(vertices[None], image)[0], vertices, atol=1e-3)
    assert find_image(vertices + [40, 0, 0], template(sizes, corners)) is None
    assert "not mirrored in training: This model's template" in caplog.text


def test_the_basis_is_that_of_faces_and_their_mirror_images(ball):
    vertices, _, image, displacements = ball
    weight = np.clip(vertices[:, 2] / 100 + 0.5, 0, 1).astype(np.float32)
    weight = (weight + weight[image]) / 2
    own = np.flatnonzero(weight > 1e-3)
    both = np.concatenate([displacements, mirror_images(displacements, image)])
    want = weighted_basis(both, own, weight, 12)
    basis = weighted_basis(displacements, own, weight, 12, image)
    signs = np.sign(np.einsum("znc,znc->z", basis, want))
    np.testing.assert_allclose(basis * signs[:, None, None], want, atol=2e-4)
    signs = parity(own, basis, image)
    assert set(signs) == {-1, 1}
    whole = np.zeros((12, len(vertices), 3), np.float32)
    whole[:, own] = basis
    np.testing.assert_allclose(mirror_images(whole, image), whole * signs[:, None, None], atol=1e-5)


def test_a_part_of_one_side_has_the_basis_of_the_faces_as_they_are(ball):
    vertices, triangles, image, displacements = ball
    left = np.clip(vertices[:, 0] / 50, 0, 1).astype(np.float32)
    own = np.flatnonzero(left > 1e-3)
    basis = weighted_basis(displacements, own, left, 5, image)
    np.testing.assert_array_equal(basis, weighted_basis(displacements, own, left, 5))
    assert parity(own, basis, image) is None
    assert parity(np.arange(len(vertices)), displacements[:2], image) is None
    arrays = local_arrays(displacements, vertices, triangles, np.stack([left, 1 - left]), 5, image=image)
    np.testing.assert_array_equal(arrays["mass"], arrays["mass"][image])


def test_the_mean_and_the_weights_are_exactly_symmetric(ball):
    vertices, triangles, image, displacements = ball
    mean = symmetric_mean((vertices + displacements[0]).astype(np.float32), image)
    np.testing.assert_array_equal(mirror_images(mean[None], image)[0], mean)
    bumps = np.exp(-(((vertices[:, 2] - np.array([[70], [0], [-70]])) / 40) ** 2))  # [3, N]
    amounts = np.random.default_rng(1).normal(size=(80, 3, 1))
    faces = vertices + (amounts * bumps).sum(axis=1)[..., None] * vertices / 20
    options = {"rng": np.random.default_rng(0), "iterations": 30}
    weights = local_weights(faces.astype(np.float32), triangles, 3, image=image, **options)
    np.testing.assert_array_equal(weights, weights[:, image])


@pytest.mark.parametrize("resident", [True, False])
def test_the_store_mirrors_those_that_it_is_asked_to(ball, resident):
    _, _, image, faces = ball
    store = FaceStore(faces, np.arange(30), "cpu", resident=resident, image=image)
    into, turned = torch.empty(4, *faces.shape[1:]), np.array([True, False, False, True])
    store.load(np.array([2, 5, 7, 9]), into, turned)
    want = faces[[2, 5, 7, 9]]
    want[turned] = mirror_images(want[turned], image)
    np.testing.assert_array_equal(into.numpy(), want)


@pytest.mark.parametrize("hidden", [8, 7])
def test_trained_blocks_give_mirrored_fields_for_mirrored_codes(data, tmp_path, hidden):  # noqa: F811
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | {"hidden": hidden})
    training.train(run)
    dataset, model = run.dataset, run.trained_model()
    image = run.image(dataset)
    faces = dataset.vertices[dataset.test]
    decoder = NumpyDecoder(model)
    blocks = range(len(model.header["network"]["residuals"]))
    assert all(np.abs(model.network[f"residual{index}/weight1"]).max() > 0 for index in blocks)
    codes = decoder.encode(faces), encode_faces(decoder, dataset.vertices, dataset.test, image)
    assert np.abs(codes[0] - codes[1]).max() > 0.1
    decoded, mirrored = map(decoder.decode, codes)
    np.testing.assert_allclose(mirror_images(decoded, image), mirrored, atol=2e-3)
    # Without the rule they prefer a side.
    network = torch_network(model)
    for block in network.residuals:
        torch.nn.init.normal_(block.weight1, std=2)
    with torch.no_grad():
        fields = [network.decode(torch.from_numpy(code)).numpy() for code in codes]
        assert np.abs(mirror_images(fields[0], image) - fields[1]).max() > 0.1
        Equivariance(network, model, image)
        fields = [network.decode(torch.from_numpy(code)).numpy() for code in codes]
    np.testing.assert_allclose(mirror_images(fields[0], image), fields[1], atol=5e-3)


def test_without_mirroring_the_mean_is_that_of_the_faces(data, tmp_path):  # noqa: F811
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | {"mirror": False})
    dataset = run.dataset
    assert run.image(dataset) is None
    np.testing.assert_array_equal(
        run.start_model().mean, dataset.vertices[dataset.train].mean(axis=0, dtype=np.float64).astype(np.float32)
    )


def test_with_one_sided_parts_faces_are_not_mirrored_anywhere(data, tmp_path, monkeypatch, caplog):  # noqa: F811
    caplog.set_level("INFO")
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    left = np.clip(sphere()[0][:, 0] / 80 + 0.3, 0, 1).astype(np.float32)
    save_weights(copy, np.stack([left, 1 - left]), ["left", "rest"])
    path = create_run(tmp_path / "run", copy, "local", SMALL["local"]).path
    seen = []
    load = FaceStore.load

    def loaded(self, own, into, turned):
        seen.append(turned)
        load(self, own, into, turned)

    monkeypatch.setattr(FaceStore, "load", loaded)
    training.train(open_run(path))
    run = open_run(path)
    dataset, model = run.dataset, run.trained_model()
    assert run.image(dataset) is None and set(seen) == {None}
    mean = dataset.vertices[dataset.train].mean(axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(run.start_model().mean, mean)
    bed = TestBed.of(dataset, 0)
    assert mirror_image(run.trained_network(), bed) is None
    np.testing.assert_allclose(_with_prior(run, model, bed).model.prior.mean, model.prior.mean, atol=1e-3)
    np.testing.assert_allclose(model.prior.mean, training_codes(NumpyDecoder(model), dataset).mean(axis=0), atol=1e-3)
    assert caplog.text.count("not mirrored in training: the parts are not symmetric") == 1


def test_training_sees_mirrored_faces_and_the_prior_prefers_no_side(data, tmp_path, monkeypatch):  # noqa: F811
    run, seen = create_run(tmp_path / "run", data, "local", SMALL["local"]), []
    load = FaceStore.load
    def loaded(self, own, into, turned):
        seen.extend(turned)
        load(self, own, into, turned)

    monkeypatch.setattr(FaceStore, "load", loaded)
    training.train(run)
    assert 0.3 < np.mean(seen) < 0.7
    model, image = run.trained_model(), run.image(run.dataset)
    signs = np.concatenate([parity(*part_arrays(model, k), image) for k in range(model.part_count)])
    covariance = model.prior.covariance
    np.testing.assert_allclose(covariance * np.outer(signs, signs), covariance, atol=1e-3 * np.abs(covariance).max())
    np.testing.assert_allclose(model.prior.mean * signs, model.prior.mean, atol=1e-3)


def test_what_is_measured_has_the_prior_that_is_exported(data, tmp_path):  # noqa: F811
    run = create_run(tmp_path / "run", data, "local", SMALL["local"])
    training.train(run)
    model, bed, image = run.trained_network(), TestBed.of(run.dataset, 0), run.image(run.dataset)

    def assert_equal(found, wanted):
        np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-3)
        scale = np.abs(wanted.covariance).max()
        np.testing.assert_allclose(found.covariance, wanted.covariance, atol=2e-3 * scale)

    assert_equal(_with_prior(run, model, bed).model.prior, run.trained_model().prior)
    for decoder in search(model, bed).best.values():
        assert_equal(decoder.model.prior, fit_prior(training_codes(decoder, bed.dataset, image)))
        codes = bed.train_codes(decoder)
        assert np.abs(decoder.model.prior.covariance - np.cov(codes.T)).max() > 0.02


def test_parts_that_mirror_each_other_stay_apart(ball):
    vertices, _, image, _ = ball
    label = np.where(np.abs(vertices[:, 0]) < 60, 0, np.where(vertices[:, 0] > 0, 1, 2))
    assert mirrored_parts(label, image, 4).tolist() == [0, 2, 1, 3]
    weights = np.random.default_rng(0).uniform(0, 0.1, (3, len(vertices)))
    weights[label, np.arange(len(vertices))] += 1
    alike = symmetric_weights(weights, image)
    np.testing.assert_array_equal(alike[[0, 2, 1]][:, image], alike)
    np.testing.assert_array_equal(alike.argmax(axis=0), label)
    assert symmetric_weights(np.stack([vertices[:, 0] > 10, vertices[:, 0] <= 10]).astype(float), image) is None


def test_weights_that_are_nearly_symmetric_become_so_in_training(data, tmp_path):  # noqa: F811
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    weights = load_weights(data)[0] + np.random.default_rng(0).uniform(0, 1e-3, load_weights(data)[0].shape)
    save_weights(copy, (weights / weights.sum(axis=0)).astype(np.float32), ["top", "middle", "bottom"])
    run = create_run(tmp_path / "run", copy, "local", SMALL["local"])
    model, image = run.start_model(), run.image(run.dataset)
    np.testing.assert_array_equal(model.weights, model.weights[:, image])
    assert len(Equivariance(torch_network(model), model, image)._blocks) == len(model.header["network"]["residuals"])


def test_what_rounding_leaves_beyond_the_rank_is_even_or_odd_too(ball):
    vertices, _, image, displacements = ball
    own, whole = np.arange(len(vertices)), np.ones(len(vertices), np.float32)
    basis = weighted_basis(displacements[:4], own, whole, 20, image)
    assert len(basis) == 6 and parity(own, basis.astype(np.float16), image) is not None
    few = np.flatnonzero(np.abs(vertices[:, 0]) < 1)[:2]
    few = np.union1d(few, image[few])
    assert len(weighted_basis(displacements, few, whole, 20, image)) == min(20, 3 * len(few))
    one_side = displacements[:1] * (vertices[:, :1] > 1)
    assert parity(own, one_side, image) is None


def test_people_who_are_symmetric_leave_the_odd_half_empty(ball):
    vertices, _, image, displacements = ball
    # 8 faces about their mean: 7 even components
    displacements = displacements[:8] + mirror_images(displacements[:8], image)
    whole = np.ones(len(vertices), np.float32)
    with np.errstate(all="raise"):
        basis = weighted_basis(displacements, np.arange(len(vertices)), whole, 12, image)
    lengths = np.linalg.norm(basis, axis=(1, 2))
    assert np.isfinite(basis).all() and lengths[6] > 1 > 1e-3 > lengths[7]
