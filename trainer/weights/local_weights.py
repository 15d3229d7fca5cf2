# SPDX-License-Identifier: GPL-3.0-or-later
"""Local weights: how much each vertex belongs to each part, learned from how training faces vary.

Kim & Kim 2021 (arXiv 2107.08737), section 3: sparse NMF of the vertices' deviations from the mean face. Then,
step by step below: pieces, filling, loose components, sharpening, smoothing, partition of unity.
"""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from backend.errors import LwaeError
from backend.lwae_file import MAX_PARTS
from trainer.mesh.topology import (
    connected_components,
    mirror_map,
    nearest_source,
    surface_middle,
    triangle_edges,
    umbrella_laplacian,
    vertex_areas,
    vertex_normals,
)
from trainer.mesh.visibility import visibility

from .nmf import sparse_nmf
from .seams import Seams, seam_weights, symmetric_weights

log = logging.getLogger(__name__)

LOOSE_SHARE = 0.1  # a component with a smaller share of the vertices belongs whole to the part around it
CUTOFF = 1e-3  # smaller weights become 0, so that a part has its own vertices and no others
DIFFUSION_STEPS = 4
SHARPEN, SEAM_SHARPEN = 8, 32  # Seams start from hard borders.
WALL_MM = 7.0  # of skin with something hidden close under it, such as the sides of a nose
RIM_MM = 7.0  # around a loose component; with 5.5 eyeballs broke through the skin in 3 of 2,136 mixes, with 7 in none
FACE_BLOCK = 64  # faces read at a time
STARTS = 4  # of the NMF, whose parts depend on where it starts
LEAST_VOTES = 0.01  # of all, that a part has where it is strongest; of more than 25 parts a quarter of an equal share
RESTING_MM = 1e-4  # Less is rounding.
MANY_PIECES = 60  # teeth, tongue, eyes and lashes are fewer


