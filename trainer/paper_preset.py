# SPDX-License-Identifier: GPL-3.0-or-later
"""The `paper` preset at the start of training: network, local weights and statistics of the training faces."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from backend.chebyshev import SparseRows
from backend.errors import LwaeError
from backend.network import PaperNetwork
from backend.paper_network import PaperConfig, pool_weights

from .mesh.hierarchy import build_hierarchy

# The paper: K = 4, Z = 64, 300 epochs, batches of 32, L1 and cycle loss. Where it is silent, docs/method.md has the
# readings; the weight of the KL divergence is that of CoMA's own variational variant.
NETWORK_DEFAULTS = {name: value for name, value in PaperConfig().to_dict().items() if name != "parts"}
DEFAULTS = NETWORK_DEFAULTS | {
    "epochs": 300,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "optimiser": "adamw",
    "schedule": "cosine",
    "normalised_loss": False,
    "cycle": 1.0,
    "partition": 0.0,
    "leakage": 0.0,
    "kl": 1e-3,
    "seed": 0,
}
BLOCK_FACES = 64
STD_FLOOR = 0.01  # of the overall std: a coordinate that hardly varies must not be blown up into noise


def build(
    faces: np.ndarray, mean: np.ndarray, triangles: np.ndarray, weights: np.ndarray, config: dict
) -> PaperNetwork:
    """A network with random parameters (from the seed) and everything else in place.

    Args:
        faces: float32 [S, N, 3] mm, the training faces alone.
        mean: float32 [N, 3], their mean; the mesh hierarchy is made on it.
        triangles: [T, 3].
        weights: [K, N], a partition of unity.
        config: options as in DEFAULTS; one mesh level per filter.

    Raises:
        LwaeError: when the mesh is too small for that many levels, or an option is not valid.
    """
    options = {name: config[name] for name in NETWORK_DEFAULTS}
    options = PaperConfig.from_dict(options | {"parts": len(weights)})
    if config["partition"] and not options.projections:
        raise LwaeError("The partition loss is about projections; leave out partition, or projections=false.")
    hierarchy = build_hierarchy(mean, triangles, levels=len(options.filters))
    down = [sparse_rows(matrix) for matrix in hierarchy.down]
    gate = pool_weights(weights if options.local_weights else np.ones_like(weights), down)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        return PaperNetwork(
            options,
            mean=mean,
            std=standard_deviation(faces, mean, per_vertex=options.statistics == "vertex"),
            gate=gate,
            laplacians=[sparse_rows(matrix) for matrix in hierarchy.laplacians[:-1]],
            down=down,
            up=[sparse_rows(matrix) for matrix in hierarchy.up],
        )


def sparse_rows(matrix: sp.csr_matrix) -> SparseRows:
    """A SciPy matrix as the backend's own."""
    matrix = matrix.tocsr()
    return SparseRows(matrix.indptr, matrix.indices, matrix.data, matrix.shape[1])


def standard_deviation(faces: np.ndarray, mean: np.ndarray, per_vertex: bool = True) -> np.ndarray:
    """Standard deviation of the faces, float32 [N, 3] mm; reads a block at a time.

    Args:
        faces: [S, N, 3], may be memory-mapped.
        mean: [N, 3].
        per_vertex: one deviation per vertex and coordinate, or their root mean square everywhere.

    Raises:
        LwaeError: when all faces are the same.
    """
    squares = np.zeros(mean.shape)
    for start in range(0, len(faces), BLOCK_FACES):
        squares += ((faces[start : start + BLOCK_FACES].astype(np.float64) - mean) ** 2).sum(axis=0)
    variance = squares / len(faces)
    overall = float(np.sqrt(variance.mean()))
    if overall == 0:
        raise LwaeError("All training faces are the same; the data set needs faces that differ.")
    std = np.maximum(np.sqrt(variance), STD_FLOOR * overall) if per_vertex else np.full_like(variance, overall)
    return std.astype(np.float32)
