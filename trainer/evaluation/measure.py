# SPDX-License-Identifier: GPL-3.0-or-later
"""All metrics of one model, on the same faces and mixes as any other model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.decoder import Decoder
from backend.harmonise import Harmoniser
from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder

from . import metrics, mixing
from .bootstrap import Measure
from .ellipse import Ellipse
from .harmonised import harmonised
from .hausdorff import interpolation_steps
from .metrics import in_blocks
from .regions import Regions
from .testbed import TestBed

INTERPOLATIONS = 8  # Hausdorff distances are slow.
FITTED = 0.9  # How far the rest of a face is harmonised with a part of another one.


def without_network(model: FaceModel) -> FaceModel | None:
    """The model without its residual blocks, or None when it has none, or is nothing without its network."""
    if model.preset != "local" or not model.header["network"]["residuals"]:
        return None
    network = {**model.header["network"], "residuals": []}
    return replace(model, header={**model.header, "network": network})


def code_size(decoder: Decoder) -> int:
    """How many numbers a face takes; a code that all parts look at counts once."""
    model = decoder.model
    if model.preset == "paper" and not model.header["network"]["projections"]:
        return model.code_sizes[0]
    return getattr(decoder, "code_size", model.code_size)


def reconstruct(decoder: Decoder, bed: TestBed) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the test faces, float32 [n, D], and what they decode to, float32 [n, N, 3]."""
    codes = in_blocks(decoder.encode, bed.test)
    return codes, in_blocks(decoder.decode, codes)


def swap_cycle(decoder: Decoder, bed: TestBed, codes: np.ndarray) -> np.ndarray:
    """|x - unswap(swap(x))| of each test face and vertex, [n, N], mm.

    Two faces exchange some parts, are decoded, encoded, exchange them back and are decoded. Each face is in two such
    pairs, and what counts is the mean of its own errors there: pairs that share a face could not be resampled as if
    they were independent. `codes`: of the test faces.
    """
    exchange = mixing.pair_swaps(bed.rng(2), len(codes), decoder.model.part_count)
    again = [
        in_blocks(lambda rows: decoder.encode(decoder.decode(rows)), mixing.mix_codes(decoder.model, codes, donors))
        for donors in exchange
    ]
    first, second = exchange
    own = np.arange(len(codes))[:, None]
    foreign = first != own
    partner = np.where(foreign, first, second).max(axis=1)
    total = np.zeros(bed.test.shape[:2], dtype=np.float32)
    for mine, other, faces in ((again[0], again[1], own[:, 0]), (again[1], again[0], partner)):
        restored = mine.copy()
        for part in range(foreign.shape[1]):
            columns = decoder.model.part_slice(part)
            restored[:, columns] = np.where(foreign[:, part, None], other[:, columns], mine[:, columns])
        total[faces] += metrics.vertex_distances(in_blocks(decoder.decode, restored), bed.test[faces])
    return total / 2


def realism_at(name: str, decoder: Decoder, bed: TestBed, of_train: np.ndarray, of_test: np.ndarray) -> Measure:
    """How well `metrics.realism`'s classifiers tell decoded codes from real faces.

    Args:
        name: of the metric.
        of_train, of_test: codes [m, D] made of training faces (the classifiers learn from them) and of test faces
            (they are tried on them), such as mixes, swaps, or mixes pulled towards real faces.
    """
    train_made, test_made = (
        in_blocks(lambda rows: bed.scores(decoder.decode(rows)), codes) for codes in (of_train, of_test)
    )
    return metrics.realism(name, train_made, bed.train_scores, test_made, bed.test_scores, bed.seed)


