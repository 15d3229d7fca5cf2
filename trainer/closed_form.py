# SPDX-License-Identifier: GPL-3.0-or-later
"""The `local` preset before any training: everything that has a closed form, in seconds.

Basis of part k: PCA of the training displacements weighted by sqrt(w_k), U_k with standard deviations sigma_k.
The decoder adds sqrt(w_k) sigma_k U_k z_k over the parts, so that codes are in units of sigma.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from backend.local_network import REFERENCE_VERTICES
from trainer.mesh.topology import vertex_areas

from .mirror import mirror_images

# Below this weight a part does not move a vertex: at most a few micrometres are lost.
SUPPORT = 1e-3
MOST_SHARE = 4  # By variance no part gets more than so many times its equal share of the code.


def local_arrays(
    displacements: np.ndarray,
    mean: np.ndarray,
    triangles: np.ndarray,
    weights: np.ndarray,
    code_size: int,
    allocation: str = "equal",
    image: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The network arrays of the closed form.

    Args:
        displacements: float32 [S, N, 3], training faces minus their mean, mm.
        mean: [N, 3].
        triangles: int [T, 3].
        weights: [K, N].
        code_size: Z_k of every part; at most S - 1 components exist, 2 (S - 1) with mirrored faces.
        allocation: "equal", or "variance": the same total, shared out by `sizes_by_variance`.
        image: int [N], the mirror image of each vertex, if mirrored faces are to count too.

    Returns:
        mass float32 [N], and for each part k: part{k}/vertices int32 [n], part{k}/basis float16 [Z_k, n, 3].
    """
    mass = surface_mass(mean, triangles)
    # Triangulated polygons are not the same on both sides.
    arrays = {"mass": mass if image is None else (mass + mass[image]) / 2}
    longest = code_size * (MOST_SHARE if allocation == "variance" else 1)
    for k, weight in enumerate(weights):
        vertices = np.flatnonzero(weight > SUPPORT).astype(np.int32)
        arrays[f"part{k}/vertices"] = vertices
        arrays[f"part{k}/basis"] = weighted_basis(displacements, vertices, weight, longest, image).astype(np.float16)
    if allocation == "variance":
        for k, size in enumerate(sizes_by_variance(deviations(arrays, weights), code_size * len(weights))):
            arrays[f"part{k}/basis"] = np.ascontiguousarray(arrays[f"part{k}/basis"][:size])
    return arrays


def deviations(arrays: dict[str, np.ndarray], weights: np.ndarray) -> list[np.ndarray]:
    """Standard deviations of the training faces along each part's components, float64 [Z_k] each, mm.

    Args:
        arrays: of `local_arrays`.
        weights: [K, N].
    """
    result = []
    for k, weight in enumerate(weights):
        root = np.sqrt(weight[arrays[f"part{k}/vertices"]])[:, None]
        axes = arrays[f"part{k}/basis"].astype(np.float64) / root
        result.append(np.sqrt((axes**2).sum(axis=(1, 2))))
    return result


def sizes_by_variance(deviations: Sequence[np.ndarray], total: int) -> list[int]:
    """Part code sizes Z_k with that sum: of all parts' components the largest, so that the variance left out is least
    (reverse water-filling; Cover & Thomas 2006, section 10.3), and at least one of each part.

    Parts with fewer components than asked for keep what they have.
    """
    parts = np.repeat(np.arange(len(deviations)), [len(own) - 1 for own in deviations])
    order = np.argsort(-np.concatenate([own[1:] for own in deviations]), kind="stable")
    more = np.bincount(parts[order[: total - len(deviations)]], minlength=len(deviations))
    return [1 + int(count) for count in more]


def weighted_basis(
    displacements: np.ndarray, vertices: np.ndarray, weight: np.ndarray, count: int, image: np.ndarray | None = None
) -> np.ndarray:
    """sqrt(w) times the principal components of displacements * sqrt(w), in mm per standard deviation.

    With `image` [N], the mirror image of each vertex, and a weight that is its own, these are the components of the
    displacements and their mirror images together: those of their even and of their odd halves, the largest of both.
    So each component is the same, or the opposite, on the other side.

    Args:
        vertices: int [n], the vertices that take part, sorted.
        weight: [N].

    Returns:
        float32 [at most count, n, 3].
    """
    root = np.sqrt(weight[vertices]).astype(np.float32)[:, None]
    rows = np.take(displacements, vertices, axis=1)  # [:, vertices] would lie in another order: one more copy
    rows *= root
    if image is None or not np.array_equal(weight, weight[image]):
        axes = principal_axes(rows.reshape(len(rows), -1), count)
    else:
        place = np.searchsorted(vertices, image[vertices])
        odd = 0.5 * (rows - mirror_images(rows, place))
        rows -= odd
        halves = []
        for half, sign in (rows, 1), (odd, -1):
            axes = principal_axes(half.reshape(len(half), -1), count).reshape(-1, *half.shape[1:])
            halves.append((axes + sign * mirror_images(axes, place)) / 2)  # so exactly: rounding leaves traces
        axes = np.concatenate(halves).reshape(-1, root.size * 3)
        axes = axes[np.argsort(-np.linalg.norm(axes, axis=1), kind="stable")[: min(count, axes.shape[1])]]
    return axes.reshape(-1, len(vertices), 3) * root


def principal_axes(rows: np.ndarray, count: int) -> np.ndarray:
    """Principal axes of the rows (about zero) times their standard deviations, float32 [at most count, columns].

    From the smaller of the two Gram matrices; the largest entry of each axis is positive, so that the result is
    deterministic.
    """
    samples, columns = rows.shape
    count = min(count, samples - 1, columns)
    if samples <= columns:
        axes = _largest(rows @ rows.T, count)[1].T.astype(np.float32) @ rows
    else:
        values, right = _largest(rows.T @ rows, count)
        axes = (right * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
    axes *= np.sign(axes[np.arange(count), np.abs(axes).argmax(axis=1)])[:, None]
    return axes / np.float32(np.sqrt(samples))


def _largest(gram: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric [n, n], descending, and their vectors [n, count], float64."""
    values, vectors = eigh(gram.astype(np.float64), subset_by_index=(len(gram) - count, len(gram) - 1))
    return values[::-1], vectors[:, ::-1]


def surface_mass(mean: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Each vertex's share of the surface, float32 [N], adding up to REFERENCE_VERTICES."""
    areas = vertex_areas(mean, triangles)
    # A vertex without area (a degenerate triangle) still has a position to encode.
    areas = np.maximum(areas, 1e-2 * areas.mean())
    return (areas * (REFERENCE_VERTICES / areas.sum())).astype(np.float32)
