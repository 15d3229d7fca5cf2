# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse products and Chebyshev convolutions, against dense matrices and torch_geometric."""

from __future__ import annotations

import numpy as np
import pytest

from backend.chebyshev import LONGEST_ROW, SparseRows, chebyshev
from backend.errors import LwaeError

VERTICES = 60


def sparse(dense: np.ndarray) -> SparseRows:
    rows, columns = np.nonzero(dense)
    indptr = np.searchsorted(rows, np.arange(len(dense) + 1))
    return SparseRows(indptr, columns, dense[rows, columns], dense.shape[1])


def random_graph(seed: int = 0) -> np.ndarray:
    """Adjacency of a ring with random chords, a hub of high degree, and vertices without any neighbour."""
    rng = np.random.default_rng(seed)
    adjacency = rng.random((VERTICES, VERTICES)) < 0.05
    adjacency |= np.roll(np.eye(VERTICES, dtype=bool), 1, axis=1)
    adjacency[7] |= rng.random(VERTICES) < 0.5
    adjacency |= adjacency.T
    adjacency[[0, 33]] = adjacency[:, [0, 33]] = False
    np.fill_diagonal(adjacency, False)
    return adjacency


def scaled_laplacian(adjacency: np.ndarray) -> np.ndarray:
    root = 1 / np.sqrt(np.maximum(adjacency.sum(1), 1))
    return -1.0 * adjacency * root[:, None] * root


@pytest.mark.parametrize("shape", [(5, 5), (30, 8), (8, 30)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.9])
def test_product_equals_dense(shape, density):
    rng = np.random.default_rng(1)
    dense = (rng.normal(size=shape) * (rng.random(shape) < density)).astype(np.float32)
    matrix = sparse(dense)
    one, batch = rng.normal(size=(shape[1], 4)).astype("f4"), rng.normal(size=(3, shape[1], 2)).astype("f4")
    np.testing.assert_allclose(matrix @ one, dense @ one, atol=1e-5)
    np.testing.assert_allclose(matrix @ batch, dense @ batch, atol=1e-5)
    assert (matrix @ batch[:0]).shape == (0, shape[0], 2)
    transposed = matrix.transpose()
    assert transposed.shape == shape[::-1]
    np.testing.assert_allclose(transposed @ np.eye(shape[0], dtype="f4"), dense.T, atol=1e-6)


@pytest.mark.parametrize(
    "arrays",
    [
        ([0, 1, 2], [0, 5], [1, 1]),
        ([0, 1, 2], [0, -1], [1, 1]),
        ([0, 2, 1], [0, 1], [1, 1]),
        ([1, 1, 2], [0, 1], [1, 1]),
        ([0, 1, 2], [0, 1], [1]),
        ([0, 1, 3], [0, 1], [1, 1]),
        ([0, 1, 2], [0, 1], [1, np.nan]),
        ([], [], []),
        ([0, 6, 6], [0, 1, 2, 3, 4, 4], [1] * 6),  # More entries than columns.
    ],
)
def test_damaged_matrix_is_refused(arrays):
    with pytest.raises(LwaeError, match="damaged"):
        SparseRows(*(np.array(array) for array in arrays), columns=5)


def test_a_row_that_would_fill_the_memory_is_refused():
    """Each entry of the longest row costs some arrays, however small the file is."""
    count = LONGEST_ROW + 1
    with pytest.raises(LwaeError, match="damaged"):
        SparseRows(np.array([0, count]), np.zeros(count, int), np.zeros(count), columns=2 * count)


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("channels", [(3, 8), (5, 5), (8, 3)])
def test_numpy_layer_equals_chebyshev_polynomials(order, channels):
    rng = np.random.default_rng(order)
    dense = scaled_laplacian(random_graph())
    weight = rng.normal(size=(order, *channels)).astype("f4")
    bias = rng.normal(size=channels[1]).astype("f4")
    x = rng.normal(size=(2, VERTICES, channels[0])).astype("f4")
    values, axes = np.linalg.eigh(dense)
    assert np.abs(values).max() <= 1 + 1e-9
    expected = bias.astype(float)
    for k in range(order):
        polynomial = (axes * np.cos(k * np.arccos(np.clip(values, -1, 1)))) @ axes.T
        expected = expected + polynomial @ x @ weight[k]
    result = chebyshev(x, sparse(dense), weight, bias)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-4)
    np.testing.assert_array_equal(chebyshev(x[1], sparse(dense), weight, bias), result[1])


