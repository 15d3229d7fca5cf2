# SPDX-License-Identifier: GPL-3.0-or-later
"""The best that a closed form does with as many numbers: over local weights, part code sizes and encoder noise."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backend.decoder import Decoder
from backend.local_network import REFERENCE_VERTICES
from backend.model import FaceModel
from backend.prior import Prior
from backend.torch_decoder import TorchDecoder
from trainer.closed_form import MOST_SHARE, deviations, local_arrays, sizes_by_variance
from trainer.latent import fit_prior, training_codes
from trainer.mirror import find_image
from trainer.weights.local_weights import diffuse, partition_of_unity
from trainer.weights.seams import symmetric_weights

from . import metrics
from .measure import reconstruct, swap_cycle
from .testbed import TestBed

log = logging.getLogger(__name__)

SIGMAS = (0.01, 0.03, 0.1, 0.3)  # Of the encoder's noise, mm; the run's own joins them.
PROJECTION_SIGMA = 1e-3  # mm; as good as none.
QUICK = ("reconstruction", "swap_cycle")


@dataclass(frozen=True)
class LocalBases:
    """Local bases for one choice of local weights, longer than any code that is tried.

    Attributes:
        weights: float32 [K, N].
        arrays: of `trainer.closed_form.local_arrays`.
        deviations: of each part, the standard deviations of the training faces along its components, float64 [Z_k], mm.
    """

    weights: np.ndarray
    arrays: dict[str, np.ndarray]
    deviations: list[np.ndarray]

    @classmethod
    def fit(
        cls,
        displacements: np.ndarray,
        reference: FaceModel,
        triangles: np.ndarray,
        weights: np.ndarray,
        image: np.ndarray | None = None,
    ):
        """
        Args:
            displacements: float32 [S, N, 3], training faces minus the model's mean face, mm.
            reference: model whose code size they have to serve.
            image: int [N], the mirror image of each vertex, if mirrored faces are to count too.
        """
        longest = MOST_SHARE * -(-reference.code_size // reference.part_count)
        arrays = local_arrays(displacements, reference.mean, triangles, weights, longest, image=image)
        return cls(weights, arrays, deviations(arrays, weights))

    def model(self, reference: FaceModel, sizes: Sequence[int], sigma_n: float) -> FaceModel:
        """A `local` model of the first components, without residual blocks, and with nothing yet known of its prior.

        Args:
            reference: gives mesh and part names.
            sizes: Z_k.
            sigma_n: of its encoder, mm.
        """
        network = {"mass": self.arrays["mass"]}
        for part, size in enumerate(sizes):
            network[f"part{part}/vertices"] = self.arrays[f"part{part}/vertices"]
            network[f"part{part}/basis"] = self.arrays[f"part{part}/basis"][:size]
        total = int(sum(sizes))
        options = {"sigma_n": sigma_n, "encoder_iterations": 0, "residuals": []}
        return replace(
            reference,
            header={**reference.header, "preset": "local", "network": options},
            code_sizes=[int(size) for size in sizes],
            weights=self.weights,
            controls=[],
            prior=Prior(np.zeros(total, np.float32), np.zeros((total, 1), np.float32), 1.0),
            network=network,
        )


@dataclass(frozen=True)
class Search:
    """What was tried and what came of it.

    Attributes:
        candidates: for each setting, JSON-able: weights, allocation, sigma_n, code_sizes, reconstruction and
            swap_cycle (means over the test faces, mm).
        best: the settings with the least reconstruction error and swap cycle, of all and of those with the
            reference's own weights, by name.
        own: names of those with the reference's own weights.
        region_pca: the hard weights' bases at equal code sizes under a plain projection; None where a part is
            nowhere the strongest.
    """

    candidates: list[dict]
    best: dict[str, Decoder]
    own: list[str]
    region_pca: Decoder | None


def search(reference: FaceModel, bed: TestBed) -> Search:
    """Try closed forms of a model's parts and code size on the test faces, quickly: two metrics without intervals.

    That the best are chosen by test faces is to their favour, never to that of what is compared with them.
    """
    train = np.ascontiguousarray(bed.dataset.vertices[bed.dataset.train])
    train -= reference.mean
    image = mirror_image(reference, bed)
    candidates, models, region_pca = [], [], None
    for choice, weights in weight_choices(reference.weights, bed.triangles).items():
        log.info("Trying closed forms with %s weights", choice)
        if image is not None and (alike := symmetric_weights(weights, image)) is not None:
            weights = alike
        bases = LocalBases.fit(train, reference, bed.triangles, weights, image)
        for allocation, sizes in allocations(bases.deviations, reference.code_size).items():
            for sigma in noises(reference):
                model = bases.model(reference, sizes, sigma)
                models.append(model)
                setting = {"weights": choice, "allocation": allocation, "sigma_n": sigma}
                candidates.append(setting | {"code_sizes": model.code_sizes} | quick(TorchDecoder(model), bed))
            if choice == "hard" and allocation == "equal":
                region_pca = with_prior(plain_projection(bases.model(reference, sizes, PROJECTION_SIGMA)), bed, image)
    everything = range(len(candidates))
    own = [index for index in everything if candidates[index]["weights"] == "own"]
    picked = {min(pool, key=lambda index: candidates[index][key]) for pool in (own, everything) for key in QUICK}
    best = {_name(candidates[index]): with_prior(models[index], bed, image) for index in sorted(picked)}
    return Search(candidates, best, [_name(candidates[index]) for index in sorted(picked & set(own))], region_pca)


def noises(reference: FaceModel) -> list[float]:
    """The encoder noises that are tried for a model, mm."""
    own = [reference.header["network"]["sigma_n"]] if reference.preset == "local" else []
    return sorted({*SIGMAS, *own})


def mirror_image(reference: FaceModel, bed: TestBed) -> np.ndarray | None:
    """The mirror image of each vertex, int [N], where mirrored faces counted; else None."""
    if not reference.header.get("training", {}).get("mirror"):
        return None
    return find_image(reference.mean, bed.dataset.template, reference.weights, logging.DEBUG)


def _name(candidate: dict) -> str:
    return f"closed, {candidate['weights']}, {candidate['allocation']}, {candidate['sigma_n']:g}"


def weight_choices(weights: np.ndarray, triangles: np.ndarray) -> dict[str, np.ndarray]:
    """Local weights [K, N] that closed forms may have: the given ones, hard ones and softer ones.

    Those that equal others are left out, and hard ones where a part would own no vertex.
    """
    choices = {"own": weights}
    hard = hard_weights(weights)
    if hard.any(axis=1).all():
        choices["hard"] = hard
    softer = partition_of_unity(diffuse(weights.T.astype(np.float64), triangles)).T.astype(np.float32)
    if not np.allclose(softer, weights):
        choices["diffused"] = np.ascontiguousarray(softer)
    return choices


def hard_weights(weights: np.ndarray) -> np.ndarray:
    """1 for the strongest part of each vertex, else 0: float32 [K, N]."""
    return (weights.argmax(axis=0) == np.arange(len(weights))[:, None]).astype(np.float32)


def allocations(available: Sequence[np.ndarray], total: int) -> dict[str, list[int]]:
    """Part code sizes Z_k of the same sum: "equal", and by "variance" (see `sizes_by_variance`).

    Args:
        available: the deviations of each part's components.
    """
    parts = len(available)
    equal = [total // parts + (part < total % parts) for part in range(parts)]
    equal = [min(size, len(own)) for size, own in zip(equal, available, strict=True)]
    return {"equal": equal, "variance": sizes_by_variance(available, total)}


def plain_projection(model: FaceModel) -> FaceModel:
    """The model with all vertices counting alike, so that its encoder is the projection of PCA."""
    mass = np.full(model.vertex_count, REFERENCE_VERTICES / model.vertex_count, dtype=np.float32)
    return replace(model, network={**model.network, "mass": mass})


def with_prior(model: FaceModel, bed: TestBed, image: np.ndarray | None = None) -> TorchDecoder:
    """A decoder whose prior is fitted to the training faces' codes, as in an exported model; LwaeError when these are
    not finite.

    Args:
        image: int [N], the mirror image of each vertex, if mirrored faces are to count too.
    """
    decoder = TorchDecoder(model)
    decoder.model = replace(model, prior=fit_prior(training_codes(decoder, bed.dataset, image)))
    return decoder


def quick(decoder: Decoder, bed: TestBed) -> dict[str, float]:
    """Mean reconstruction error and swap cycle over the test faces, mm."""
    codes, decoded = reconstruct(decoder, bed)
    distances = metrics.vertex_distances(decoded, bed.test), swap_cycle(decoder, bed, codes)
    return {name: float(values.mean(dtype=np.float64)) for name, values in zip(QUICK, distances, strict=True)}
