# SPDX-License-Identifier: GPL-3.0-or-later
import copy

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.harmonise import Harmoniser
from backend.local_network import linear_gram
from backend.mix import kinship
from backend.numpy_decoder import NumpyDecoder
from backend.prior import Prior
from tests.toy import toy_model


@pytest.fixture(scope="module")
def model():
    """A toy whose parts belong together: one factor moves all of them."""
    model = toy_model(parts=3, code_size=3)
    rng = np.random.default_rng(0)
    factors = np.concatenate([rng.normal(size=(3, 3)) @ np.diag([2.0, 1.0, 0.5]) for _ in range(3)])
    model.prior = Prior(rng.normal(size=9).astype(np.float32), factors.astype(np.float32), 0.01)
    return model


def mixes(model, count=20000):
    draws = [model.prior.sample(np.random.default_rng(k), count) for k in range(model.part_count)]
    return np.concatenate([draw[:, model.part_slice(k)] for k, draw in enumerate(draws)], axis=1)


def test_all_the_way_mixes_have_the_covariance_of_real_faces(model):
    mixed = mixes(model)
    real = model.prior.covariance
    before = np.abs(np.cov(mixed.T) - real).max()
    after = np.abs(np.cov(Harmoniser(model)(mixed, 1.0).T) - real).max()
    assert before > 1 and after < 0.1 * before


def test_it_is_the_shortest_way_there(model):
    """Another map to the same covariance moves the surfaces further."""
    mixed, real = mixes(model), model.prior.covariance
    gram = Harmoniser(model).metric(np.eye(3))
    lower = np.linalg.cholesky(real) @ np.linalg.inv(np.linalg.cholesky(np.cov(mixed.T)))
    other = model.prior.mean + (mixed - model.prior.mean) @ lower.T

    def cost(moved):
        return np.einsum("bi,ij,bj->", moved - mixed, gram, moved - mixed)

    assert cost(Harmoniser(model)(mixed, 1.0)) < 0.95 * cost(other)


def test_everybody_counts_alike_however_many_parts_they_give(model):
    """What a movement costs in a part is relative to how much people vary there, and shared among a person's parts."""
    harmonise = Harmoniser(model)
    rng = np.random.default_rng(3)
    faces = rng.multivariate_normal(np.zeros(model.code_size), model.prior.covariance, 4000)
    decoded = NumpyDecoder(linear(model)).decode(faces.astype(np.float32)) - model.mean
    power = (decoded**2).sum(axis=2) @ (model.network["mass"] * model.weights).T  # [faces, K]
    relative = power / power.mean(axis=0)
    for pattern, share in (([0, 1, 2], [1, 1, 1]), ([0, 0, 2], [0.5, 0.5, 1])):
        cost = np.einsum("bi,ij,bj->b", faces, harmonise.metric(np.equal.outer(pattern, pattern)), faces)
        wanted = relative @ share / np.sum(share) * power.mean(axis=0).sum()
        np.testing.assert_allclose(cost, wanted, rtol=0.1)


def linear(model):
    """The toy without what is not linear."""
    plain = toy_model(parts=3, code_size=3, residuals=False)
    for k in range(model.part_count):
        plain.network[f"part{k}/basis"] = model.network[f"part{k}/basis"]
    return plain


def test_a_little_moves_less_and_still_helps(model):
    mixed = mixes(model, 4000)
    harmonise, gram = Harmoniser(model), linear_gram(model)
    moved = [np.einsum("bi,ij,bj->", d, gram, d) for d in (harmonise(mixed, t) - mixed for t in (0.25, 0.5, 0.75, 1))]
    assert (np.diff(moved) > 0).all()
    distances = [model.prior.mahalanobis(harmonise(mixed, t)).mean() for t in (0, 0.25, 0.5, 0.75, 1)]
    assert (np.diff(distances) < 0).all() and distances[0] > 3 and distances[-1] < 1.3


def test_parts_of_one_person_stay_as_they_are(model):
    codes = mixes(model, 5)
    harmonise = Harmoniser(model)
    np.testing.assert_array_equal(harmonise(codes, 1.0, ["anna", "anna", "anna"]), codes)
    np.testing.assert_array_equal(harmonise(codes, 0.0), codes)
    assert np.abs(harmonise(codes, 1.0, ["anna", "anna", "ben"]) - harmonise(codes, 1.0)).max() > 0.1


