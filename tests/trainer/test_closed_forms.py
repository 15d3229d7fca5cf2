# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for the best closed form, on faces that a toy model made."""

import dataclasses

import numpy as np
import pytest

from backend.errors import LwaeError
from tests.toy import toy_model
from tests.trainer.faces import toy_dataset
from trainer.evaluation.baselines import fit_pca
from trainer.evaluation.closed_forms import (
    LocalBases,
    allocations,
    hard_weights,
    search,
    weight_choices,
    with_prior,
)
from trainer.evaluation.testbed import TestBed


@pytest.fixture(scope="module")
def model():
    return toy_model(residuals=False, sharpness=4)


@pytest.fixture(scope="module")
def bed(model):
    return TestBed.of(toy_dataset(model), seed=0)


@pytest.fixture(scope="module")
def found(model, bed):
    return search(model, bed)


def displacements(model, bed):
    return bed.dataset.vertices[bed.dataset.train] - model.mean


def test_every_setting_has_the_same_total_and_the_best_are_there(model, found):
    assert len(found.candidates) == 3 * 2 * 5  # weights, allocations, and four noises beside the model's own
    assert {candidate["weights"] for candidate in found.candidates} == {"own", "hard", "diffused"}
    assert {sum(candidate["code_sizes"]) for candidate in found.candidates} == {model.code_size}
    for key in ("reconstruction", "swap_cycle"):
        least = min(found.candidates, key=lambda candidate: candidate[key])
        own = min((c for c in found.candidates if c["weights"] == "own"), key=lambda candidate: candidate[key])
        names = [f"closed, {c['weights']}, {c['allocation']}, {c['sigma_n']:g}" for c in (least, own)]
        assert names[0] in found.best and names[1] in found.own
    assert set(found.own) == {name for name in found.best if name.startswith("closed, own")}


def test_a_chosen_closed_form_is_what_was_tried(bed, found):
    name, decoder = next(iter(found.best.items()))
    candidate = next(
        c for c in found.candidates if name == f"closed, {c['weights']}, {c['allocation']}, {c['sigma_n']:g}"
    )
    decoded = decoder.decode(decoder.encode(bed.test))
    error = np.linalg.norm(decoded - bed.test, axis=2).mean()
    assert error == pytest.approx(candidate["reconstruction"], rel=1e-3)
    codes = bed.train_codes(decoder)
    np.testing.assert_allclose(decoder.model.prior.mean, codes.mean(axis=0), atol=1e-4)


def test_bases_know_their_deviations(model, bed):
    bases = LocalBases.fit(displacements(model, bed), model, bed.triangles, model.weights)
    weight = model.weights[1]
    own = np.where(weight > 1e-3, weight, 0)
    rows = (displacements(model, bed) * np.sqrt(own)[:, None]).reshape(len(bed.dataset.train), -1)
    singular = np.linalg.svd(rows, compute_uv=False) / np.sqrt(len(rows))
    np.testing.assert_allclose(bases.deviations[1][:4], singular[:4], rtol=2e-3)


def test_the_largest_components_are_kept():
    deviations = [np.array([5.0, 1.0]), np.array([9.0, 8.0, 7.0, 2.0]), np.array([0.5, 0.4, 0.3])]
    assert allocations(deviations, 6) == {"equal": [2, 2, 2], "variance": [1, 4, 1]}
    # The second best of all are with a part that has no more.
    assert allocations(deviations, 9)["equal"] == [2, 3, 3]
    assert allocations(deviations, 9)["variance"] == [2, 4, 3]


def test_hard_weights_need_a_core_of_every_part(model, bed):
    hard = hard_weights(model.weights)
    assert (hard.sum(axis=0) == 1).all() and (hard.argmax(axis=0) == model.weights.argmax(axis=0)).all()
    choices = weight_choices(model.weights, bed.triangles)
    for weights in choices.values():
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-5)
    assert choices["diffused"].max(axis=0).mean() < choices["own"].max(axis=0).mean()
    drowned = np.stack([0.6 * model.weights[0], *model.weights[1:], 0.4 * model.weights[0]])
    assert "hard" not in weight_choices(drowned, bed.triangles)


def test_pca_of_each_region_is_that_of_its_core_alone(model, bed, found):
    core = model.weights.argmax(axis=0) == 2
    pca = fit_pca(bed.dataset.vertices[:, core], bed.dataset.train, 4)
    flat = (bed.test[:, core] - pca.mean).reshape(len(bed.test), -1)
    expected = (flat @ pca.axes.T @ pca.axes).reshape(len(flat), -1, 3) + pca.mean
    decoder = found.region_pca
    decoded = decoder.decode(decoder.encode(bed.test))[:, core]
    np.testing.assert_allclose(decoded, expected, atol=2e-2)
    assert decoder.model.code_sizes == [4, 4, 4]
    # Each vertex follows the code of one part.
    codes = decoder.encode(bed.test[:2])
    mixed = codes[:1].copy()
    mixed[:, decoder.model.part_slice(2)] = codes[1:, decoder.model.part_slice(2)]
    np.testing.assert_allclose(decoder.decode(mixed)[0, ~core], decoder.decode(codes)[0, ~core], atol=1e-5)


def test_a_model_that_diverged_is_refused(model, bed):
    broken = {**model.network, "part0/basis": np.full_like(model.network["part0/basis"], np.nan)}
    with pytest.raises(LwaeError, match="diverged"):
        with_prior(dataclasses.replace(model, network=broken), bed)
