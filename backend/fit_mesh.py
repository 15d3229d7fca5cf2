# SPDX-License-Identifier: GPL-3.0-or-later
"""The face of a model that is nearest to any mesh of a head: a scan, another topology, a mask, a bust.

Non-rigid ICP in the space of the model's faces, coarse to fine: closest points in both directions (Besl & McKay 1992),
distances along the normal (Chen & Medioni 1992), robust weights, and Gauss-Newton steps of code and pose together under
the joint prior of all parts. First only what people differ most in may change, then more and more of the code, at last
also what no person of the model has, but parts of different persons together may have (`Stage.looseness`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .decoder import Decoder
from .encode_mesh import SIZE_RANGE, UNITS
from .errors import LwaeError
from .map_fit import RADIUS
from .mesh_distance import Distance, TargetMesh, match, mesh_distance
from .model_surface import ModelSurface
from .rough_align import Guess, rough_poses
from .similarity import Similarity, fit_similarity, nearest_rotation
from .slopes import prior_slopes
from .surface import MakeClosest, Surface
from .wrap import wrap

LANDMARK_WEIGHT = 60.0  # How many points a landmark counts as at first.
LEAST_COVERAGE = 0.05  # of the face, for something that was found
HELD = 0.4  # mm; a mesh that is so near without looseness needs little of it
ENOUGH_LANDMARKS = 3  # to place a head by


@dataclass(frozen=True)
class Stage:
    """A part of the way.

    Attributes:
        axes: how many of the prior's axes may change.
        looseness: variance of what is no person's, in the unit of the code.
        noise: mm, what the model is trusted to.
        reach: mm, beyond which a distance counts less and less.
        steps: Gauss-Newton steps.
        landmarks: how much landmarks still count.
        points: of either surface that look for the other.
    """

    axes: int
    looseness: float
    noise: float
    reach: float
    steps: int
    landmarks: float
    points: int


STAGES = (
    Stage(0, 0.0, 8.0, 25.0, 6, 1.0, 1200),
    Stage(12, 0.0, 5.0, 15.0, 6, 1.0, 1200),
    Stage(50, 1e-4, 2.5, 8.0, 6, 0.5, 2000),
    Stage(150, 1e-3, 1.2, 5.0, 6, 0.2, 3000),
    Stage(10_000, 5e-2, 0.7, 4.0, 5, 0.05, 5000),
    Stage(10_000, 2e-1, 0.5, 3.0, 5, 0.02, 5000),
)
TRIAL = STAGES[:2]  # What decides between guesses.


@dataclass(frozen=True)
class Progress:
    """How far a fit is: share of the work in 0..1, and what it does now."""

    share: float
    what: str


@dataclass(frozen=True)
class Landmark:
    """A place that is known on both sides: a vertex of the model, and a point [3] in the mesh's space."""

    vertex: int
    point: np.ndarray


@dataclass(frozen=True)
class MeshFit:
    """What `fit_mesh` finds.

    Attributes:
        code: float32 [D].
        pose: moves the mesh into the model's frame (mm); `pose.inverse()` places a decoded face in the mesh.
        face: float32 [N, 3] mm, the decoded face.
        offset: float32 [N, 3] mm to be added to it, or None.
        distance: of the face from the mesh and back, without the offset.
        distance_with_offset: the same with it; equal where there is none.
    """

    code: np.ndarray
    pose: Similarity
    face: np.ndarray
    offset: np.ndarray | None
    distance: Distance
    distance_with_offset: Distance


