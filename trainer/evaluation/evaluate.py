# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure several models on the same test faces and mixes, and say which is better."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from backend.decoder import Decoder
from backend.errors import LwaeError
from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from trainer.datasets.dataset import Dataset
from trainer.mesh.topology import cotangent_laplacian, polygon_edges, triangulate, umbrella_laplacian

from . import metrics, mixing
from .baselines import PCA, GlobalPCA, fit_pca
from .bootstrap import LEVEL, RESAMPLES, Measure, interval
from .metrics import BLOCK_FACES, ROWS, in_blocks
from .regions import Regions, find_regions

log = logging.getLogger(__name__)

SCORES = 64  # Principal components that classifiers see, and numbers of the small global code.
ROUNDING = 1e-5  # Smaller differences between models are arithmetic.


@dataclass
class TestBed:
    """What all models are measured on: faces, statistics of the training faces, and the seed of the mixes."""

    dataset: Dataset
    seed: int
    pca: PCA

    def rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, purpose]))

    @cached_property
    def test(self) -> np.ndarray:
        """Test faces, float32 [n, N, 3]."""
        return np.asarray(self.dataset.vertices[self.dataset.test], dtype=np.float32)

    def train_blocks(self) -> Iterator[np.ndarray]:
        """Training faces, a few at a time, float32 [b, N, 3]."""
        for start in range(0, len(self.dataset.train), BLOCK_FACES):
            yield np.asarray(self.dataset.vertices[self.dataset.train[start : start + BLOCK_FACES]])

    def scores(self, vertices: np.ndarray) -> np.ndarray:
        return self.pca.scores(vertices, SCORES)

    @cached_property
    def train_scores(self) -> np.ndarray:
        return np.concatenate([self.scores(block) for block in self.train_blocks()])

    @cached_property
    def test_scores(self) -> np.ndarray:
        return in_blocks(self.scores, self.test)

    @cached_property
    def laplacians(self) -> dict:
        polygons = self.dataset.template.polygon_sizes, self.dataset.template.polygon_vertices
        mean = self.pca.mean
        return {
            "seam": umbrella_laplacian(polygon_edges(*polygons), len(mean)),
            "seam_cotangent": cotangent_laplacian(mean, triangulate(*polygons)),
        }

    @cached_property
    def real_roughness(self) -> dict[str, np.ndarray]:
        return {
            name: metrics.squared_roughness(laplacian, self.test, self.pca.mean)
            for name, laplacian in self.laplacians.items()
        }

    @cached_property
    def real_specificity(self) -> float:
        return float(metrics.nearest_distances(self.test, self.train_blocks(), self.pca.mean).mean())


def closed_form(model: FaceModel, **network) -> FaceModel:
    """A `local` model without its residual blocks; `network` replaces further entries of its configuration."""
    return replace(model, header={**model.header, "network": {**model.header["network"], "residuals": [], **network}})


def linear_part(decoder: Decoder) -> Decoder | None:
    """The same model without its residual blocks, or None when it has no linear part to compare with."""
    model = decoder.model
    if model.preset != "local" or not model.header["network"]["residuals"]:
        return None
    return NumpyDecoder(closed_form(model))


def code_size(decoder: Decoder) -> int:
    """How many numbers a face takes; a global code counts once, however many parts look at it."""
    return getattr(decoder, "code_size", decoder.model.code_size)