def test_a_little_of_somebody_asks_for_little(model):
    """Between a face without a donor and a part that is all somebody else's there is no step."""
    codes, harmonise = mixes(model, 5), Harmoniser(model)
    moved = [
        np.abs(harmonise(codes, 1.0, kinship(np.array([[0.0, 0.0, amount]]))) - codes).max()
        for amount in (0, 0.1, 0.3, 0.5, 0.7, 1)
    ]
    assert moved[0] == 0 and (np.diff(moved) > 0).all() and np.diff(moved).max() < 0.6 * moved[-1]
    whole = harmonise(codes, 1.0, kinship(np.array([[0, 0, 1]])))
    np.testing.assert_array_equal(whole, harmonise(codes, 1.0, [0, 0, 1]))
    np.testing.assert_array_equal(harmonise(codes, 1.0, kinship(np.full((1, 3), 0.4))), codes)


def test_the_others_fit_to_held_parts(model):
    """Held parts stay exactly, and mixes come to the covariance of real faces nearly as well as when all may move."""
    mixed, real, harmonise = mixes(model), model.prior.covariance, Harmoniser(model)
    held = model.part_slice(1)
    fitted = harmonise(mixed, 1.0, held=[1])
    np.testing.assert_array_equal(fitted[:, held], mixed[:, held])
    unaware = harmonise(mixed, 1.0)
    unaware[:, held] = mixed[:, held]
    left, before, apart = (np.abs(np.cov(codes.T) - real).max() for codes in (fitted, mixed, unaware))
    assert left < 0.05 * before and left < 0.2 * apart, (left, before, apart)


def test_parts_that_are_all_held_stay(model):
    codes = mixes(model, 5)
    np.testing.assert_array_equal(Harmoniser(model)(codes, 1.0, held=[0, 1, 2]), codes)


def test_few_donors_do_not_blow_up_what_the_prior_hardly_knows(model):
    """Real faces stray a little from the prior; in directions that it gives no variance that must not grow."""
    narrow = toy_model(parts=3, code_size=3)
    narrow.prior = Prior(model.prior.mean, model.prior.factors, 1e-7)
    rng = np.random.default_rng(1)
    codes = mixes(narrow, 200)
    codes[:, :6] = narrow.prior.sample(rng, 200)[:, :6]
    stray = 0.01 * rng.normal(size=codes.shape)
    harmonise, gram = Harmoniser(narrow), linear_gram(narrow)
    change = harmonise(codes + stray, 0.5, [0, 0, 1]) - harmonise(codes, 0.5, [0, 0, 1])

    def length(field):
        return np.sqrt(np.einsum("bi,ij,bj->", field, gram, field))

    assert length(change) < 5 * length(stray)


def test_a_part_in_which_people_do_not_vary_is_no_obstacle(model):
    still = copy.deepcopy(model)
    still.network["part1/basis"][:] = 0
    codes = still.prior.sample(np.random.default_rng(0), 5)
    assert np.isfinite(Harmoniser(still)(codes, 1.0)).all()
    for k in range(model.part_count):
        still.network[f"part{k}/basis"][:] = 0
    with np.errstate(all="raise"):
        assert np.isfinite(Harmoniser(still)(codes, 1.0)).all()


def test_prepared_maps_are_the_ones_used(model):
    harmonise, codes = Harmoniser(model), mixes(model, 5)
    assert not harmonise.is_prepared([0, 0, 1]) and harmonise.is_prepared([0, 0, 0])
    harmonise.prepare([0, 0, 1])
    assert harmonise.is_prepared(["anna", "anna", "ben"]) and not harmonise.is_prepared()
    np.testing.assert_array_equal(harmonise(codes, 0.7, [0, 0, 1]), Harmoniser(model)(codes, 0.7, [0, 0, 1]))
    assert not harmonise.is_prepared([0, 0, 1], [2]) and not harmonise.is_prepared([0, 0, 1], [0])
    harmonise.prepare([0, 0, 1], [2])
    assert harmonise.is_prepared([0, 0, 1], [2]) and not harmonise.is_prepared([0, 0, 1], [0])


@pytest.mark.parametrize("amount, donors", [(1.5, None), (-0.1, None), (float("nan"), None), (0.5, [1, 2])])
def test_bad_input_is_refused(model, amount, donors):
    with pytest.raises(LwaeError, match="amount from 0 to 1|3 parts"):
        Harmoniser(model)(mixes(model, 2), amount, donors)
