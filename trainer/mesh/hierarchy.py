# SPDX-License-Identifier: GPL-3.0-or-later
"""Multi-resolution hierarchy of a mesh: what a convolutional mesh network pools over.

Source: quadric edge collapse of Garland & Heckbert 1997, to one of the edge's ends as in CoMA (Ranjan et al.
2018), so that coarse vertices are a selection of the fine ones. Instead of one edge after the other from a
heap, each round collapses a set of cheap edges that are far enough apart not to touch each other: nearly the
same result, in array operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from backend.errors import LwaeError

from .closest_point import closest_points
from .topology import connected_components, scaled_laplacian, triangle_edges

SMALLEST_LEVEL = 4  # vertices: below that no surface is left
BOUNDARY_WEIGHT = 10.0
SPACING_WEIGHT = 1e-3  # breaks the ties of flat regions in favour of short edges
CANDIDATE_SHARE = 0.1  # only this cheapest share of the edges may collapse in one round


@dataclass(frozen=True)
class Hierarchy:
    """Levels 0 (the mesh itself) to L; matrices are scipy CSR, float64.

    Attributes:
        vertices: L + 1 arrays [N_l, 3].
        triangles: L + 1 arrays int64 [T_l, 3], without duplicates and collapsed ones.
        kept: L arrays int64 [N_l+1]: which vertices of level l are those of level l + 1, ascending.
        down: L matrices D_l [N_l+1, N_l]: binary selection, one 1 per row.
        up: L matrices U_l [N_l, N_l+1]: barycentric weights of the closest point; rows sum to 1, D_l U_l = I.
        laplacians: L + 1 matrices L~ [N_l, N_l] = -D^-1/2 A D^-1/2.
    """

    vertices: list[np.ndarray]
    triangles: list[np.ndarray]
    kept: list[np.ndarray]
    down: list[sp.csr_matrix]
    up: list[sp.csr_matrix]
    laplacians: list[sp.csr_matrix]

    @property
    def sizes(self) -> list[int]:
        return [len(level) for level in self.vertices]


def build_hierarchy(vertices: np.ndarray, triangles: np.ndarray, levels: int = 4, factor: float = 4) -> Hierarchy:
    """Simplify a mesh `levels` times by `factor`; level l has exactly ceil(N / factor^l) vertices.

    Several components, boundaries, non-manifold edges, duplicate and zero-area triangles are allowed. A
    component that is too small for a level disappears from it (isolated vertices first); its vertices are
    then interpolated from the nearest surface that is left. Deterministic.

    Args:
        vertices: [N, 3], any unit.
        triangles: [T, 3].

    Raises:
        LwaeError: not finite, indices out of range, no triangles, or too few vertices for that many levels.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    triangles = clean_triangles(vertices, triangles)
    count = len(vertices)
    if levels < 1 or factor <= 1:
        raise LwaeError(f"A hierarchy needs at least 1 level and a factor above 1, not {levels} and {factor}.")
    targets = [math.ceil(count / factor**level) for level in range(1, levels + 1)]
    if targets[-1] < SMALLEST_LEVEL:
        raise LwaeError(
            f"A mesh of {count} vertices is too small for {levels} levels of factor {factor:g}: the coarsest "
            f"would have {targets[-1]} vertices (at least {SMALLEST_LEVEL} are needed); use fewer levels or a "
            "finer mesh."
        )

    component = connected_components(triangle_edges(triangles), count)
    collapse = _Collapse(vertices, triangles)
    hierarchy = Hierarchy([vertices], [triangles], [], [], [], [_laplacian(triangles, count)])
    alive = np.arange(count)
    for level, target in enumerate(targets, start=1):
        collapse.reduce_to(target)
        coarse = np.flatnonzero(collapse.alive)
        if len(collapse.triangles) == 0:
            raise LwaeError(
                f"Level {level} of the hierarchy ({target} vertices) has no triangles left, because the mesh has "
                "too many small loose pieces; use fewer levels or remove the loose pieces."
            )
        number = np.full(count, -1)
        number[coarse] = np.arange(len(coarse))
        coarse_triangles = number[collapse.triangles]
        kept = np.searchsorted(alive, coarse)
        shape = (len(coarse), len(alive))
        hierarchy.down.append(sp.csr_matrix((np.ones(len(kept)), (np.arange(len(kept)), kept)), shape=shape))
        hierarchy.up.append(_up_matrix(vertices, alive, coarse, coarse_triangles, component))
        hierarchy.vertices.append(vertices[coarse])
        hierarchy.triangles.append(coarse_triangles)
        hierarchy.kept.append(kept)
        hierarchy.laplacians.append(_laplacian(coarse_triangles, len(coarse)))
        alive = coarse
    return hierarchy