def local_weights(
    vertices: np.ndarray,
    triangles: np.ndarray,
    parts: int = 8,
    *,
    rng: np.random.Generator,
    edges: np.ndarray | None = None,
    image: np.ndarray | None = None,
    normalise: bool = True,
    sparsity: float = 0.3,
    sparse_factor: str = "W",
    penalty: str = "hoyer",
    one_place: bool = True,
    sharpen: float | None = None,
    smoothing: str = "seam",
    iterations: int = 200,
) -> np.ndarray:
    """Local weights of a set of training faces.

    Args:
        vertices: [S, N, 3] mm, the training faces only; float32, may be a memory map (read in blocks).
        triangles: [T, 3].
        parts: K.
        rng: draws the start of the NMF.
        edges: [E, 2], the polygons' own edges, for the seams (default: those of the triangles).
        image: int [N], the mirror image of each vertex, where the polygons are symmetric: parts that are so, or each
            other's mirror images, as good as exactly, become so exactly.
        normalise: divide each vertex's deviations by their RMS, so that it counts by how it varies, not by
            how much, and weigh it by `votes`; False is the plain reading of the paper.
        sparsity, sparse_factor, penalty, iterations: see `nmf.sparse_nmf`.
        one_place: a part is one place or a left-right pair (see `keep_main_places`); else NMF's parts stay as
            they are.
        sharpen: exponent p of w^p / sum w^p (default 8); not with `smoothing="seam"`.
        smoothing: "seam" (`seams.seam_weights`), "diffusion" (a few averaging steps) or "none".

    Returns:
        float32 [K, N], non-negative, columns summing to 1; parts sorted from the top of the head down.

    Raises:
        LwaeError: nothing varies, or an option is out of range.
    """
    if smoothing not in ("diffusion", "seam", "none"):
        raise LwaeError(f"Unknown smoothing {smoothing!r}; use diffusion, seam or none.")
    if smoothing == "seam" and sharpen is not None:
        raise LwaeError("Seams start from hard borders: leave out --sharpen, or say --smoothing diffusion or none too.")
    if sharpen is None:
        sharpen = SEAM_SHARPEN if smoothing == "seam" else SHARPEN
    if not sharpen > 0:  # NaN too
        raise LwaeError(f"The exponent that sharpens weights must be above 0, not {sharpen:g}.")
    if parts > MAX_PARTS:
        raise LwaeError(f"A model has at most {MAX_PARTS} parts, not {parts}; ask for fewer.")
    mean = mean_face(vertices)
    vote = votes(mean, triangles) if normalise else np.ones(len(mean))
    deviation = deviations(vertices, mean, vote if normalise else None)
    # Rows of zeros stay out: they would be counted in W's sparsity.
    used = np.flatnonzero(deviation.any(axis=1))
    if len(used) < len(deviation):
        deviation = deviation[used]
    for attempt in range(STARTS):
        factors = sparse_nmf(
            deviation,
            parts,
            rng=rng,
            sparsity=sparsity,
            sparse_factor=sparse_factor,
            penalty=penalty,
            iterations=iterations,
        )
        log.info("sparse NMF: %d iterations, objective %.6g", len(factors.objective), factors.objective[-1])
        # A part's share in a vertex's deviation, in comparable units for all parts.
        share = np.zeros((len(mean), parts))
        share[used] = factors.weights * np.sqrt(np.mean(factors.activations**2, axis=1))
        label = share.argmax(axis=1)[share.max(axis=1) > 0]
        if len(np.unique(label)) == parts:
            break
        if attempt < STARTS - 1:
            log.info("Not every part is the strongest somewhere; once more, from another start.")
    _require_all(label, parts, sparse_factor, triangles)
    del deviation
    share = with_least_votes(share, vote)
    if one_place:
        share = keep_main_places(share, mean, triangles, vote)
    weights = sharpened(share, sharpen)
    weights = fill(weights, mean, triangles)
    weights = keep_loose_components_whole(weights, mean, triangles)
    if smoothing == "diffusion":
        weights = diffuse(weights, triangles)
    elif smoothing == "seam":
        polygon_edges = triangle_edges(triangles) if edges is None else edges
        weights, held = keep_rims(weights, mean, triangles)
        body = ~loose_vertices(mean, triangles)
        leaders = skin_over(mean, hidden=(vote == 0) & body, skin=(vote > 0) & body)
        seams = Seams(vertices, mean, triangles, polygon_edges)
        weights = seam_weights(weights[leaders], seams, held, leaders, image)
    weights = partition_of_unity(weights)
    if image is not None and (alike := symmetric_weights(weights.T, image)) is not None:
        weights = alike.T
    _require_all(weights.argmax(axis=1), parts, sparse_factor, triangles)
    height = weights.T @ mean[:, 2] / weights.sum(axis=0)
    return np.ascontiguousarray(weights[:, np.argsort(-height, kind="stable")].T, dtype=np.float32)


def _require_all(strongest: np.ndarray, parts: int, sparse_factor: str, triangles: np.ndarray) -> None:
    if missing := parts - len(np.unique(strongest)):
        ways = "or another sparsity" if sparse_factor == "W" else "another sparsity, or sparsity on the vertices (W)"
        pieces = len(np.unique(connected_components(triangle_edges(triangles), triangles.max() + 1)[triangles]))
        merge = f" Or merge the mesh by distance: it is in {pieces} pieces." if pieces > MANY_PIECES else ""
        raise LwaeError(f"{missing} of {parts} parts are nowhere the strongest; ask for fewer parts, {ways}.{merge}")


def mean_face(vertices: np.ndarray) -> np.ndarray:
    """Mean over the faces, float64 [N, 3]; LwaeError if something is not finite."""
    total = np.zeros(vertices.shape[1:])
    for start in range(0, len(vertices), FACE_BLOCK):
        total += vertices[start : start + FACE_BLOCK].sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        raise LwaeError("The training faces hold numbers that are not finite; prepare the data set again.")
    return total / len(vertices)