def measure(decoder: Decoder, bed: TestBed, regions: Regions) -> tuple[list[Measure], dict]:
    """All metrics of one model: those with intervals, and facts without."""
    model, test = decoder.model, bed.test
    faces, parts = len(test), model.part_count
    codes, decoded = reconstruct(decoder, bed)
    measures = [metrics.reconstruction(metrics.vertex_distances(decoded, test))]
    facts: dict = {}

    # Parts of K different people.
    donors = mixing.donor_mixes(bed.rng(1), faces, parts)
    mixed_codes = mixing.mix_codes(model, codes, donors)
    mixed = in_blocks(decoder.decode, mixed_codes)
    again = in_blocks(lambda rows: decoder.decode(decoder.encode(rows)), mixed)
    measures.append(metrics.mean_distance("reencoding", metrics.vertex_distances(again, mixed)))
    measures.append(metrics.donor_retrieval(mixed, test, donors, regions.core))
    for name, laplacian in bed.laplacians.items():
        rough = metrics.squared_roughness(laplacian, mixed, bed.pca.mean)
        rough = mixing.by_donor(rough, donors, model.weights)
        measures.append(metrics.seam(rough, bed.real_roughness[name], regions.border, name))
    measures.append(metrics.variance(mixing.by_donor(mixed, donors, model.weights), test))
    measures.append(metrics.pairwise(metrics.pairwise_distances(mixed, bed.pca.mean), bed.real_distances))

    measures.append(metrics.mean_distance("swap_cycle", swap_cycle(decoder, bed, codes)))

    # One part from somebody else.
    swaps = mixing.one_part_swaps(bed.rng(3), faces, parts)
    one_swap = mixing.pick_one_part(bed.rng(8), swaps)
    transfer, leaks, change_size = np.zeros((faces, parts, 2)), np.zeros((faces, parts, 2)), []
    for part in range(parts):
        change = in_blocks(decoder.decode, mixing.mix_codes(model, codes, swaps[part])) - decoded
        wanted = test[swaps[part, :, part]] - test
        transfer[:, part] = metrics.transfer_sums(change, wanted, regions.core == part)
        leaks[:, part] = metrics.leak_sums(change, regions.inside[part])
        change_size.append(np.linalg.norm(change, axis=2).mean(axis=0))
    measures += [metrics.responsiveness(transfer), metrics.leak(leaks)]
    facts |= metrics.correspondence(np.stack(change_size), model.weights, regions.core, regions.inside)
    for name, sums in (("responsiveness", transfer), ("leak", leaks)):
        total = sums.sum(axis=0)
        facts[f"{name}_parts"] = (total[:, 0] / np.maximum(total[:, 1], 1e-30)).tolist()
    measures.append(metrics.interpolation(_interpolations(decoder, bed, codes, one_swap)))

    # Can made faces be told from real ones, and do they vary as much?
    train_codes = bed.train_codes(decoder)
    train_faces = len(train_codes)
    train_mixes = mixing.donor_mixes(bed.rng(6), train_faces, parts)
    rng = bed.rng(7)
    train_swaps = mixing.pick_one_part(rng, mixing.one_part_swaps(rng, train_faces, parts))
    train_samples, samples = (model.prior.sample(bed.rng(p), n) for p, n in ((4, train_faces), (5, faces)))
    for name, of_train, of_test in (
        ("told_mixes", mixing.mix_codes(model, train_codes, train_mixes), mixed_codes),
        ("told_swaps", mixing.mix_codes(model, train_codes, train_swaps), mixing.mix_codes(model, codes, one_swap)),
        ("told_samples", train_samples, samples),
    ):
        measures.append(realism_at(name, decoder, bed, of_train, of_test))
    if model.preset == "local":
        measures += _fitted_swaps(decoder, bed, regions, (train_codes, train_swaps), (codes, one_swap), decoded)
    drawn = in_blocks(decoder.decode, samples)
    drawn_scores = in_blocks(bed.scores, drawn)
    measures.append(metrics.nearest_neighbour_accuracy("nearest_samples", drawn_scores, bed.test_scores))
    nearest = metrics.nearest_distances(drawn, bed.train_blocks(), bed.pca.mean)
    measures.append(metrics.mean_distance("specificity", nearest[:, None]))
    if drawn_scores.shape[1] > 1:  # Else there is no plane.
        for name, scores in (("ellipse_mixes", in_blocks(bed.scores, mixed)), ("ellipse_samples", drawn_scores)):
            measures.append(metrics.ellipse_area(name, scores, bed.train_scores))
            made, *real = (Ellipse.of(points[:, :2]) for points in (scores, bed.train_scores, bed.test_scores))
            facts[f"{name}_holds"] = sum(made.contains(ellipse) for ellipse in real)

    if (plain := without_network(model)) is not None:
        linear = NumpyDecoder(plain)
        for name, z, x in (("network_real", codes, decoded), ("network_mixed", mixed_codes, mixed)):
            added = metrics.vertex_distances(x, in_blocks(linear.decode, z))
            measures.append(metrics.mean_distance(name, added))
    return measures, facts


def _fitted_swaps(
    decoder: Decoder, bed: TestBed, regions: Regions, of_train: tuple, of_test: tuple, decoded: np.ndarray
) -> list[Measure]:
    """What becomes of one-part swaps when the other parts are fitted to the one that came.

    Args:
        of_train, of_test: codes [n, D] of training and of test faces, and the donor table of the swaps [n, K].
        decoded: what the codes of the test faces decode to, [n, N, 3].
    """
    harmoniser = Harmoniser(decoder.model)
    train, swapped = (mixing.mix_codes(decoder.model, *faces) for faces in (of_train, of_test))
    train, fitted = (
        harmonised(harmoniser, mixes, donors, FITTED, holds=True)
        for mixes, (_, donors) in ((train, of_train), (swapped, of_test))
    )
    donors = of_test[1]
    plain, made = (in_blocks(decoder.decode, rows) for rows in (swapped, fitted))
    came = donors != np.arange(len(donors))[:, None]
    sums = np.zeros((*donors.shape, 2))
    for part in range(donors.shape[1]):
        wanted = bed.test[donors[:, part]] - bed.test
        sums[:, part] = metrics.transfer_sums(made - decoded, wanted, regions.core == part) * came[:, part, None]
    return [
        realism_at("told_fitted", decoder, bed, train, fitted),
        metrics.fitted_transfer(sums),
        metrics.mean_distance("fitted_moved", metrics.vertex_distances(made, plain)),
    ]


def _interpolations(decoder: Decoder, bed: TestBed, codes: np.ndarray, swaps: np.ndarray) -> np.ndarray:
    """Hausdorff distance of each step from a few test faces towards their one-part swap [n, K], [.., steps]."""
    steps = []
    for face, donors in enumerate(swaps[:INTERPOLATIONS]):
        part = int(np.argmax(donors != face))
        steps.append(interpolation_steps(decoder, codes[face], codes[donors[part]], part, bed.triangles))
    return np.array(steps)
