# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from backend.plausibility import part_distances
from backend.prior import Prior
from tests.toy import toy_model


def coupled_model():
    model = toy_model(parts=3, code_size=3)
    rng = np.random.default_rng(0)
    model.prior = Prior(np.zeros(9, np.float32), rng.normal(size=(9, 3)).astype(np.float32), 0.01)
    return model


def test_faces_of_the_prior_are_plausible():
    model = coupled_model()
    codes = model.prior.sample(np.random.default_rng(1), 4000)
    assert abs(np.mean(model.prior.mahalanobis(codes) ** 2) - 1) < 0.05
    np.testing.assert_allclose(np.mean(part_distances(model, codes) ** 2, axis=0), 1, atol=0.1)


def test_a_part_of_somebody_else_shows():
    model = coupled_model()
    codes = model.prior.sample(np.random.default_rng(1), 200)
    strange = codes.copy()
    columns = model.part_slice(1)
    strange[:, columns] = np.roll(codes[:, columns], 1, axis=0)
    assert np.median(model.prior.mahalanobis(strange)) > 3 * np.median(model.prior.mahalanobis(codes))
    assert np.median(part_distances(model, strange)[:, 1]) > 3


def test_conditional_distances_agree_with_conditioning_by_hand():
    model = coupled_model()
    code = np.random.default_rng(2).normal(size=9).astype(np.float32)
    covariance, own = model.prior.covariance, np.arange(3, 6)
    rest = np.setdiff1d(np.arange(9), own)
    gain = covariance[np.ix_(own, rest)] @ np.linalg.inv(covariance[np.ix_(rest, rest)])
    spread = covariance[np.ix_(own, own)] - gain @ covariance[np.ix_(rest, own)]
    off = code[own] - gain @ code[rest]
    expected = np.sqrt(off @ np.linalg.solve(spread, off) / 3)
    np.testing.assert_allclose(part_distances(model, code)[0, 1], expected, rtol=1e-6)
