# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding parts (sparse NMF) and mesh levels (edge collapse) at the paper's size: 53,215 vertices, 1,780 faces."""

from __future__ import annotations

import time

import numpy as np
import scipy.sparse.linalg as spla
from sklearn.decomposition import NMF

from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from backend.polygons import triangulate
from trainer.mesh.hierarchy import build_hierarchy
from trainer.weights import nmf

from . import large_head
from .measure import Row, value
from .memory import Peak

FACES, PARTS, LEVELS, FACTOR = 1780, 4, 4, 4
BLOCK = 20
SPARSITY = 0.3  # what `local_weights` asks for


def run(quick: bool = False) -> list[Row]:
    model = large_head.bundled_model() if quick else large_head.large_model()
    return [*_levels(model), *_parts(model, 300 if quick else FACES)]


def magnitudes(model: FaceModel, faces: int) -> np.ndarray:
    """V [N, S], float32: how far each vertex of random faces lies from the mean, rows divided by their RMS."""
    decoder, rng = NumpyDecoder(model), np.random.default_rng(0)
    result = np.empty((model.vertex_count, faces), dtype=np.float32)
    for start in range(0, faces, BLOCK):
        block = decoder.decode(model.prior.sample(rng, min(BLOCK, faces - start)))
        result[:, start : start + len(block)] = np.linalg.norm(block - model.mean, axis=2).T
    result /= np.sqrt(np.einsum("ij,ij->i", result, result) / faces)[:, None]
    return result


def _parts(model: FaceModel, faces: int) -> list[Row]:
    matrix = magnitudes(model, faces)
    size = f"{matrix.shape[0]:,} x {faces:,}, K = {PARTS}"
    start = time.perf_counter()
    spla.svds(matrix, PARTS)
    plain = time.perf_counter() - start
    with Peak() as peak:
        start = time.perf_counter()
        factors = nmf.sparse_nmf(matrix, PARTS, rng=np.random.default_rng(0), sparsity=SPARSITY)
        seconds = time.perf_counter() - start
    rows = [
        value(f"sparse NMF, {size}", seconds, "s", most=15, note=f"{len(factors.objective)} iterations with all of it"),
        value("its memory, the data included", 1 + peak.grown / matrix.nbytes, "x the data", most=2.5),
        value(f"truncated SVD of the same rank (SciPy), {size}", plain, "s", baseline=True),
    ]
    large, nmf.LARGE = nmf.LARGE, matrix.size + 1
    start = time.perf_counter()
    whole = nmf.sparse_nmf(matrix, PARTS, rng=np.random.default_rng(0), sparsity=SPARSITY)
    seconds, nmf.LARGE = time.perf_counter() - start, large
    note = f"objective {whole.objective[-1]:.6g}, ours {factors.objective[-1]:.6g}"
    rows.append(value("the same with the whole matrix in each iteration", seconds, "s", baseline=True, note=note))
    start = time.perf_counter()
    with Peak() as peak:
        NMF(PARTS, init="nndsvda", max_iter=50, random_state=0).fit(matrix)
    seconds = time.perf_counter() - start
    note = "no sparsity constraint"
    return [
        *rows,
        value(f"plain NMF (scikit-learn, 50 iterations), {size}", seconds, "s", baseline=True, note=note),
        value("its memory, the data included", 1 + peak.grown / matrix.nbytes, "x the data", baseline=True),
    ]


def _levels(model: FaceModel) -> list[Row]:
    triangles = triangulate(model.polygon_sizes, model.polygon_vertices)
    start = time.perf_counter()
    hierarchy = build_hierarchy(model.mean, triangles, LEVELS, FACTOR)
    seconds = time.perf_counter() - start
    counts = np.array(hierarchy.sizes, dtype=float)
    off = 100 * np.abs(counts[:-1] / counts[1:] / FACTOR - 1).max()
    size = f"{model.vertex_count:,} vertices, {LEVELS} levels"
    return [
        value(f"hierarchy, {size}", seconds, "s", most=8, note=" > ".join(f"{size:,}" for size in hierarchy.sizes)),
        value("its levels' largest distance from factor 4", off, "%", most=2),
    ]
