# SPDX-License-Identifier: GPL-3.0-or-later
"""The most probable code and pose of a mesh, however much of the mesh is there.

The mesh is taken for pose(mesh) = decode(z) + noise, of variance s^2 / (mass w) at each vertex, with
z ~ N(m, F F^T + t I), m and F of the joint prior, and nothing known about the pose. So parts without vertices become
what the prior expects beside the others.

How far the mesh is from all faces of the model (s) and the face from all persons (t: its parts may come from
several) says how much may be concluded for what is missing. Both are found from the mesh itself, as those that make
it most probable (evidence maximisation: MacKay 1992), between the model's own sigma_n and tau and the unit Gaussian of
its encoder.

Code and pose are solved together by Gauss-Newton steps: a code can turn a head a little too, so that solving for one
after the other creeps, or diverges where the code comes from a network encoder.
"""

from __future__ import annotations

import numpy as np

from .decoder import Decoder
from .local_network import REFERENCE_VERTICES
from .model import FaceModel
from .outliers import inlier_weights
from .similarity import Similarity, fit_similarity
from .slopes import prior_slopes

MOST_STEPS = 20
SETTLED = 0.02  # mm that a step moves; below it the fit is done.
FRESH = 0.2  # mm; after a smaller step the curvature is still about the same.
NUMERIC_FRESH = 1.0  # The same where the derivative costs a decoded face for each axis.
LENGTHS = (1.0, 0.5, 0.25, 0.125)  # of a step, tried in this order
START = 1.0, 0.1  # noise s^2 in mm^2 and looseness t; large, so that the first steps are careful
LEAST_NOISE = 0.03  # mm, where the model does not say it
LEAST_LOOSENESS, MOST_LOOSENESS = 1e-6, 1.0
RADIUS = 100.0  # mm; brings turns to the size of shifts


def fit_code(
    decoder: Decoder, vertices: np.ndarray, weights: np.ndarray, pose: Similarity, fit_scale: bool, robust: bool
) -> tuple[np.ndarray, Similarity]:
    """The most probable code, and the pose in which the mesh is nearest to what it decodes to.

    Args:
        decoder: of the model.
        vertices: float64 [N, 3], finite also where the weight is 0.
        weights: [N] in [0, 1].
        pose: from the mesh to the model's frame, about right; noise counts in mm at its scale.
        fit_scale: fit the pose's scale too instead of keeping it.
        robust: give vertices that are far off less weight.

    Returns:
        Code float32 [D], and the pose.
    """
    model, prior = decoder.model, decoder.model.prior
    slopes, variances, axes = prior_slopes(decoder)
    if model.preset == "local":
        fresh, area = FRESH, model.network["mass"]
    else:
        fresh, area = NUMERIC_FRESH, np.full(model.vertex_count, REFERENCE_VERTICES / model.vertex_count)
    person = np.maximum(variances - prior.tau, 0)
    along = np.zeros(len(person))  # the code's deviation from the mean, along the prior's axes
    code = prior.mean
    face, moved = decoder.decode(code[None])[0], np.inf
    noise, looseness = START
    trust, first = weights, pose.scale
    for _ in range(MOST_STEPS):
        residual = pose.apply(vertices) - face
        if robust:
            trust = weights * inlier_weights(np.linalg.norm(residual, axis=1), weights)
        mass = area * trust
        if moved > fresh:
            slopes.renew(code)
            curvature = slopes.curvature(mass)
        spread = person + looseness
        motions = _motions(residual + face, mass, fit_scale)
        if fit_scale:
            # Distances count by the size of the mesh, or all would be better the smaller both become.
            motions[-1] -= residual / RADIUS
        here = noise * (pose.scale / first) ** 2
        # A small move of the mesh counts against what the code does.
        fields = np.stack([residual, *-motions])
        products = np.einsum("fvi,v,gvi->fg", fields, mass, fields, optimize=True) / here
        projected = slopes.project(fields, mass) / here
        precision = np.block(
            [[curvature / here + np.diag(1 / spread), projected[1:].T], [projected[1:], products[1:, 1:]]]
        )
        covariance = np.linalg.inv(precision)
        step = covariance @ np.concatenate([projected[0] - along / spread, products[0, 1:]])

        before, cost = face, products[0, 0] + np.sum(along**2 / spread)
        for length in LENGTHS:
            there = along + length * step[: len(along)]
            code = (prior.mean + axes @ there).astype(np.float32)
            face = decoder.decode(code[None])[0]
            if fit_scale:
                pose = fit_similarity(face, vertices, mass).inverse()  # nearest as the mesh measures it
            else:
                pose = fit_similarity(vertices, face, mass, pose.scale)
            missed = mass @ np.sum((pose.apply(vertices) - face) ** 2, axis=1) * (first / pose.scale) ** 2
            if missed / noise + np.sum(there**2 / spread) < cost:
                break
        along, moved = there, float(np.abs(face - before).max())
        if moved < SETTLED:
            break
        noise, looseness = _most_probable(model, trust, missed, along, np.diag(covariance), spread, looseness)
    return code, pose


def _most_probable(
    model: FaceModel,
    trust: np.ndarray,
    missed: float,
    along: np.ndarray,
    variances: np.ndarray,
    spread: np.ndarray,
    looseness: float,
) -> tuple[float, float]:
    """Noise and looseness again, by MacKay's fixed point: what is left over, per number that is not determined.

    Args:
        missed: sum of squared distances times mass, mm^2 at the first size of the mesh.
        along, spread: the code along the prior's axes, and its prior variances, [D].
        variances: posterior ones of code and pose, [D + 6 or 7].
        looseness: the share of `spread` that is no person's.
    """
    # A finer mesh does not measure more, as sigma_n means the same on every mesh.
    measured = 3 * trust.sum() * min(1.0, REFERENCE_VERTICES / model.vertex_count)
    variances, poses = variances[: len(along)], len(variances) - len(along)
    determined = poses + len(along) - np.sum(variances / spread)
    noise = missed / max(measured - determined, 0.1 * measured)
    least_noise = float(model.header["network"].get("sigma_n", LEAST_NOISE)) ** 2

    least_looseness = min(max(model.prior.tau, LEAST_LOOSENESS), MOST_LOOSENESS)
    share = looseness / spread
    determined = np.sum(share - share**2 * variances / looseness)
    loose = (np.sum((share * along) ** 2) + least_looseness) / (determined + 1)
    return max(noise, least_noise), min(max(loose, least_looseness), MOST_LOOSENESS)


def _motions(points: np.ndarray, mass: np.ndarray, with_scale: bool) -> np.ndarray:
    """Displacement fields of small shifts and turns, and of growth, [6 or 7, N, 3]."""
    arms = (points - mass @ points / mass.sum()) / RADIUS
    shifts = np.repeat(np.eye(3)[:, None], len(points), axis=1)
    turns = np.cross(np.eye(3)[:, None], arms)
    return np.concatenate([shifts, turns, arms[None]] if with_scale else [shifts, turns])