def fit_mesh(
    decoder: Decoder,
    vertices: np.ndarray,
    triangles: np.ndarray,
    make_closest: MakeClosest,
    landmarks: Sequence[Landmark] = (),
    scale: str = "units",
    with_offset: bool = False,
    seed: int = 0,
) -> Iterator[Progress | MeshFit]:
    """Fit a model to a mesh, step by step.

    Args:
        decoder: of the model.
        vertices: [N, 3] of the mesh, in any unit and pose.
        triangles: int [T, 3].
        make_closest: makes a function that finds closest points (see `surface`).
        landmarks: with three or more the head is placed by them, else it is found by its shape.
        scale: "units" takes the mesh for one in mm, cm, inches, dm or m where one of them gives a head's size, and
            leaves it to the face to be larger or smaller; "free" fits the scale too.
        with_offset: lay the face's surface on the mesh with an offset of what the model cannot hold.
        seed: of the points that are drawn.

    Yields:
        `Progress`, and last the `MeshFit`.

    Raises:
        LwaeError: the mesh has no surface, positions are not finite, or nothing in it resembles a head.
    """
    yield Progress(0.0, "Reading the mesh")
    rng = np.random.default_rng(seed)
    surface = Surface(vertices, triangles)
    if _is_inside_out(surface):
        surface = surface.flipped()
    skin = ModelSurface.of(decoder.model)
    target = TargetMesh(surface, make_closest(surface.vertices, surface.triangles))
    yield Progress(0.02, "Looking for the head")
    if len(landmarks) >= ENOUGH_LANDMARKS:
        guesses = [Guess(_pose_by_landmarks(decoder, landmarks), 0.0)]
    else:
        for found in rough_poses(skin.surface(decoder.model.mean), surface, rng):
            if isinstance(found, list):
                guesses = found
            else:
                yield Progress(0.02 + 0.4 * found, "Looking for the head")
    fitters = []
    for index, guess in enumerate(guesses):
        fitter = _Fitter(decoder, skin, target, make_closest, landmarks, guess.pose, rng)
        for number, stage in enumerate(TRIAL):
            yield Progress(0.42 + 0.1 * (index + number / len(TRIAL)) / len(guesses), "Placing the head")
            fitter.run(stage, fit_scale=True)
        fitters.append(fitter)
    fitter = min(fitters, key=_Fitter.badness)
    if scale == "units":
        fitter.snap_scale()
    for number, stage in enumerate(STAGES[1:]):
        for step in range(stage.steps):
            share = (number + step / stage.steps) / (len(STAGES) - 1)
            yield Progress(0.52 + (0.36 if with_offset else 0.46) * share, "Fitting the face")
            if step == 0 and stage.looseness:
                fitter.find_need()
            fitter.run(stage, fit_scale=False, steps=1, renew=step == 0)
    offset = None
    if with_offset:
        for found in wrap(decoder.model, fitter.face, skin, target, fitter.pose, make_closest):
            if isinstance(found, float):
                yield Progress(0.88 + 0.1 * found, "Laying the face on the mesh")
            else:
                offset = found
    yield Progress(0.98, "Measuring the distance")
    yield fitter.result(offset)


def last_fit(steps: Iterator[Progress | MeshFit]) -> MeshFit:
    """The result of `fit_mesh`, for callers that show no progress."""
    for step in steps:
        if isinstance(step, MeshFit):
            return step
    raise RuntimeError("fit_mesh ended without a result")


