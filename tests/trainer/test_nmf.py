# SPDX-License-Identifier: GPL-3.0-or-later
import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from backend.errors import LwaeError
from trainer.weights import nmf
from trainer.weights.nmf import hoyer_projection, hoyer_sparsity, sparse_nmf


def check_feasible(y, l1):
    assert y.min() >= 0
    assert math.isclose(np.linalg.norm(y), 1, rel_tol=1e-9)
    assert math.isclose(y.sum(), l1, rel_tol=1e-9)


def best_over_supports(b, l1):
    """The optimum by trying every support of the largest entries (small b only)."""
    order = np.argsort(-b, kind="stable")
    best = -np.inf
    for p in range(max(1, math.ceil(l1**2 - 1e-9)), len(b) + 1):
        top = b[order[:p]]
        deviation = top - top.mean()
        length = np.linalg.norm(deviation)
        if length < 1e-12:
            best = max(best, top.mean() * l1)
            continue
        y = l1 / p + math.sqrt(max(1 - l1**2 / p, 0)) * deviation / length
        if y.min() >= -1e-12:
            best = max(best, float(y @ top))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_projection_is_the_exact_optimum(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    b = rng.normal(size=n) * 10 ** rng.uniform(-6, 6) + rng.choice([0, -5, 5])
    if seed % 3 == 0:
        b = np.round(b, 0)  # many ties
    l1 = rng.uniform(1, math.sqrt(n))
    y = hoyer_projection(b, l1)
    check_feasible(y, l1)
    value = float(b @ y)
    assert value >= best_over_supports(b, l1) - 1e-9 * max(1, np.abs(b).max())
    for _ in range(200):  # no random feasible point is better
        z = np.abs(rng.normal(size=n)) ** rng.uniform(0.2, 4)
        z = hoyer_projection(z, l1)
        assert b @ z <= value + 1e-8 * max(1, np.abs(b).max())


@pytest.mark.parametrize(
    "b",
    [
        np.zeros(9),
        np.full(9, 3.0),
        np.full(9, -2.0),
        -np.arange(1.0, 10.0),
        np.array([5.0] * 4 + [1.0] * 5),
        np.array([1.0, 0, 0, 0, 0, 0, 0, 0, 0]),
        np.array([5.0] * 4 + [5.0 - 1e-13] * 5),
    ],
)
@pytest.mark.parametrize("l1", [1.0, 1.3, 2.0, 2.5, 3.0])
def test_projection_copes_with_ties_and_signs(b, l1):
    y = hoyer_projection(b, l1)
    check_feasible(y, l1)
    assert b @ y >= best_over_supports(b, l1) - 1e-9


def test_hoyer_sparsity_of_known_vectors():
    assert hoyer_sparsity(np.ones(16)) == pytest.approx(0)
    assert hoyer_sparsity(np.eye(16)[3]) == pytest.approx(1)


def planted(rng, noise=0.0):
    """Three overlapping blocks of vertices with independent activations."""
    weights = np.zeros((90, 3))
    for k in range(3):
        weights[30 * k : 30 * k + 34, k] = rng.uniform(0.5, 1.5, len(weights[30 * k : 30 * k + 34]))
    activations = rng.gamma(1.0, 1.0, (3, 200))
    return weights, activations, weights @ activations + noise * rng.random((90, 200))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_recovers_planted_factors(dtype):
    weights, _, matrix = planted(np.random.default_rng(0), noise=0.01)
    target = float(np.mean([hoyer_sparsity(c) for c in weights.T]))
    found = sparse_nmf(matrix.astype(dtype), 3, rng=np.random.default_rng(1), sparsity=target).weights
    unit = weights / np.linalg.norm(weights, axis=0)
    cosine = unit.T @ (found / np.linalg.norm(found, axis=0))
    rows, columns = linear_sum_assignment(-cosine)
    assert cosine[rows, columns].min() > 0.98


def test_without_sparsity_as_good_as_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.default_rng(5)
    matrix = rng.gamma(1.0, 1.0, (120, 6)) @ rng.gamma(0.6, 1.0, (6, 80)) + 0.3 * rng.random((120, 80))
    ours = sparse_nmf(matrix, 5, rng=np.random.default_rng(0), sparsity=0.0, iterations=500, tol=1e-8)
    theirs = decomposition.NMF(5, init="nndsvda", max_iter=1500, tol=1e-7).fit(matrix)
    assert ours.objective[-1] <= 1.01 * 0.5 * theirs.reconstruction_err_**2
    misfit = 0.5 * np.linalg.norm(matrix - ours.weights @ ours.activations) ** 2
    assert ours.objective[-1] == pytest.approx(misfit, rel=1e-6)


@pytest.mark.parametrize("factor", ["W", "H"])
@pytest.mark.parametrize("sparsity", [0.4, 0.75])
def test_has_exactly_the_sparsity_asked_for(factor, sparsity):
    _, _, matrix = planted(np.random.default_rng(2), noise=0.1)
    result = sparse_nmf(matrix, 3, rng=np.random.default_rng(0), sparsity=sparsity, sparse_factor=factor)
    vectors = result.weights.T if factor == "W" else result.activations
    assert [hoyer_sparsity(v) for v in vectors] == pytest.approx([sparsity] * 3, abs=1e-6)
    assert result.weights.shape == (90, 3) and result.activations.shape == (3, 200)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    assert min(result.weights.min(), result.activations.min()) >= 0


@pytest.mark.parametrize("options", [{"sparsity": 0.0}, {"sparsity": 0.6}, {"sparsity": 0.3, "penalty": "l1"}])
def test_objective_never_rises_and_is_repeatable(options):
    _, _, matrix = planted(np.random.default_rng(3), noise=0.2)
    first = sparse_nmf(matrix, 4, rng=np.random.default_rng(9), tol=0, iterations=60, **options)
    second = sparse_nmf(matrix, 4, rng=np.random.default_rng(9), tol=0, iterations=60, **options)
    assert np.array_equal(first.weights, second.weights)
    if "penalty" not in options:  # the l1 form rescales between its two steps
        assert np.all(np.diff(first.objective) <= 1e-9 * first.objective[0])
    assert first.objective[-1] <= first.objective[0]


def test_l1_penalty_empties_entries():
    _, _, matrix = planted(np.random.default_rng(4), noise=0.5)
    plain = sparse_nmf(matrix, 3, rng=np.random.default_rng(0), sparsity=0.0, penalty="l1").weights
    sparse = sparse_nmf(matrix, 3, rng=np.random.default_rng(0), sparsity=3.0, penalty="l1").weights
    assert (sparse == 0).mean() > (plain == 0).mean()


@pytest.mark.parametrize(
    "matrix, parts, options, words",
    [
        (np.ones((5, 5)), 6, {}, "6 parts"),
        (-np.ones((5, 5)), 2, {}, "non-negative"),
        (np.full((5, 5), np.nan), 2, {}, "finite"),
        (np.ones((5, 5)), 2, {"sparsity": 7.5}, "0.75"),
        (np.ones((5, 5)), 2, {"sparsity": np.nan}, "nan"),
        (np.ones((5, 5)), 2, {"penalty": "l0"}, "l1"),
        (np.random.default_rng(0).random((9, 9)), 2, {"sparsity": 1e6, "penalty": "l1"}, "empty"),
    ],
)
def test_bad_input_gets_a_sentence(matrix, parts, options, words):
    with pytest.raises(LwaeError, match=words):
        sparse_nmf(matrix, parts, rng=np.random.default_rng(0), **options)


def sorted_projection(b, l1):
    """`hoyer_projection` as its docstring states it, with all entries sorted."""
    order = np.argsort(-b, kind="stable")
    falling = b[order]
    for p in range(math.ceil(l1**2 * (1 - 1e-12)), len(b) + 1):
        above = falling[:p] - (falling[p] if p < len(b) else -np.inf)
        if p == len(b) or above.sum() >= l1 * np.linalg.norm(above) > 0:
            break
    deviation = falling[:p] - falling[:p].mean()
    y = np.zeros(len(b))
    y[order[:p]] = l1 / p + math.sqrt(max(1 - l1**2 / p, 0)) / np.linalg.norm(deviation) * deviation
    return y


@pytest.mark.parametrize("seed", range(24))
def test_projection_of_many_entries_equals_the_sorted_one(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1000, 6000))
    b = rng.normal(size=n) ** (3 if seed % 2 else 1)
    if seed % 4 == 0:
        b[rng.random(n) < 0.6] = 0  # a tie of most entries
    l1 = math.sqrt(n) - rng.uniform(0.05, 0.98) * (math.sqrt(n) - 1)
    y = hoyer_projection(b, l1)
    check_feasible(y, l1)
    np.testing.assert_allclose(y, sorted_projection(b, l1), atol=1e-9)


@pytest.mark.parametrize("factor", ["W", "H"])
def test_the_low_rank_stand_in_ends_where_the_whole_matrix_does(factor, monkeypatch):
    rng = np.random.default_rng(3)
    place = np.linspace(0, 1, 900)[:, None]
    parts = np.exp(-(((place - [0.2, 0.4, 0.6, 0.8]) / 0.08) ** 2))
    matrix = parts @ rng.gamma(2, size=(4, 400)) + 0.05 * rng.random((900, 400))
    options = {"parts": 4, "sparsity": 0.4, "sparse_factor": factor, "tol": 1e-7}
    slow = sparse_nmf(matrix, rng=np.random.default_rng(0), **options)
    monkeypatch.setattr(nmf, "LARGE", 0)
    fast = sparse_nmf(matrix, rng=np.random.default_rng(0), **options)
    assert fast.objective[-1] == pytest.approx(slow.objective[-1], rel=1e-3)
    assert len(fast.objective) < len(slow.objective)  # with the whole matrix
    assert (np.diff(fast.objective) <= 1e-9 * fast.objective[0]).all()
    np.testing.assert_allclose(fast.weights, slow.weights, atol=0.02 * slow.weights.max())
