# SPDX-License-Identifier: GPL-3.0-or-later
"""An existing mesh of a model's topology becomes a face with sliders: its code, and where the face lies.

The mesh may have any place, orientation and usual unit, and vertices may be missing. It is aligned to the face that is
fitted to it, not to the mean face, so that its pose costs no accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .decoder import Decoder
from .errors import LwaeError
from .map_fit import fit_code
from .model import FaceModel
from .similarity import Similarity, fit_similarity, reflected_fit

# Millimetres per unit of what people model heads in; decimetres are MakeHuman's.
UNITS = {"mm": 1.0, "cm": 10.0, "inches": 25.4, "dm": 100.0, "m": 1000.0}
# Heads are at most so much larger or smaller than the mean one (adults: 1.16); far less than from one unit to the next.
SIZE_RANGE = 1.25
# Correlation with the mean face that faces in correspondence surely have; a shift by some vertices leaves 0.77.
LEAST_CORRELATION = 0.9
INFINITE = 1e30  # Squares of larger positions might overflow.
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class EncodedMesh:
    """What `encode_mesh` finds.

    Attributes:
        code: float32 [D].
        pose: moves the mesh into the model's frame (mm); `pose.inverse()` places a decoded face where the mesh was.
        errors: float32 [N] mm, distance of each vertex from the decoded face, NaN where the weight is 0.
        mean_error, max_error: of the vertices whose weight is above 0, mm.
    """

    code: np.ndarray
    pose: Similarity
    errors: np.ndarray
    mean_error: float
    max_error: float


def encode_mesh(
    decoder: Decoder,
    vertices: np.ndarray,
    weights: np.ndarray | None = None,
    scale: str | float = "units",
    robust: bool = False,
) -> EncodedMesh:
    """The face of a model that is nearest to a mesh, and where that face lies.

    That is the most probable code under the joint prior (see `map_fit`), so that what is missing becomes what the prior
    expects beside the rest.

    Args:
        decoder: of the model.
        vertices: [N, 3], in the model's vertex order.
        weights: [N] in [0, 1], how far each vertex is to be trusted; below 0.001, or where no polygon names it, it is
            missing, and its position does not matter.
        scale: "units" takes the mesh for one in mm, cm, inches, dm or m, whichever gives a head's size, and keeps what
            it is larger or smaller than the mean face as a trait of the face; "free" fits the scale, so that
            size is no trait; "any" is "units" where that gives a head's size, else "free"; a number is millimetres per
            unit.
        robust: vertices that are far off (spikes, wrong correspondences) get less weight. Also a trait that no face of
            the model has is then left out, rather than met halfway.

    Raises:
        LwaeError: another vertex count, positions that are not finite, weights out of range, too few vertices or all on
            one line, another vertex order, a mirrored mesh, a scale that is no usual unit.
    """
    vertices, weights = _checked(decoder.model, vertices, weights)
    pose = _first_pose(decoder.model, vertices, weights, scale)
    fit_scale = isinstance(scale, str) and (scale == "free" or pose.scale not in UNITS.values())
    code, pose = fit_code(decoder, vertices, weights, pose, fit_scale, robust)
    errors = np.linalg.norm(pose.apply(vertices) - decoder.decode(code[None])[0], axis=1).astype(np.float32)
    errors[weights == 0] = np.nan
    return EncodedMesh(code, pose, errors, float(np.nanmean(errors)), float(np.nanmax(errors)))


def _checked(model: FaceModel, vertices: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64; what is missing lies amid the rest."""
    vertices, count = np.asarray(vertices), model.vertex_count
    if vertices.shape != (count, 3):
        raise LwaeError(
            f"The model {model.name!r} has {count} vertices, but the mesh has positions of shape "
            f"{list(vertices.shape)}; encode a mesh of the model's own topology."
        )
    weights = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (count,) or not ((weights >= 0) & (weights <= 1)).all():
        raise LwaeError(f"Weights are {count} numbers from 0 (missing) to 1, one for each vertex; correct them.")
    named = np.bincount(model.polygon_vertices, minlength=count) > 0
    weights = np.where((weights < LEAST_WEIGHT) | ~named, 0, weights)
    there = weights > 0
    if there.sum() < 3:
        raise LwaeError("Fewer than 3 vertices have any weight; give weight 1 to the vertices that are there.")
    bad = ~(np.abs(vertices[there]) < INFINITE).all(axis=1)
    if bad.any():
        raise LwaeError(
            f"{bad.sum()} vertices are NaN or infinite (the first is number {np.flatnonzero(there)[bad][0]}); "
            "repair them, or leave them out (weight 0)."
        )
    vertices = vertices.astype(np.float64)
    vertices[~there] = vertices[there].mean(axis=0)
    return vertices, weights


def _first_pose(model: FaceModel, vertices: np.ndarray, weights: np.ndarray, scale: str | float) -> Similarity:
    """Onto the mean face; raises LwaeError where that makes no sense."""
    share = weights / weights.sum()
    centred, mean = vertices - share @ vertices, model.mean - share @ model.mean
    sizes = np.sqrt(share @ np.sum(centred**2, axis=1)), np.sqrt(share @ np.sum(mean**2, axis=1))
    if not (sizes[0] > 1e-9 * np.abs(vertices).max() and sizes[1] > 0):
        raise LwaeError("All vertices that have weight lie in one point, which is no shape to encode; add others.")
    lengths, mirrored = reflected_fit((centred * share[:, None]).T @ mean / np.prod(sizes))
    if lengths[1] < 1e-4 * lengths[0]:
        raise LwaeError("All vertices that have weight lie on one line, which leaves the orientation open; add others.")
    if lengths.sum() < LEAST_CORRELATION:
        raise LwaeError(
            "The mesh does not have the shape of a face of this model: its vertices are in another order, or missing "
            "ones are not left out (weight 0)."
        )
    if mirrored:
        raise LwaeError(
            "The mesh is mirrored (an axis points the other way, as when handedness was changed); negate its X "
            "coordinates."
        )
    fitted = fit_similarity(vertices, model.mean, weights).scale
    return fit_similarity(vertices, model.mean, weights, _scale(scale, fitted))


def _scale(scale: str | float, fitted: float) -> float:
    """Millimetres per unit; `fitted` makes the mesh as large as the mean face."""
    if isinstance(scale, str):
        if scale == "free":
            return fitted
        if scale not in ("units", "any"):
            raise LwaeError(f'There is no scale {scale!r}; use "units", "free", "any" or millimetres per unit.')
        nearest = min(UNITS.values(), key=lambda unit: abs(np.log(unit / fitted)))
        if not 1 / SIZE_RANGE < nearest / fitted < SIZE_RANGE:
            if scale == "any":
                return fitted
            raise LwaeError(
                f"The mesh has the size of a head if a unit is {fitted:.3g} mm, which is none of {', '.join(UNITS)}; "
                'say how many mm a unit has, or fit the scale with "free".'
            )
        return nearest
    if not (np.isfinite(scale) and scale > 0):
        raise LwaeError(f"A unit cannot have {scale} mm; the scale is a number above 0.")
    if not 0.1 < scale / fitted < 10:
        raise LwaeError(
            f"With {scale:g} mm per unit the mesh is {scale / fitted:.2g} times as large as a head; correct the scale."
        )
    return float(scale)
