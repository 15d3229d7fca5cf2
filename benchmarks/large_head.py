# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model on a mesh of the paper's size: 53,215 vertices.

The longest edges of the bundled model's head are halved until it has that many vertices, and everything that the
model says of a vertex is interpolated along: a trained network, its non-linear part and its moving borders at a size
for which no free scans exist.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from backend.lwae_file import load_model, save_model
from backend.model import FaceModel
from backend.polygons import triangulate

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "blender_lwae" / "models" / "default.lwae"
PAPER_VERTICES = 53_215
CACHE = ROOT / "out" / "benchmarks"


def bundled_model() -> FaceModel:
    return load_model(BUNDLED)


def large_model() -> FaceModel:
    """The bundled model with 53,215 vertices."""
    return refined(bundled_model(), PAPER_VERTICES)


def large_model_file() -> Path:
    """The same as a file, made once."""
    path = CACHE / f"large-{bundled_model().hash}.lwae"
    if not path.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        save_model(large_model(), path)
    return path


def refined(model: FaceModel, count: int) -> FaceModel:
    """A `local` model with `count` vertices, by halving edges; its polygons are triangles."""
    triangles = triangulate(model.polygon_sizes, model.polygon_vertices)
    polygon = np.repeat(np.arange(len(model.polygon_sizes)), model.polygon_sizes - 2)
    mean, parents, triangles, origin = halve_edges(model.mean, triangles, count)

    def spread(rows: np.ndarray) -> np.ndarray:
        """[old vertices, ...] to [new vertices, ...], float32."""
        result = np.zeros((count, *rows.shape[1:]), dtype=np.float32)
        result[: len(rows)] = rows
        for first, pair in parents:
            result[first : first + len(pair)] = (result[pair[:, 0]] + result[pair[:, 1]]) / 2
        return result

    network = dict(model.network)
    mass = spread(model.network["mass"])
    network["mass"] = (mass * (model.network["mass"].sum() / mass.sum())).astype(np.float32)
    for name in [name.removesuffix("vertices") for name in network if name.endswith("/vertices")]:
        basis = network[f"{name}basis"]
        rows = np.zeros((model.vertex_count, len(basis), 3), dtype=np.float32)
        rows[network[f"{name}vertices"]] = basis.transpose(1, 0, 2)
        rows = spread(rows)
        own = np.flatnonzero(rows.any(axis=(1, 2))).astype(np.int32)
        network[f"{name}vertices"] = own
        network[f"{name}basis"] = np.ascontiguousarray(rows[own].transpose(1, 0, 2)).astype(basis.dtype)
    return dataclasses.replace(
        model,
        header={**model.header, "name": f"{model.name}, {count} vertices"},
        mean=mean,
        polygon_sizes=np.full(len(triangles), 3, dtype=np.int32),
        polygon_vertices=triangles.ravel().astype(np.int32),
        uv=np.zeros((0, 2), dtype=np.float32),
        polygon_material=model.polygon_material[polygon[origin]],
        weights=np.ascontiguousarray(spread(model.weights.T).T),
        network=network,
    )


def halve_edges(vertices: np.ndarray, triangles: np.ndarray, count: int):
    """Halve longest edges, many at a time, until a mesh has `count` vertices.

    Returns:
        vertices [count, 3]; for each round the number of its first new vertex and the two parents of each [n, 2];
        triangles [T', 3]; the old triangle of each new one [T'].
    """
    vertices, origin, rounds = np.asarray(vertices, dtype=np.float32), np.arange(len(triangles)), []
    while (missing := count - len(vertices)) > 0:
        n = len(vertices)
        ends = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2), axis=2).astype(np.int64)
        key, edge, uses = np.unique(ends[..., 0] * n + ends[..., 1], return_inverse=True, return_counts=True)
        edge = edge.reshape(-1, 3)
        pairs = np.stack([key // n, key % n], axis=1)
        length = np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1)
        rank = np.empty(len(key), dtype=np.int64)
        rank[np.argsort(length, kind="stable")] = np.arange(len(key))
        slot = rank[edge].argmax(axis=1)
        longest = edge[np.arange(len(edge)), slot]
        # An edge that is the longest of all its triangles: then no triangle loses two edges at once.
        agreed = np.flatnonzero(np.bincount(longest, minlength=len(key)) == uses)
        agreed = agreed[length[agreed] >= length.max() / 2]  # or short ones would be halved beside long ones
        chosen = agreed[np.argsort(-rank[agreed])][:missing]
        number = np.full(len(key), -1)
        number[chosen] = n + np.arange(len(chosen))
        rounds.append((n, pairs[chosen]))
        vertices = np.concatenate([vertices, vertices[pairs[chosen]].mean(axis=1)])
        hit = np.flatnonzero(number[longest] >= 0)
        a, b, c = (triangles[hit, (slot[hit] + turn) % 3] for turn in range(3))
        middle = number[longest[hit]]
        halves = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
        kept = np.delete(np.arange(len(triangles)), hit)
        origin = np.concatenate([origin[kept], origin[hit], origin[hit]])
        triangles = np.concatenate([triangles[kept], halves])
    return vertices, rounds, triangles, origin
