# SPDX-License-Identifier: GPL-3.0-or-later
"""Products of constant sparse matrices and vertex features in PyTorch."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .chebyshev import SparseRows


class SparseMatrix(nn.Module):
    """A constant sparse matrix for products with vertex features; gradients flow to the features.

    The product is an `embedding_bag`, a weighted sum of gathered rows: on CPU 3 to 10 times as fast as PyTorch's
    CSR product, and on any device the same numbers in every run. `csr` asks for the CSR product (cuSPARSE on CUDA)
    instead, which subtracts in the same pass.

    Args:
        matrix: [n, m].
        symmetric: the transposed matrix is the same, so none is stored for the gradient.
    """

    csr = False

    def __init__(self, matrix: SparseRows, symmetric: bool = False):
        super().__init__()
        self.shape = matrix.shape
        # Constants of the mesh, not state: whoever builds the network brings them.
        self.register_buffer("indptr", torch.from_numpy(matrix.indptr), persistent=False)
        self.register_buffer("indices", torch.from_numpy(matrix.indices), persistent=False)
        self.register_buffer("values", torch.from_numpy(matrix.data), persistent=False)
        self.register_buffer("doubled", 2 * self.values, persistent=False)
        self.transposed = None if symmetric else SparseMatrix(matrix.transpose(), symmetric=True)
        self._rows: dict[str, torch.Tensor] = {}

    def product(
        self, x: torch.Tensor, double: bool = False, minus: torch.Tensor | None = None, overwrite: bool = False
    ) -> torch.Tensor:
        """A x, or 2 A x, less `minus` [n, columns], for features [m, columns]; no gradient.

        With `overwrite` the result may lie where `minus` was.
        """
        values = self.doubled if double else self.values
        if self.csr:
            rows = self._compressed("doubled" if double else "values", values)
            if minus is None:
                return rows @ x
            return torch.addmm(minus, rows, x, beta=-1, out=minus if overwrite else None)
        result = torch.embedding_bag(x, self.indices, self.indptr, False, 0, False, values, True)[0]
        return result if minus is None else result.sub_(minus)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A x for features [m, B, C]: [n, B, C]."""
        return _Product.apply(x, self)

    def _compressed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """The matrix as a CSR tensor; made once for each place and precision that its values are moved to."""
        kept = self._rows.get(name)
        if kept is None or (kept.device, kept.dtype) != (values.device, values.dtype):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "in beta state"
                kept = torch.sparse_csr_tensor(self.indptr, self.indices, values, self.shape, check_invariants=False)
            self._rows[name] = kept
        return kept


def use_csr(network: nn.Module, csr: bool = True) -> None:
    """Choose between the two products for all matrices of a network."""
    for module in network.modules():
        if isinstance(module, SparseMatrix):
            module.csr = csr


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, matrix):
        ctx.matrix = matrix
        return _columns(matrix.product, x)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        transposed = ctx.matrix.transposed or ctx.matrix
        return _columns(transposed.product, gradient), None


def _columns(product, x: torch.Tensor) -> torch.Tensor:
    """Apply a product on [m, columns] to [m, B, C]."""
    return product(x.reshape(len(x), -1)).view(-1, *x.shape[1:])