def _is_inside_out(surface: Surface) -> bool:
    """Whether normals point inwards, seen from the middle."""
    corners = surface.vertices[surface.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centres = corners.mean(axis=1)
    middle = surface.areas @ centres / surface.areas.sum()
    return bool(np.einsum("ti,ti->", cross, centres - middle) < 0)


def _pose_by_landmarks(decoder: Decoder, landmarks: Sequence[Landmark]) -> Similarity:
    points = np.array([landmark.point for landmark in landmarks], dtype=np.float64)
    goal = decoder.model.mean[[landmark.vertex for landmark in landmarks]].astype(np.float64)
    lengths = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if lengths[1] < 0.05 * lengths[0] or lengths[0] == 0:
        raise LwaeError("The landmarks lie on one line, which leaves the head's direction open; pick one beside it.")
    return fit_similarity(points, goal, np.ones(len(points)))


class _Fitter:
    """Code and pose on their way from one guess."""

    def __init__(self, decoder: Decoder, skin: ModelSurface, target: TargetMesh, make_closest: MakeClosest,
                 landmarks: Sequence[Landmark], pose: Similarity, rng: np.random.Generator):  # fmt: skip
        model = decoder.model
        self.decoder, self.skin, self.target, self.make_closest = decoder, skin, target, make_closest
        self.landmarks, self.pose, self.rng = landmarks, pose, rng
        self.first_scale, self.need = pose.scale, 1.0
        self.slopes, variances, self.axes = prior_slopes(decoder)
        self.person = np.maximum(variances - model.prior.tau, 0)
        self.along = np.zeros(len(variances))
        self.face = decoder.decode(model.prior.mean[None])[0].astype(np.float64)
        self.moves = np.empty((3, model.vertex_count, 0), dtype=np.float32)

    @property
    def code(self) -> np.ndarray:
        return (self.decoder.model.prior.mean + self.axes @ self.along).astype(np.float32)

    def snap_scale(self) -> None:
        """Take the nearest usual unit, if it makes a head."""
        unit = min(UNITS.values(), key=lambda unit: abs(np.log(unit / self.pose.scale)))
        if 1 / SIZE_RANGE < unit / self.pose.scale < SIZE_RANGE:
            # Around the middle of the head.
            middle = self.face.mean(axis=0)
            point = self.pose.inverse().apply(middle)
            shift = middle - unit * (self.pose.rotation @ point)
            self.pose = Similarity(unit, self.pose.rotation, shift)

    def run(self, stage: Stage, fit_scale: bool, steps: int | None = None, renew: bool = True) -> None:
        count = min(stage.axes, len(self.axes.T))
        if renew:
            self.target.draw(self.pose, self.skin, self.rng, stage.points)
            self.vertices = self.skin.vertices
            if len(self.vertices) > stage.points:
                self.vertices = np.sort(self.rng.choice(self.vertices, stage.points, replace=False))
            self.moves = self.moves[..., :0]
            if count:
                self.slopes.renew(self.code)
                self.moves = np.ascontiguousarray(self.slopes.displacements(count).transpose(2, 1, 0))
        for _ in range(steps or stage.steps):
            self._step(stage, count, fit_scale)

    def find_need(self) -> None:
        """How much looseness is called for: all, or less where the model's persons are near enough."""
        found = match(self.target, self.skin, self.face, self.pose, self.make_closest)
        weights = found.weights(5.0)
        usual = np.sqrt(weights @ found.residuals**2 / max(weights.sum(), 1e-9))
        self.need = min(1.0, (usual / HELD) ** 2)

    def badness(self) -> float:
        """What is compared between guesses, mm: robust distances of both directions."""
        found = match(self.target, self.skin, self.face, self.pose, self.make_closest)
        return found.badness()

    def _step(self, stage: Stage, count: int, fit_scale: bool) -> None:
        found = match(self.target, self.skin, self.face, self.pose, self.make_closest, self.vertices)
        size = self.pose.scale / self.first_scale
        weights = found.weights(stage.reach * size)
        motions = -_motions(found.goals, found.normals, found.centre, fit_scale)
        if fit_scale:
            # Distances count by the size of the mesh, or all would be better the smaller both become.
            motions[-1] -= found.residuals / RADIUS
        columns = np.concatenate([found.rows(self.moves), motions.T.astype(np.float32)], axis=1)
        weighted = columns * weights[:, None].astype(np.float32)
        precision = (weighted.T @ columns).astype(np.float64)
        gradient = (weighted.T @ found.residuals.astype(np.float32)).astype(np.float64)
        if self.landmarks:
            extra, missed = self._landmark_rows(found.centre, fit_scale)
            weight = LANDMARK_WEIGHT * stage.landmarks
            precision, gradient = precision + weight * extra @ extra.T, gradient + weight * extra @ missed
        spread = np.maximum(self.person[len(self.person) - count :] + stage.looseness * self.need, 1e-8)
        own = slice(len(self.along) - count, len(self.along))
        noise = (stage.noise * size) ** 2
        precision = precision / noise
        gradient = gradient / noise
        precision[np.arange(count), np.arange(count)] += 1 / spread
        gradient[:count] += self.along[own] / spread
        # A head seen in part leaves some motions nearly open.
        precision[np.arange(count, len(precision)), np.arange(count, len(precision))] += 1e-6
        step = np.linalg.solve(precision, -gradient)
        self.along[own] += step[:count]
        self.face = self.decoder.decode(self.code[None])[0].astype(np.float64)
        self.pose = _moved(self.pose, step[count:], found.centre)

    def _landmark_rows(self, centre: np.ndarray, fit_scale: bool) -> tuple[np.ndarray, np.ndarray]:
        vertices = [landmark.vertex for landmark in self.landmarks]
        goals = self.pose.apply(np.array([landmark.point for landmark in self.landmarks]))
        missed = (self.face[vertices] - goals).ravel()
        own = self.moves[:, vertices].transpose(2, 1, 0).reshape(self.moves.shape[2], 3 * len(vertices))
        three = np.repeat(goals, 3, axis=0), np.tile(np.eye(3), (len(goals), 1))
        return np.concatenate([own, -_motions(*three, centre, fit_scale)]).astype(np.float64), missed

    def result(self, offset: np.ndarray | None) -> MeshFit:
        code = self.code
        face = self.decoder.decode(code[None])[0]
        distance = self._distance(face)
        if distance.coverage < LEAST_COVERAGE:
            raise LwaeError("Nothing in this mesh resembles a head. Pick landmarks on it, or choose another mesh.")
        with_offset = distance if offset is None else self._distance(face + offset)
        return MeshFit(code, self.pose, face, offset, distance, with_offset)

    def _distance(self, face: np.ndarray) -> Distance:
        return mesh_distance(self.target, self.skin, face, self.pose, self.make_closest, self.rng)


def _motions(points: np.ndarray, normals: np.ndarray, centre: np.ndarray, fit_scale: bool) -> np.ndarray:
    """What small shifts, turns (and growth) of the mesh do along the normals, [6 or 7, P]."""
    arms = (points - centre) / RADIUS
    rows = [normals.T, np.cross(arms, normals).T]
    if fit_scale:
        rows.append(np.einsum("pi,pi->p", arms, normals)[None])
    return np.concatenate(rows)


def _moved(pose: Similarity, step: np.ndarray, centre: np.ndarray) -> Similarity:
    """The pose after a step of `_motions`."""
    x, y, z = step[3:6] / RADIUS
    turn = nearest_rotation(np.eye(3) + np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]).T)
    growth = float(np.exp(np.clip(step[6] / RADIUS, -0.1, 0.1))) if len(step) > 6 else 1.0
    rotation = turn @ pose.rotation
    shift = growth * (turn @ (pose.translation - centre)) + centre + step[:3]
    return Similarity(growth * pose.scale, rotation, shift)
