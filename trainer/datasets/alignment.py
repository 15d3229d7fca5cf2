# SPDX-License-Identifier: GPL-3.0-or-later
"""Where faces stand: the model's axes, and rigid alignment of faces in vertex correspondence."""

from __future__ import annotations

import numpy as np

from backend.similarity import nearest_rotation, reflected_fit

AXES = {
    sign + axis: (-1.0 if sign else 1.0) * np.eye(3)[i] for sign in ("", "-") for i, axis in enumerate("xyz")
}


def frame_matrix(mm: float, up: str, front: str) -> np.ndarray:
    """The matrix [3, 3] from a source's coordinates to the model's (mm, Z up, face along -Y).

    Args:
        mm: the source's unit.
        up, front: the source's axes that point up and that faces look along, keys of `AXES`.
    """
    return mm * np.stack([np.cross(AXES[up], AXES[front]), -AXES[front], AXES[up]])


ALL = slice(None)


def align_rigidly(
    faces: np.ndarray, reference: np.ndarray, rotate: bool = True, used: np.ndarray | slice = ALL
) -> np.ndarray:
    """Move each face onto the reference with least squares, without scaling it (Kabsch 1976; Umeyama 1991).

    Args:
        faces: [B, N, 3].
        reference: [N, 3].
        rotate: also rotate; otherwise only the centroids are matched.
        used: the vertices that count.

    Returns:
        float32 [B, N, 3].
    """
    centre = reference[used].mean(axis=0)
    centred = faces - faces[:, used].mean(axis=1, keepdims=True, dtype=np.float64)
    if rotate:
        rotations = nearest_rotation(np.einsum("bni,nj->bij", centred[:, used], reference[used] - centre))
        centred = centred @ np.swapaxes(rotations, 1, 2)
    return (centred + centre).astype(np.float32)


def is_mirrored(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two shapes [N, 3] in correspondence fit much better when one of them is reflected."""
    shapes = [shape.astype(np.float64) - shape.mean(axis=0, dtype=np.float64) for shape in (first, second)]
    return reflected_fit(shapes[0].T @ shapes[1] / np.prod([np.linalg.norm(shape) for shape in shapes]))[1]


def mean_shape(
    vertices: np.ndarray, indices: np.ndarray, rounds: int = 5, used: np.ndarray | slice = ALL
) -> np.ndarray:
    """Generalised Procrustes mean of some faces without scaling (Gower 1975), float64 [N, 3], centred.

    Args:
        used: the vertices that count.
    """
    mean = vertices[indices[0]].astype(np.float64)
    mean -= mean[used].mean(axis=0)
    for _ in range(rounds):
        total = np.zeros_like(mean)
        for start in range(0, len(indices), 100):
            block = align_rigidly(vertices[indices[start : start + 100]], mean, used=used)
            total += block.sum(axis=0, dtype=np.float64)
        mean = total / len(indices)
        mean -= mean[used].mean(axis=0)
    return mean
