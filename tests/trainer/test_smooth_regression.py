# SPDX-License-Identifier: GPL-3.0-or-later
"""The regression of all vertices together, beside its normal equations solved at once."""

import numpy as np
import pytest
import scipy.sparse as sp

from trainer.regression import Moments
from trainer.smooth_regression import SmoothRegression, groups

VERTICES = 7
REACHED = [np.array([0, 1, 2, 3]), np.array([2, 3, 4, 5]), np.array([3, 5])]
COLUMNS = [slice(0, 2), slice(2, 4), slice(4, 6)]
PARTS = np.repeat([0, 1, 2], 2)


@pytest.fixture
def codes():
    """[80, 6], of parts that belong together."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 4)) @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(80, 6))


def stiffness():
    """Of a chain of vertices."""
    second = sp.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(VERTICES, VERTICES))
    return (second.T @ second).tocsr()


def wanted(codes):
    """E[z r^T] of each part, [2, n, 3]."""
    faces = np.random.default_rng(1).normal(size=(len(codes), VERTICES, 3)) + codes[:, :1, None]
    return [np.einsum("sz,svi->zvi", codes[:, own], faces[:, v]) / 80 for own, v in zip(COLUMNS, REACHED, strict=True)]


def at_once(moments, products, penalty, q):
    """The same by one dense system over all numbers of all vertices; what no part reaches is no unknown."""
    known = np.zeros((6, VERTICES), dtype=bool)
    right = np.zeros((6, VERTICES, 3))
    for own, vertices, product in zip(COLUMNS, REACHED, products, strict=True):
        known[own, vertices] = True
        right[own, vertices] = product
    gram = np.kron(moments.together + penalty * moments.apart, np.eye(VERTICES))
    gram += np.kron(moments.apart, q.toarray())
    unknown = known.ravel()
    result = np.zeros((6 * VERTICES, 3))
    result[unknown] = np.linalg.solve(gram[np.ix_(unknown, unknown)], right.reshape(-1, 3)[unknown])
    result = result.reshape(6, VERTICES, 3)
    return [result[own][:, vertices] for own, vertices in zip(COLUMNS, REACHED, strict=True)]


@pytest.mark.parametrize("penalty, bending", [(0.05, 0.0), (0.05, 3.0), (5.0, 100.0)])
def test_it_solves_the_normal_equations(codes, monkeypatch, penalty, bending):
    monkeypatch.setattr("trainer.smooth_regression.TOLERANCE", 1e-6)
    moments, q, products = Moments(codes, PARTS, np.zeros(6)), bending * stiffness(), wanted(codes)
    found = SmoothRegression(REACHED, COLUMNS, moments, penalty, q).solve(products)
    for one, other in zip(found, at_once(moments, products, penalty, q), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3 * np.abs(other).max())


def test_its_own_tolerance_is_near_that(codes):
    moments, q, products = Moments(codes, PARTS, np.zeros(6)), stiffness(), wanted(codes)
    found = SmoothRegression(REACHED, COLUMNS, moments, 0.1, q).solve(products)
    exact = at_once(moments, products, 0.1, q)
    missed = sum(np.square(one - other).sum() for one, other in zip(found, exact, strict=True))
    assert missed < 0.01 * sum(np.square(field).sum() for field in exact)


def test_what_is_stiff_bends_less(codes):
    moments, products, bent = Moments(codes, PARTS, np.zeros(6)), wanted(codes), []
    for bending in (0.0, 3.0):
        found = SmoothRegression(REACHED, COLUMNS, moments, 0.1, bending * stiffness()).solve(products)
        field = np.zeros((6, VERTICES, 3))
        for own, vertices, change in zip(COLUMNS, REACHED, found, strict=True):
            field[own, vertices] = change
        bent.append(np.einsum("zvi,vw,zwi->", field, stiffness().toarray(), field))
    assert 0 < bent[1] < 0.5 * bent[0]


def test_numbers_that_never_vary_and_nothing_wanted_are_harmless():
    moments = Moments(np.zeros((5, 6)), PARTS, np.zeros(6))
    nothing = [np.zeros((2, len(vertices), 3)) for vertices in REACHED]
    for found in SmoothRegression(REACHED, COLUMNS, moments, 0.1, stiffness()).solve(nothing):
        np.testing.assert_array_equal(found, 0)


def test_groups_are_the_vertices_that_the_same_parts_reach():
    found = {tuple(vertices): tuple(parts) for parts, vertices in groups(REACHED, VERTICES)}
    assert found == {(0, 1): (0,), (2,): (0, 1), (3,): (0, 1, 2), (4,): (1,), (5,): (1, 2)}
