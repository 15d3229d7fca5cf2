# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from backend.prior import Prior


def prior(dimensions=6, rank=3, tau=0.2, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(dimensions, rank)).astype(np.float32)
    return Prior(rng.normal(size=dimensions).astype(np.float32), factors, tau)


def test_samples_have_the_stated_mean_and_covariance():
    p = prior()
    codes = p.sample(np.random.default_rng(1), 200_000)
    np.testing.assert_allclose(codes.mean(axis=0), p.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(codes.T), p.covariance, atol=0.1)


def test_strength_scales_the_deviation():
    p = prior()
    weak, full = (p.sample(np.random.default_rng(1), 5, strength) for strength in (0.5, 1))
    np.testing.assert_allclose(weak - p.mean, 0.5 * (full - p.mean), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(p.sample(np.random.default_rng(1), 2, 0), np.stack([p.mean, p.mean]))


def test_conditional_draws_match_the_formula():
    p = prior()
    code = p.sample(np.random.default_rng(2), 1)[0]
    free = np.array([True, True, False, False, False, False])
    rng = np.random.default_rng(3)
    draws = np.stack([p.sample_given(code, free, rng, looseness=0.7) for _ in range(20_000)])
    assert (draws[:, ~free] == code[~free]).all()
    c = p.covariance
    observed = np.linalg.inv(c[np.ix_(~free, ~free)] + 0.7 * np.eye(4))
    mean = p.mean[free] + c[np.ix_(free, ~free)] @ observed @ (code - p.mean)[~free]
    covariance = c[np.ix_(free, free)] - c[np.ix_(free, ~free)] @ observed @ c[np.ix_(~free, free)]
    np.testing.assert_allclose(draws[:, free].mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(draws[:, free].T), covariance, atol=0.06)


def test_tight_conditioning_returns_what_the_others_determine():
    p = prior(tau=1e-6)
    code = p.sample(np.random.default_rng(2), 1)[0]
    free = np.array([True, True, False, False, False, False])
    again = p.sample_given(code, free, np.random.default_rng(4), looseness=1e-6)
    np.testing.assert_allclose(again, code, atol=0.05)


def test_readings_that_see_nothing_free_change_nothing():
    p = prior()
    free = np.array([True, True, False, False, False, False])
    readouts = np.zeros((2, 6), np.float32)
    readouts[:, 4] = 1
    drawn, code = p.sample(np.random.default_rng(0), 2)
    np.testing.assert_array_equal(p.with_readings(drawn, code, readouts, free, 1.0), drawn)


def test_mahalanobis_is_about_one_for_samples_and_large_for_strangers():
    p = prior(dimensions=40, rank=10, tau=0.01)
    codes = p.sample(np.random.default_rng(0), 2000)
    assert abs(np.mean(p.mahalanobis(codes) ** 2) - 1) < 0.05
    assert (p.mahalanobis(np.random.default_rng(0).permuted(codes, axis=0)) > 2).all()
