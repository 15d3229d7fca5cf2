# SPDX-License-Identifier: GPL-3.0-or-later
"""Connectivity of polygon meshes and the operators that follow from it.

Polygons come as in Blender: `polygon_sizes` [F] (corners of each polygon) and `polygon_vertices` [sum of
sizes] (their vertex indices, one polygon after the other).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from backend.polygons import (  # noqa: F401 (offered here too)
    polygon_sides,
    polygon_starts,
    triangle_areas,
    triangulate,
    vertex_areas,
    vertex_normals,
)


def surface_middle(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Where along x a mesh has the middle of its surface, whichever side has more vertices; 0 where it has none."""
    areas = vertex_areas(vertices, triangles)
    return float(areas @ vertices[:, 0] / max(areas.sum(), 1e-30))


def polygon_edges(polygon_sizes: np.ndarray, polygon_vertices: np.ndarray) -> np.ndarray:
    """Unique sides of the polygons (no diagonals), int64 [E, 2], smaller index first, sorted."""
    return _unique_edges(*polygon_sides(polygon_sizes, polygon_vertices).T)


def triangle_edges(triangles: np.ndarray) -> np.ndarray:
    """Unique edges of the triangles, int64 [E, 2], smaller index first, sorted."""
    triangles = np.asarray(triangles, dtype=np.int64)
    return _unique_edges(triangles.ravel(), np.roll(triangles, -1, axis=1).ravel())