def measure(decoder: Decoder, bed: TestBed, regions: Regions) -> tuple[list[Measure], dict]:
    """All metrics of one model: those with intervals, and facts without."""
    model, test = decoder.model, bed.test
    faces, parts = len(test), model.part_count
    codes = in_blocks(decoder.encode, test)
    decoded = in_blocks(decoder.decode, codes)
    measures = [metrics.reconstruction(metrics.vertex_distances(decoded, test))]
    facts: dict = {}

    def cycle(vertices: np.ndarray) -> np.ndarray:
        return decoder.decode(decoder.encode(vertices))

    # Parts of K different people.
    donors = mixing.donor_mixes(bed.rng(1), faces, parts)
    mixed_codes = mixing.mix_codes(model, codes, donors)
    mixed = in_blocks(decoder.decode, mixed_codes)
    measures.append(
        metrics.mean_distance("reencoding", metrics.vertex_distances(in_blocks(cycle, mixed), mixed))
    )
    measures.append(metrics.donor_retrieval(mixed, test, donors, regions.core))
    for name, laplacian in bed.laplacians.items():
        rough = metrics.squared_roughness(laplacian, mixed, bed.pca.mean)
        measures.append(metrics.seam(rough, bed.real_roughness[name], regions.border, name))
    measures.append(metrics.variance(mixed, test))

    # Two people exchange parts and exchange them back.
    exchange = mixing.pair_swaps(bed.rng(2), faces, parts)
    again = [
        in_blocks(lambda rows: decoder.encode(decoder.decode(rows)), mixing.mix_codes(model, codes, donors))
        for donors in exchange
    ]
    measures.append(metrics.mean_distance("swap_cycle", _unswap_distances(decoder, again, exchange, test)))

    # One part from somebody else.
    swaps = mixing.one_part_swaps(bed.rng(3), faces, parts)
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

    # Can a classifier tell what the model makes from real faces?
    train_codes = np.concatenate([decoder.encode(block) for block in bed.train_blocks()])
    train_faces = len(train_codes)
    samples = {
        "train": model.prior.sample(bed.rng(4), train_faces),
        "test": model.prior.sample(bed.rng(5), faces),
    }
    made = {
        "told_mixes": (
            mixing.mix_codes(model, train_codes, mixing.donor_mixes(bed.rng(6), train_faces, parts)),
            mixed_codes,
        ),
        "told_swaps": (
            mixing.mix_codes(model, train_codes, _random_swaps(bed.rng(7), train_faces, parts)),
            mixing.mix_codes(model, codes, mixing.pick_one_part(bed.rng(8), swaps)),
        ),
        "told_samples": (samples["train"], samples["test"]),
    }
    for name, (of_train, of_test) in made.items():
        train_made, test_made = (
            in_blocks(lambda rows: bed.scores(decoder.decode(rows)), rows) for rows in (of_train, of_test)
        )
        measures.append(
            metrics.realism(name, train_made, bed.train_scores, test_made, bed.test_scores, bed.seed)
        )
    drawn = in_blocks(decoder.decode, samples["test"])
    nearest = metrics.nearest_distances(drawn, bed.train_blocks(), bed.pca.mean)
    measures.append(metrics.mean_distance("specificity", nearest[:, None]))

    linear = linear_part(decoder)
    if linear is not None:
        for name, z, x in (("network_real", codes, decoded), ("network_mixed", mixed_codes, mixed)):
            added = metrics.vertex_distances(x, in_blocks(linear.decode, z))
            measures.append(metrics.mean_distance(name, added))
    return measures, facts


def _unswap_distances(decoder: Decoder, again: list, exchange: np.ndarray, test: np.ndarray) -> np.ndarray:
    """|x - unswap(swap(x))| per pair and vertex, mean over the two faces of the pair, [n, N]."""
    first, second = exchange
    own = np.arange(len(test))[:, None]
    foreign = first != own
    partner = np.where(foreign, first, second).max(axis=1)
    total = np.zeros(test.shape[:2], dtype=np.float32)
    for mine, other, goal in ((again[0], again[1], test), (again[1], again[0], test[partner])):
        restored = mine.copy()
        for part in range(foreign.shape[1]):
            columns = decoder.model.part_slice(part)
            restored[:, columns] = np.where(foreign[:, part, None], other[:, columns], mine[:, columns])
        total += metrics.vertex_distances(in_blocks(decoder.decode, restored), goal)
    return total / 2


def _random_swaps(rng: np.random.Generator, faces: int, parts: int) -> np.ndarray:
    return mixing.pick_one_part(rng, mixing.one_part_swaps(rng, faces, parts))