def geometric_layer(layer):
    """torch_geometric's layer with the same parameters, and the graph's edges."""
    torch = pytest.importorskip("torch")
    geometric = pytest.importorskip("torch_geometric.nn")
    order, inputs, outputs = layer.weight.shape
    other = geometric.ChebConv(inputs, outputs, order, normalization="sym")
    with torch.no_grad():
        other.bias.copy_(layer.bias)
        for linear, weight in zip(other.lins, layer.weight, strict=True):
            linear.weight.copy_(weight.t())
    return other, torch.tensor(np.array(np.nonzero(random_graph())))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("channels", [(3, 8), (5, 5), (8, 3)])
@pytest.mark.parametrize("needs_gradient", [True, False])
@pytest.mark.parametrize("csr", [False, True], ids=["gathered", "csr"])
def test_torch_layer_equals_torch_geometric(order, channels, batch, needs_gradient, csr):
    torch = pytest.importorskip("torch")
    network = pytest.importorskip("backend.network")
    torch.manual_seed(order)
    laplacian = network.SparseMatrix(sparse(scaled_laplacian(random_graph())), symmetric=True)
    laplacian.csr = csr
    layer = network.ChebConv(*channels, order)
    torch.nn.init.normal_(layer.bias)
    other, edges = geometric_layer(layer)
    x = torch.randn(batch, VERTICES, channels[0])
    ours = x.transpose(0, 1).contiguous().requires_grad_(needs_gradient)
    theirs = x.clone().requires_grad_(needs_gradient)
    result, expected = layer(ours, laplacian).transpose(0, 1), other(theirs, edges)
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-5)
    upstream = torch.randn_like(expected)
    result.backward(upstream)
    expected.backward(upstream)
    tolerance = {"atol": 2e-4, "rtol": 1e-4}
    if needs_gradient:
        torch.testing.assert_close(ours.grad.transpose(0, 1), theirs.grad, **tolerance)
    torch.testing.assert_close(layer.bias.grad, other.bias.grad, **tolerance)
    of_weight = torch.stack([linear.weight.grad.t() for linear in other.lins])
    torch.testing.assert_close(layer.weight.grad, of_weight, **tolerance)

    arrays = [tensor.detach().numpy() for tensor in (x, layer.weight, layer.bias)]
    in_numpy = chebyshev(arrays[0], sparse(scaled_laplacian(random_graph())), *arrays[1:])
    np.testing.assert_allclose(in_numpy, expected.detach().numpy(), atol=2e-5)


@pytest.mark.parametrize("channels", [(2, 3), (3, 2)])
@pytest.mark.parametrize("csr", [False, True], ids=["gathered", "csr"])
def test_gradients_are_exact(channels, csr, monkeypatch):
    torch = pytest.importorskip("torch")
    network = pytest.importorskip("backend.network")
    monkeypatch.setattr(network.SparseMatrix, "csr", csr)
    torch.manual_seed(0)
    laplacian = network.SparseMatrix(sparse(scaled_laplacian(random_graph())), symmetric=True).double()
    layer = network.ChebConv(*channels, 4).double()
    x = torch.randn(VERTICES, 2, channels[0], dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x, laplacian))

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))
    rng = np.random.default_rng(0)
    unsymmetric = sparse(rng.random((5, VERTICES)) * (rng.random((5, VERTICES)) < 0.2))
    assert torch.autograd.gradcheck(network.SparseMatrix(unsymmetric).double(), (x,))


def test_in_place_activation_keeps_the_gradient():
    torch = pytest.importorskip("torch")
    network = pytest.importorskip("backend.network")
    laplacian = network.SparseMatrix(sparse(scaled_laplacian(random_graph())), symmetric=True)
    layer = network.ChebConv(3, 4, 3)
    x = torch.randn(VERTICES, 2, 3)
    gradients = []
    for activation in (torch.nn.functional.elu_, torch.nn.functional.elu):
        layer.zero_grad()
        activation(layer(x, laplacian)).square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(*gradients)
