# SPDX-License-Identifier: GPL-3.0-or-later
"""The `local` preset before any training: everything that has a closed form, in seconds.

Basis of part k: PCA of the training displacements weighted by sqrt(w_k), U_k with standard deviations sigma_k.
The decoder adds sqrt(w_k) sigma_k U_k z_k over the parts, so that codes are in units of sigma, and a code that
repeats what its training faces did gives w_k times their displacement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Below this weight a part no longer moves a vertex: at most a few micrometres are lost.
SUPPORT = 1e-3


@dataclass
class LocalBasis:
    """Basis of one part on its own vertices.

    Attributes:
        vertices: int32 [n].
        basis: float32 [Z, n, 3], mm per unit of code.
    """

    vertices: np.ndarray
    basis: np.ndarray


def local_basis(displacements: np.ndarray, weight: np.ndarray, code_size: int) -> LocalBasis:
    """Principal components of one part.

    Args:
        displacements: float32 [S, N, 3], training faces minus their mean.
        weight: [N], the part's local weight.
        code_size: at most S - 1 components are kept.
    """
    vertices = np.flatnonzero(weight > SUPPORT).astype(np.int32)
    root = np.sqrt(weight[vertices]).astype(np.float32)[:, None]
    part = (displacements[:, vertices] * root).reshape(len(displacements), -1)
    return LocalBasis(vertices, _principal(part, code_size).reshape(-1, len(vertices), 3) * root)


def _principal(rows: np.ndarray, count: int) -> np.ndarray:
    """Principal axes of the rows times their standard deviations, float32 [count, columns].

    From the smaller of the two Gram matrices; signs are fixed so that the result is deterministic.
    """
    samples, columns = rows.shape
    count = min(count, samples - 1, columns)
    if samples <= columns:
        values, left = np.linalg.eigh((rows @ rows.T).astype(np.float64))
        values, left = values[::-1][:count], left[:, ::-1][:, :count]
        axes = (left / np.sqrt(np.maximum(values, 1e-12 * values[0]))).T.astype(np.float32) @ rows
    else:
        values, right = np.linalg.eigh((rows.T @ rows).astype(np.float64))
        values, axes = values[::-1][:count], right[:, ::-1][:, :count].T.astype(np.float32)
    axes *= np.sign(axes[np.arange(count), np.abs(axes).argmax(axis=1)])[:, None]
    return axes * np.sqrt(np.maximum(values, 0) / samples).astype(np.float32)[:, None]


def principal_axes(rows: np.ndarray, count: int) -> np.ndarray:
    """As `_principal`, public for the residual blocks: float32 [at most count, columns]."""
    return _principal(rows, count)