def evaluate(
    models: dict[str, Decoder],
    dataset: Dataset,
    seed: int = 0,
    *,
    reference: FaceModel | None = None,
    trained: str | None = None,
    closed_forms: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> dict:
    """Measure models on the test faces of a data set, beside global PCA.

    PCA has 64 numbers, and as many as the first model (or as many as the training faces span, if fewer).

    Args:
        models: anything that encodes and decodes, by name; the order is that of the table.
        reference: its local weights give the regions of all models that have its part names (default: the
            first model); models with other parts are judged by regions of their own.
        trained, closed_forms: names in `models`. The trained one is compared with the best of the closed
            forms, metric by metric, on paired resamples.

    Returns:
        JSON-able: `models` (metrics with intervals, per-part values), `against_pca`, `comparison`, and what
        they rest on.

    Raises:
        LwaeError: when there is no model, a name is unknown, a model belongs to another mesh, or there are no two
            test faces to mix.
    """
    if not models:
        raise LwaeError("There is no model to evaluate; train one first.")
    if len(dataset.test) < 2:
        raise LwaeError(
            f"The data set {dataset.path} has {len(dataset.test)} test face, too few to mix parts of different people; "
            "prepare one with more faces (14 at least, better hundreds)."
        )
    for name in [*closed_forms, *([trained] if trained else [])]:
        if name not in models:
            raise LwaeError(f"{name!r} is not among the models to evaluate: {', '.join(models)}.")
    for name, decoder in models.items():
        if decoder.model.vertex_count != dataset.vertex_count:
            raise LwaeError(
                f"The model {name!r} has {decoder.model.vertex_count} vertices but the data set has "
                f"{dataset.vertex_count}; evaluate it on the data that it was trained on."
            )
    reference = reference or next(iter(models.values())).model
    total = code_size(next(iter(models.values())))
    bed = TestBed(dataset, seed, fit_pca(dataset.vertices, dataset.train, max(SCORES, total)))
    columns: dict[str, Decoder] = {}
    for rank in dict.fromkeys([min(SCORES, len(bed.pca.axes)), min(total, len(bed.pca.axes))]):
        columns[f"PCA-{rank}"] = GlobalPCA(bed.pca, rank, reference)
    small_pca = next(iter(columns))
    columns |= models

    shared = find_regions(reference)
    results, draws = {}, {}
    for name, decoder in columns.items():
        log.info("Measuring %s", name)
        same = decoder.model.part_names == shared.part_names
        regions = shared if same else find_regions(decoder.model)
        measures, facts = measure(decoder, bed, regions)
        draws[name] = {key: value for m in measures for key, value in m.resampled(seed, resamples).items()}
        values = {key: value for m in measures for key, value in m.values().items()}
        results[name] = {
            "code_size": int(code_size(decoder)),
            "parts": decoder.model.part_names,
            "regions": "shared" if same else "own",
            "region_coverage": regions.coverage.tolist(),
            "metrics": {key: _cell(value, draws[name][key]) for key, value in values.items()}
            | {key: {"value": facts.pop(key)} for key in ("spearman", "matched_parts", "own_region")},
        } | facts
    return {
        "dataset": dataset.name,
        "test_faces": len(dataset.test),
        "train_faces": len(dataset.train),
        "seed": seed,
        "interval": LEVEL,
        "resamples": resamples,
        "real_faces_to_nearest_training_face": bed.real_specificity,
        "models": results,
        "against_pca": {
            name: {
                key: _ratio(
                    *(results[model]["metrics"][key]["value"] for model in (name, small_pca)),
                    *(draws[model][key] for model in (name, small_pca)),
                )
                for key in ("reconstruction", "swap_cycle")
            }
            for name in models
        },
        "small_pca": small_pca,
        "training_dimensions": len(bed.pca.axes),
        "comparison": _compare(trained, closed_forms, results, draws) if trained and closed_forms else None,
    }


def _cell(value: float, draws: np.ndarray) -> dict:
    if not np.isfinite(value):
        return {"value": None}
    low, high = interval(draws)
    return {"value": float(value), "low": low, "high": high}


def _ratio(value: float, base: float, draws: np.ndarray, base_draws: np.ndarray) -> dict:
    """A cell without value where the base is 0, as when one number holds all that varies."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _cell(np.float64(value) / base, draws / base_draws)


def _compare(trained: str, closed_forms: Sequence[str], results: dict, draws: dict) -> dict:
    """The trained model against the best closed form, metric by metric: is the difference beyond chance?

    `verdict` asks whether the interval of the paired difference leaves out zero: it sees the smallest of
    systematic differences. `against_interval` asks whether the trained value lies outside the closed
    form's own interval.
    """
    verdicts = {}
    for key, row in ROWS.items():
        cells = {
            name: results[name]["metrics"].get(key, {}).get("value") for name in [trained, *closed_forms]
        }
        if row.badness is None or any(value is None for value in cells.values()):
            continue
        best = min(closed_forms, key=lambda name: float(row.badness(np.float64(cells[name]))))
        paired = interval(row.badness(draws[trained][key]) - row.badness(draws[best][key]))
        low, high = interval(draws[best][key])
        outside = not low - ROUNDING <= cells[trained] <= high + ROUNDING
        gap = row.badness(np.float64(cells[trained])) - row.badness(np.float64(cells[best]))
        verdicts[key] = {
            "against": best,
            "trained": cells[trained],
            "closed_form": cells[best],
            "difference": cells[trained] - cells[best],
            "difference_interval": list(interval(draws[trained][key] - draws[best][key])),
            "verdict": _word(*paired),
            "against_interval": _word(gap, gap) if outside else "within",
        }
    return {"trained": trained, "metrics": verdicts}


def _word(low: float, high: float) -> str:
    """What an interval of differences in badness says about the trained model."""
    return "better" if high < -ROUNDING else "worse" if low > ROUNDING else "within"