def votes(mean: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """How much each vertex counts when parts are found, float64 [N]: the fourth root of its area, about 1.

    Nearer to one vertex, one vote (the artist put vertices where the shape matters) than to one area, one
    vote. What nobody sees (eye sockets, the inside of the mouth) has no vote: it would become a part of its
    own.
    """
    area = vertex_areas(mean, triangles)
    area = np.maximum(area, 0.01 * np.median(area)) / (area.mean() or 1.0)
    seen = visibility(mean, vertex_normals(mean, triangles)) > 0
    return np.where(seen | ~seen.any(), np.maximum(area, 1e-6) ** 0.25, 0.0)


def deviations(vertices: np.ndarray, mean: np.ndarray, vote: np.ndarray | None = None) -> np.ndarray:
    """V[v, i] = |x_i(v) - mu(v)|, float32 [N, S].

    With `vote` [N] each row is divided by its RMS and multiplied by the vote's root, so that the vote is the
    vertex's weight in the squared error. A vertex that never moves (less than 1e-4 of the typical RMS, or than
    `RESTING_MM`) gets a row of zeros.

    Raises:
        LwaeError: no vertex moves.
    """
    result = np.empty((vertices.shape[1], len(vertices)), dtype=np.float32)
    centre = mean.astype(np.float32)
    for start in range(0, len(vertices), FACE_BLOCK):
        block = vertices[start : start + FACE_BLOCK] - centre
        result[:, start : start + len(block)] = np.sqrt(np.einsum("snc,snc->ns", block, block))
    rms = np.sqrt(np.einsum("ns,ns->n", result, result) / result.shape[1])
    if rms.max() < RESTING_MM:
        raise LwaeError("All training faces are the same, so there are no parts to find; use faces that differ.")
    moving = rms > max(RESTING_MM, 1e-4 * np.median(rms[rms > 0]))
    scale = moving.astype(np.float32)
    if vote is not None:
        scale[moving] = (np.sqrt(vote) / np.maximum(rms, 1e-30))[moving]
    result *= scale[:, None]
    return result


def with_least_votes(share: np.ndarray, vote: np.ndarray) -> np.ndarray:
    """Shares [N, K] of which small parts' are larger, so that each is the strongest for `LEAST_VOTES` at least.

    A factor may matter in many places and lead in next to none, as that of the tip of a nose. It gets the places where
    it comes nearest to leading.

    Args:
        vote: [N], see `votes`.
    """
    parts = share.shape[1]
    least = min(LEAST_VOTES, 0.25 / parts) * vote.sum()
    share = share.copy()
    for k in range(parts):
        others = np.delete(share, k, axis=1).max(axis=1, initial=0)
        own = share[:, k]
        if vote[own > others].sum() >= least:
            continue
        there = np.flatnonzero((own > 0) & (vote > 0))
        ratio = own[there] / np.maximum(others[there], 1e-30)
        order = np.argsort(-ratio, kind="stable")
        last = min(np.searchsorted(np.cumsum(vote[there[order]]), least), len(order) - 1)
        share[:, k] *= 1.0001 / ratio[order[last]]
    return share


def keep_main_places(share: np.ndarray, mean: np.ndarray, triangles: np.ndarray, vote: np.ndarray) -> np.ndarray:
    """Give every part one place: the connected piece of the surface, or left-right pair of pieces, of most
    votes.

    NMF ties together what merely moves together: chin and crown, for instance, since heads are aligned on
    their middle. Every vertex is labelled with its strongest part; those outside their part's main place are
    emptied, to be filled from around. Small loose components (eyeballs) have no say.

    Args:
        share: float64 [N, K], from NMF.
        mean: [N, 3].
        triangles: [T, 3].
        vote: [N], see `votes`.

    Returns:
        float64 [N, K].
    """
    label = np.where(share.max(axis=1) > 0, share.argmax(axis=1), -1)
    label[loose_vertices(mean, triangles)] = -1
    piece = pieces_of(label, triangles, mean)
    inside = piece >= 0
    total = np.bincount(piece[inside], weights=vote[inside])
    main = np.zeros(len(share), dtype=bool)
    for k in range(share.shape[1]):
        candidates = np.unique(piece[inside & (label == k)])
        if len(candidates):
            main |= piece == candidates[total[candidates].argmax()]
    return np.where(main[:, None], share, 0.0)


def pieces_of(label: np.ndarray, triangles: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Connected piece of each vertex among vertices of its label, a piece and its mirror image being one;
    int64 [N].

    -1 where the label is negative. Two pieces of one label are mirror images when at least half of either, mirrored,
    falls on the other. That asks for no symmetric mesh: a vertex falls on whatever vertex is nearest.
    """
    count = len(label)
    edges = triangle_edges(triangles)
    inside = (label[edges[:, 0]] == label[edges[:, 1]]) & (label[edges[:, 0]] >= 0)
    piece = connected_components(edges[inside], count)
    opposite = nearest_opposite(mean, triangles, edges)
    paired = np.flatnonzero(opposite >= 0)
    paired = paired[(label[paired] == label[opposite[paired]]) & (label[paired] >= 0)]
    sizes = np.bincount(piece)
    pairs = (np.ones(len(paired)), (piece[paired], piece[opposite[paired]]))
    falls = sp.csr_matrix(pairs, shape=(len(sizes), len(sizes)))
    half = sp.diags(1 / np.maximum(sizes, 1)) @ falls >= 0.5
    _, joined = csgraph.connected_components(half.multiply(half.T), directed=False)
    return np.where(label >= 0, joined[piece], -1)


def nearest_opposite(mean: np.ndarray, triangles: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The vertex nearest to each one's mirror image, int64 [N]; -1 where none is nearer than an edge's length or, where
    edges are short, 1 % of the largest extent.

    The plane of symmetry is where the surface has its middle: x = 0 is the middle of the vertices, of which one side
    may have more.
    """
    middle = surface_middle(mean, triangles)
    lengths = np.linalg.norm(mean[edges[:, 0]] - mean[edges[:, 1]], axis=1)
    longest = np.full(len(mean), 0.01 * np.ptp(mean, axis=0).max())
    np.maximum.at(longest, edges, lengths[:, None])
    distance, nearest = cKDTree(mean).query(mean * [-1.0, 1.0, 1.0] + [2 * middle, 0.0, 0.0])
    return np.where(distance <= longest, nearest, -1)


def sharpened(share: np.ndarray, power: float) -> np.ndarray:
    """w^p / sum w^p of each row; rows without any share stay zero."""
    top = share.max(axis=1, keepdims=True)
    powered = np.divide(share, top, out=np.zeros_like(share), where=top > 0) ** power
    total = powered.sum(axis=1, keepdims=True)
    return np.divide(powered, total, out=np.zeros_like(share), where=total > 0)


def fill(weights: np.ndarray, mean: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Rows of zeros take the weights of the vertex nearest over the mesh that has some (through space, if
    none leads).
    """
    empty = weights.sum(axis=1) == 0
    _, nearest = nearest_source(mean, triangles, ~empty)
    lost = np.flatnonzero(nearest < 0)
    full = np.flatnonzero(~empty)
    nearest[lost] = full[cKDTree(mean[full]).query(mean[lost])[1]]
    return weights[nearest]


def skin_over(mean: np.ndarray, hidden: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """The vertex that each one goes with, int64 [N]: itself, or, close under the skin, the nearest of the skin.

    Else the inside of one person's nostrils pierces the nose of another.

    Args:
        hidden, skin: bool [N].
    """
    leaders = np.arange(len(mean))
    if skin.any():
        distance, nearest = cKDTree(mean[skin]).query(mean, distance_upper_bound=WALL_MM)
        thin = hidden & np.isfinite(distance)
        leaders[thin] = np.flatnonzero(skin)[nearest[thin]]
    return leaders


def loose_vertices(mean: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Vertices of small loose components: less than `LOOSE_SHARE` of all, and not the largest; bool [N]."""
    component = connected_components(triangle_edges(triangles), len(mean))
    sizes = np.bincount(component)
    small = (sizes < LOOSE_SHARE * len(mean)) & (np.arange(len(sizes)) != sizes.argmax())
    return small[component]


def keep_loose_components_whole(weights: np.ndarray, mean: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """A small loose component (eyeball, tooth, tongue) goes whole to the part that is strongest around it.

    Around it: at the vertex of the large components that is nearest to each of its vertices.
    """
    loose = loose_vertices(mean, triangles)
    if not loose.any():
        return weights
    component = connected_components(triangle_edges(triangles), len(mean))
    body = np.flatnonzero(~loose)
    around = weights[body[cKDTree(mean[body]).query(mean[loose])[1]]]
    votes = np.zeros((component.max() + 1, weights.shape[1]))
    np.add.at(votes, component[loose], around)
    result = weights.copy()
    result[loose] = np.eye(weights.shape[1])[votes.argmax(axis=1)[component[loose]]]
    return result


def keep_rims(weights: np.ndarray, mean: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies around a small loose component goes with it: eyelids of one person do not fit eyeballs of another.

    Returns:
        weights [N, K], and bool [N], the loose components and their rims.
    """
    loose = loose_vertices(mean, triangles)
    if not loose.any():
        return weights, loose
    inside = np.flatnonzero(loose)
    distance, nearest = cKDTree(mean[inside]).query(mean, distance_upper_bound=RIM_MM)
    held = np.isfinite(distance)
    result = weights.copy()
    result[held] = weights[inside[nearest[held]]]
    return result, held


def diffuse(weights: np.ndarray, triangles: np.ndarray, steps: int = DIFFUSION_STEPS) -> np.ndarray:
    """Average each vertex half with its neighbours, `steps` times."""
    laplacian = umbrella_laplacian(triangle_edges(triangles), len(weights))
    for _ in range(steps):
        weights = weights + 0.5 * (laplacian @ weights)
    return weights


def partition_of_unity(weights: np.ndarray) -> np.ndarray:
    """Clip at `CUTOFF` and make each row sum to 1."""
    weights = np.where(weights < CUTOFF, 0.0, weights)
    return weights / weights.sum(axis=1, keepdims=True)


def weights_report(weights: np.ndarray, mean: np.ndarray, triangles: np.ndarray) -> dict:
    """Figures that tell good local weights from bad ones, JSON-able.

    Args:
        weights: [K, N], columns summing to 1.
        mean: [N, 3] mm.
        triangles: [T, 3].

    Returns:
        coverage: share of the vertices whose largest weight is above 0.5.
        balance: entropy of the parts' vertex counts over log K (1: all the same size).
        parts: per part `vertices` (where it is strongest), `share` (of the surface), `peak` (largest weight),
            `pieces` (connected pieces of the vertices where it is strongest), `symmetry` (overlap with its
            own mirror image: 1 symmetric, 0 one-sided) and `side` (-1 wholly on the person's right, +1 left).
    """
    label = weights.argmax(axis=0)
    count = np.bincount(label, minlength=len(weights))
    edges = triangle_edges(triangles)
    piece = connected_components(edges[label[edges[:, 0]] == label[edges[:, 1]]], len(label))
    mirror = mirror_map(mean)
    paired = mirror >= 0
    side = np.sign(np.where(np.abs(mean[:, 0]) > 0.005 * np.ptp(mean[:, 0]), mean[:, 0], 0))
    area = vertex_areas(mean, triangles)
    area /= area.sum()
    shares = count / count.sum()
    entropy = -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))
    parts = []
    for k, w in enumerate(weights.astype(np.float64)):
        here, there = w[paired], w[mirror[paired]]
        parts.append(
            {
                "vertices": int(count[k]),
                "share": float(w @ area),
                "peak": float(w.max()),
                "pieces": len(np.unique(piece[label == k])),
                "symmetry": float(np.minimum(here, there).sum() / max(np.maximum(here, there).sum(), 1e-12)),
                "side": float(w * area @ side / max(w @ area, 1e-12)),
            }
        )
    return {
        "coverage": float((weights.max(axis=0) > 0.5).mean()),
        "balance": entropy / np.log(len(weights)) if len(weights) > 1 else 1.0,
        "parts": parts,
    }