def _unique_edges(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if len(a) == 0:
        return np.empty((0, 2), dtype=np.int64)
    stride = int(max(a.max(), b.max())) + 1
    key = np.unique((np.minimum(a, b) * stride + np.maximum(a, b))[a != b])
    return np.stack([key // stride, key % stride], axis=1)


def adjacency(edges: np.ndarray, count: int) -> sp.csr_matrix:
    """Symmetric 0/1 matrix of the edges, float64 [count, count]."""
    a, b = np.asarray(edges, dtype=np.int64).reshape(-1, 2).T
    ones = np.ones(2 * len(a))
    matrix = sp.csr_matrix((ones, (np.r_[a, b], np.r_[b, a])), shape=(count, count))
    matrix.data[:] = 1.0  # an edge given twice counts once
    return matrix


def connected_components(edges: np.ndarray, count: int) -> np.ndarray:
    """Component of each vertex, int64 [count]; components are numbered by their smallest vertex."""
    _, labels = csgraph.connected_components(adjacency(edges, count), directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def boundary_edges(triangles: np.ndarray) -> np.ndarray:
    """Edges that belong to exactly one triangle, int64 [B, 2], in the direction of that triangle."""
    triangles = np.asarray(triangles, dtype=np.int64)
    directed = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
    low, high = directed.min(axis=1), directed.max(axis=1)
    _, inverse, uses = np.unique(
        low * (int(high.max(initial=0)) + 1) + high, return_inverse=True, return_counts=True
    )
    return directed[uses[inverse] == 1]


def umbrella_laplacian(edges: np.ndarray, count: int) -> sp.csr_matrix:
    """L = D^-1 A - I, float64 [count, count]: (L x)_v is the mean of v's neighbours minus x_v.

    The row of a vertex without edges is zero.
    """
    graph = adjacency(edges, count)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    inverse = np.divide(1.0, degree, out=np.zeros(count), where=degree > 0)
    return (sp.diags(inverse) @ graph - sp.diags((degree > 0).astype(float))).tocsr()


def scaled_laplacian(edges: np.ndarray, count: int) -> sp.csr_matrix:
    """L~ = -D^-1/2 A D^-1/2, float64 [count, count]: the normalised Laplacian shifted to [-1, 1] (lambda_max
    = 2).

    It is what Chebyshev convolutions multiply by (Defferrard et al. 2016; `torch_geometric.nn.ChebConv`).
    The row of a vertex without edges is zero.
    """
    graph = adjacency(edges, count)
    degree = np.asarray(graph.sum(axis=1)).ravel()
    root = np.divide(1.0, np.sqrt(degree), out=np.zeros(count), where=degree > 0)
    return (-(sp.diags(root) @ graph @ sp.diags(root))).tocsr()


def cotangent_laplacian(vertices: np.ndarray, triangles: np.ndarray) -> sp.csr_matrix:
    """(L x)_v = sum_i (cot a_vi + cot b_vi) / 2 (x_i - x_v), float64 [N, N], symmetric, rows sum to zero.

    Same sign as `umbrella_laplacian`. Cotangents are limited to +-100, so that slivers do not swamp the rest,
    and triangles without area count nothing. Source: Pinkall & Polthier 1993.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    triangles = np.asarray(triangles, dtype=np.int64)
    count = len(vertices)
    rows, columns, values = [], [], []
    for corner in range(3):
        o, a, b = triangles[:, corner], triangles[:, (corner + 1) % 3], triangles[:, (corner + 2) % 3]
        u, v = vertices[a] - vertices[o], vertices[b] - vertices[o]
        twice_area = np.linalg.norm(np.cross(u, v), axis=1)
        cotangent = np.divide(np.einsum("ti,ti->t", u, v), twice_area, out=np.zeros(len(o)), where=twice_area > 0)
        rows += [a, b]
        columns += [b, a]
        values += [0.5 * np.clip(cotangent, -100, 100)] * 2
    off = sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
    )
    return (off - sp.diags(np.asarray(off.sum(axis=1)).ravel())).tocsr()


def distance_graph(vertices: np.ndarray, triangles: np.ndarray) -> sp.csr_matrix:
    """Lengths of the edges, and of the diagonal across each pair of neighbouring triangles, float64 [N, N].

    The diagonals halve the detour that paths along edges make.
    """
    triangles = np.asarray(triangles, dtype=np.int64)
    count = len(vertices)
    a, b = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    opposite = np.roll(triangles, -2, axis=1).ravel()
    key = np.minimum(a, b) * count + np.maximum(a, b)
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    across = np.stack([opposite[order][:-1][same], opposite[order][1:][same]], axis=1)
    pairs = np.concatenate([triangle_edges(triangles), across])
    pairs = _unique_edges(pairs[:, 0], pairs[:, 1])
    vertices = np.asarray(vertices, dtype=np.float64)
    length = np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1)
    length = np.maximum(length, 1e-12)  # a stored zero would mean "no edge"
    graph = sp.csr_matrix((length, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return graph + graph.T


def geodesic_distances(vertices: np.ndarray, triangles: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Distance of each vertex over the surface from the nearest source vertex, float64 [N]; inf where none
    leads.

    Dijkstra on `distance_graph`: at most a few per cent longer than the true geodesic. `sources` are indices
    or a mask.
    """
    return nearest_source(vertices, triangles, sources)[0]


def distances_from(vertices: np.ndarray, triangles: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Like `geodesic_distances`, but each source has a distance of its own to start from.

    Args:
        start: [N], inf for vertices that are no source.

    Returns:
        float64 [N]; inf where no source leads.
    """
    count = len(vertices)
    sources = np.flatnonzero(np.isfinite(start))
    if not len(sources):
        return np.full(count, np.inf)
    graph = distance_graph(vertices, triangles).tocoo()
    # One more vertex that leads to all sources.
    rows, columns = np.r_[graph.row, np.full(len(sources), count)], np.r_[graph.col, sources]
    length = np.r_[graph.data, np.maximum(start[sources], 1e-12)]  # a stored zero would mean "no edge"
    graph = sp.csr_matrix((length, (rows, columns)), shape=(count + 1, count + 1))
    return csgraph.dijkstra(graph, indices=count)[:count]


def nearest_source(
    vertices: np.ndarray, triangles: np.ndarray, sources: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`geodesic_distances`, and the source that each vertex is nearest to, int64 [N] (-1: none leads there)."""
    sources = np.asarray(sources)
    sources = np.flatnonzero(sources) if sources.dtype == bool else np.unique(sources)
    if len(sources) == 0:
        return np.full(len(vertices), np.inf), np.full(len(vertices), -1, dtype=np.int64)
    distance, _, origin = csgraph.dijkstra(
        distance_graph(vertices, triangles),
        directed=False,
        indices=sources,
        return_predecessors=True,
        min_only=True,
    )
    return distance, np.where(np.isfinite(distance), origin, -1).astype(np.int64)


def mirror_map(vertices: np.ndarray, tolerance: float | None = None) -> np.ndarray:
    """Index of each vertex's mirror image across the plane x = 0, int64 [N]; -1 where there is none.

    A pair counts when each is the other's nearest within `tolerance` (default: 1 % of the largest extent); a
    vertex nearer to the plane than that may be its own image.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    if tolerance is None:
        tolerance = 0.01 * float(np.ptp(vertices, axis=0).max())
    distance, image = cKDTree(vertices).query(vertices * [-1.0, 1.0, 1.0])
    mutual = image[image] == np.arange(len(vertices))
    return np.where((distance <= tolerance) & mutual, image, -1).astype(np.int64)