def clean_triangles(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Check a mesh and drop triangles that repeat a vertex or another triangle; int64 [T', 3] in the given
    order.
    """
    triangles = np.asarray(triangles).reshape(-1, 3).astype(np.int64)
    if np.ndim(vertices) != 2 or np.shape(vertices)[1] != 3 or not np.isfinite(vertices).all():
        raise LwaeError("The mesh has vertices that are not finite 3D points; repair or leave out that mesh.")
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= len(vertices)):
        raise LwaeError(
            f"The mesh has {len(vertices)} vertices but a triangle uses vertex {triangles.max()}; re-export it."
        )
    ordered = np.sort(triangles, axis=1)
    proper = np.flatnonzero((ordered[:, 0] != ordered[:, 1]) & (ordered[:, 1] != ordered[:, 2]))
    _, first = np.unique(ordered[proper], axis=0, return_index=True)
    triangles = triangles[proper[np.sort(first)]]
    if len(triangles) == 0:
        raise LwaeError("The mesh has no triangles; export it with its faces.")
    return triangles


def _laplacian(triangles: np.ndarray, count: int) -> sp.csr_matrix:
    return scaled_laplacian(triangle_edges(triangles), count)


def _up_matrix(
    vertices: np.ndarray, fine: np.ndarray, coarse: np.ndarray, triangles: np.ndarray, component: np.ndarray
) -> sp.csr_matrix:
    """Barycentric weights [len(fine), len(coarse)] of the closest coarse point *of the same component* if any
    is left.

    Otherwise an eyeball would be interpolated from the lids that touch it.
    """
    is_kept = np.isin(fine, coarse)
    rows = [np.flatnonzero(is_kept)]
    columns = [np.searchsorted(coarse, fine[is_kept])]
    weights = [np.ones(len(rows[0]))]

    triangle_component = component[coarse[triangles[:, 0]]]
    has_surface = np.zeros(component.max() + 1, dtype=bool)
    has_surface[triangle_component] = True
    # Components are moved far apart along x, so that one search keeps them separate.
    apart = 4.0 * (float(np.ptp(vertices, axis=0).max()) or 1.0) * np.array([1.0, 0.0, 0.0])
    for group, shift in (
        (np.flatnonzero(~is_kept & has_surface[component[fine]]), apart),
        (np.flatnonzero(~is_kept & ~has_surface[component[fine]]), 0 * apart),
    ):
        if len(group) == 0:
            continue
        origin = fine[group]
        triangle, barycentric = closest_points(
            vertices[origin] + component[origin, None] * shift,
            vertices[coarse] + component[coarse, None] * shift,
            triangles,
        )
        rows.append(np.repeat(group, 3))
        columns.append(triangles[triangle].ravel())
        weights.append(barycentric.ravel())
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    up = sp.csr_matrix(entries, shape=(len(fine), len(coarse)))
    up.eliminate_zeros()
    return up


class _Collapse:
    """A mesh that loses vertices by edge collapse. Vertex numbers never change; dead ones are marked."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray):
        size = float(np.ptp(vertices, axis=0).max()) or 1.0
        self.position = (vertices - vertices.mean(axis=0)) / size
        self.triangles = triangles
        self.alive = np.ones(len(vertices), dtype=bool)
        self.quadric = _quadrics(self.position, triangles)

    def reduce_to(self, target: int) -> None:
        """Collapse edges until `target` vertices are alive."""
        while (excess := int(self.alive.sum()) - target) > 0:
            isolated = self.alive.copy()
            isolated[self.triangles.ravel()] = False
            loose = np.flatnonzero(isolated)
            if len(loose):
                self.alive[loose[:excess]] = False
            else:
                self._round(excess)

    def _round(self, excess: int) -> None:
        source, goal = self._choose(excess)
        moved = np.arange(len(self.alive))
        moved[source] = goal
        self.alive[source] = False
        np.add.at(self.quadric, goal, self.quadric[source])
        triangles = moved[self.triangles]
        a, b, c = triangles.T
        triangles = triangles[(a != b) & (b != c) & (c != a)]
        ordered = np.sort(triangles, axis=1)
        count = len(self.alive)
        key = (ordered[:, 0] * count + ordered[:, 1]) * count + ordered[:, 2]
        _, first = np.unique(key, return_index=True)
        self.triangles = triangles[np.sort(first)]

    def _choose(self, excess: int) -> tuple[np.ndarray, np.ndarray]:
        """The vertices to remove in this round and the neighbour that each one moves to."""
        edges, uses = _edges_with_uses(self.triangles, len(self.alive))
        quadric = self.quadric[edges[:, 0]] + self.quadric[edges[:, 1]]
        ends = self.position[edges]
        spacing = SPACING_WEIGHT * quadric[:, 10] * ((ends[:, 0] - ends[:, 1]) ** 2).sum(axis=1)
        cost = np.stack([_evaluate(quadric, ends[:, 0]), _evaluate(quadric, ends[:, 1])], axis=1)
        to_second = cost[:, 1] < cost[:, 0]
        cost = cost.min(axis=1) + spacing

        # First the collapses that keep a proper surface; only when there is none, those that fold or pinch it.
        for share in (max(int(CANDIDATE_SHARE * len(edges)), 64), len(edges)):
            share = min(share, len(edges))
            chosen = np.sort(np.argpartition(cost, share - 1)[:share])
            source = np.where(to_second, edges[:, 0], edges[:, 1])[chosen]
            goal = np.where(to_second, edges[:, 1], edges[:, 0])[chosen]
            fault = self._faults(edges, uses, chosen, source, goal)
            if fault.min() == 0:
                break
        order = np.argsort(cost[chosen], kind="stable")
        order = order[fault[order] == fault.min()]
        source, goal = source[order], goal[order]
        picked = _far_apart(edges, source, goal, len(self.alive))[:excess]
        return source[picked], goal[picked]

    def _faults(
        self, edges: np.ndarray, uses: np.ndarray, chosen: np.ndarray, source: np.ndarray, goal: np.ndarray
    ) -> np.ndarray:
        """0: fine; 1: turns a triangle over or eats into a boundary; 2: makes the surface non-manifold."""
        count = len(self.alive)
        on_border = np.zeros(count, dtype=bool)
        on_border[edges[uses != 2]] = True
        border_edge = uses[chosen] != 2
        graph = sp.csr_matrix((np.ones(len(edges), dtype=np.int32), edges.T), shape=(count, count))
        graph = (graph + graph.T).tocsr()
        common = np.asarray(graph[source].multiply(graph[goal]).sum(axis=1)).ravel()
        pinches = (common != uses[chosen]) | (on_border[source] & on_border[goal] & ~border_edge)

        corner_order = np.argsort(self.triangles.ravel(), kind="stable")
        start = np.searchsorted(self.triangles.ravel()[corner_order], np.arange(count + 1))
        degree = start[source + 1] - start[source]
        pair = np.repeat(np.arange(len(source)), degree)
        within = np.arange(degree.sum()) - np.repeat(np.cumsum(degree) - degree, degree)
        corner = corner_order[start[source][pair] + within]
        triangle, slot = corner // 3, corner % 3
        left, right = self.triangles[triangle, (slot + 1) % 3], self.triangles[triangle, (slot + 2) % 3]
        stays = (left != goal[pair]) & (right != goal[pair])
        pair, left, right = pair[stays], left[stays], right[stays]
        b, c = self.position[left], self.position[right]
        before = np.cross(b - self.position[source[pair]], c - self.position[source[pair]])
        after = np.cross(b - self.position[goal[pair]], c - self.position[goal[pair]])
        dot = np.einsum("pi,pi->p", before, after)
        turned = dot < 0.2 * np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        turned |= (np.linalg.norm(after, axis=1) == 0) & (np.linalg.norm(before, axis=1) > 0)
        folds = np.bincount(pair, weights=turned, minlength=len(source)) > 0
        return np.where(pinches, 2, np.where(folds | (on_border[source] & ~border_edge), 1, 0))


def _edges_with_uses(triangles: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unique edges [E, 2] and the number of triangles at each, int64 [E]."""
    a, b = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    key, uses = np.unique(np.minimum(a, b) * count + np.maximum(a, b), return_counts=True)
    return np.stack([key // count, key % count], axis=1), uses


def _far_apart(edges: np.ndarray, source: np.ndarray, goal: np.ndarray, count: int) -> np.ndarray:
    """Greedy choice, in the given order, of pairs none of which has a vertex next to another's; indices,
    ascending.
    """
    chosen = []
    left = np.arange(len(source))
    rank = len(source)
    while len(left):
        s, g = source[left], goal[left]
        best = np.full(count, rank)  # per vertex: the first pair there
        np.minimum.at(best, s, left)
        np.minimum.at(best, g, left)
        around = best.copy()  # and the first pair in its neighbourhood
        np.minimum.at(around, edges[:, 0], best[edges[:, 1]])
        np.minimum.at(around, edges[:, 1], best[edges[:, 0]])
        wins = np.minimum(around[s], around[g]) == left
        chosen.append(left[wins])
        taken = np.zeros(count, dtype=bool)
        taken[s[wins]] = taken[g[wins]] = True
        touched = taken.copy()
        touched[edges[taken[edges[:, 1]], 0]] = True
        touched[edges[taken[edges[:, 0]], 1]] = True
        left = left[~(touched[s] | touched[g])]
    return np.sort(np.concatenate(chosen))


def _quadrics(position: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Per vertex: the 10 coefficients of the summed squared distances to its planes, and its area; float64
    [N, 11].
    """
    a, b, c = position[triangles.T]
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    area = 0.5 * length
    normal = np.divide(normal, length[:, None], out=np.zeros_like(normal), where=length[:, None] > 0)
    planes = _plane_quadric(normal, a, area / 3.0)
    total = _sum_at(triangles.ravel(), np.repeat(planes, 3, axis=0), len(position))

    # Borders are held by planes that stand on the surface along them.
    _, uses = _edges_with_uses(triangles, len(position))
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    key = np.minimum(start, end) * len(position) + np.maximum(start, end)
    border = np.flatnonzero(uses[np.unique(key, return_inverse=True)[1]] != 2)
    start, end, face = start[border], end[border], border // 3
    along = position[end] - position[start]
    upright = np.cross(along, normal[face])
    length = np.linalg.norm(upright, axis=1)
    upright = np.divide(upright, length[:, None], out=np.zeros_like(upright), where=length[:, None] > 0)
    walls = _plane_quadric(upright, position[start], BOUNDARY_WEIGHT * length**2)
    walls[:, 10] = 0.0
    return total + _sum_at(np.r_[start, end], np.r_[walls, walls], len(position))


def _plane_quadric(normal: np.ndarray, point: np.ndarray, weight: np.ndarray) -> np.ndarray:
    x, y, z = normal.T
    d = -np.einsum("pi,pi->p", normal, point)
    terms = (x * x, x * y, x * z, x * d, y * y, y * z, y * d, z * z, z * d, d * d, np.ones_like(x))
    return np.stack(terms, axis=1) * weight[:, None]


def _sum_at(index: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    summing = sp.csr_matrix((np.ones(len(index)), (index, np.arange(len(index)))), shape=(count, len(index)))
    return np.asarray(summing @ values)


def _evaluate(quadric: np.ndarray, point: np.ndarray) -> np.ndarray:
    x, y, z = point.T
    q = quadric.T
    return (
        q[0] * x * x + 2 * q[1] * x * y + 2 * q[2] * x * z + 2 * q[3] * x + q[4] * y * y + 2 * q[5] * y * z
        + 2 * q[6] * y + q[7] * z * z + 2 * q[8] * z + q[9]
    )  # fmt: skip
