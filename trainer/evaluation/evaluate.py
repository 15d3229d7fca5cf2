# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure several models on the same test faces and mixes, and say which is better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from backend.decoder import Decoder
from backend.model import FaceModel

from .baselines import GlobalPCA
from .bootstrap import LEVEL, RESAMPLES, interval
from .closed_forms import mirror_image, search, with_prior
from .measure import code_size, measure, without_network
from .metrics import ROWS
from .regions import Regions, find_regions
from .testbed import SCORES, TestBed

log = logging.getLogger(__name__)

ROUNDING = 1e-5  # Smaller differences between models are arithmetic.
RATIOS = ("reconstruction", "swap_cycle")


@dataclass(frozen=True)
class Family:
    """Columns whose models mix the same parts, and have as many numbers: they can be compared one by one.

    Attributes:
        reference: its local weights give the regions.
        trained: names of columns.
        baselines: further columns, by name; the first is the small global PCA.
        closed_forms: names of baselines; the best is compared with the trained columns.
        own_closed_forms: those of them with the reference's own weights.
        candidates: the closed forms that were tried, JSON-able.
        unlearned: the reference without its trained blocks, but with bases fitted to each other and moving borders;
            none of a preset that is nothing without them.
    """

    reference: FaceModel
    trained: list[str]
    baselines: dict[str, Decoder]
    closed_forms: list[str]
    own_closed_forms: list[str]
    candidates: list[dict]
    unlearned: list[str] = field(default_factory=list)


def find_family(reference: FaceModel, trained: list[str], bed: TestBed, suffix: str = "") -> Family:
    """The baselines of trained columns: global PCA with 64 numbers and with as many as `reference`, PCA of each
    region, the best closed forms, and the reference itself without its network.

    Global PCA has no more numbers than the training faces span.

    Args:
        suffix: goes behind the names.
    """
    baselines: dict[str, Decoder] = {}
    for rank in (SCORES, reference.code_size):
        decoder = GlobalPCA(bed.pca, rank, reference)
        baselines[f"PCA-{decoder.code_size}{suffix}"] = decoder
    found = search(reference, bed)
    if found.region_pca is None:
        log.warning("A part is nowhere the strongest, so there is no PCA of each region to compare with.")
    else:
        baselines[f"region PCA{suffix}"] = found.region_pca
    closed_forms = {f"{name}{suffix}": decoder for name, decoder in found.best.items()}
    own = [f"{name}{suffix}" for name in found.own]
    unlearned = {}
    if (plain := without_network(reference)) is not None:
        unlearned = {f"without its network{suffix}": with_prior(plain, bed, mirror_image(reference, bed))}
    baselines |= closed_forms | unlearned
    return Family(reference, trained, baselines, list(closed_forms), own, found.candidates, list(unlearned))


def evaluate(
    columns: dict[str, Sequence[Decoder]],
    bed: TestBed,
    families: Sequence[Family],
    resamples: int = RESAMPLES,
) -> dict:
    """Measure trained models and the baselines of their families.

    Args:
        columns: what encodes and decodes, by name. Several in one column differ in nothing but their seed: their mean
            counts, and its interval is that of the mean.
        families: each column is in one. All models with the part names of the first family are judged by the regions
            of its reference, those of other families by the regions of theirs.

    Returns:
        JSON-able: `models` (metrics with intervals, per-part values), `comparisons` of each trained column with its
        family's baselines on paired resamples, `closed_forms` that were tried, and what they rest on.
    """
    first = families[0].reference
    results, draws, comparisons = {}, {}, {}
    for family in families:
        shared = family.reference.part_names == first.part_names
        regions = find_regions(first if shared else family.reference)
        members = {name: [decoder] for name, decoder in family.baselines.items()}
        members |= {name: columns[name] for name in family.trained}
        for name, decoders in members.items():
            log.info("Measuring %s", name)
            results[name], draws[name] = _column(decoders, bed, regions, resamples)
            results[name]["regions"] = "shared" if shared else "own"
        for name in family.trained:
            comparisons[name] = _compare(name, family, results, draws)
    return {
        "dataset": bed.dataset.name,
        "test_faces": len(bed.dataset.test),
        "train_faces": len(bed.dataset.train),
        "seed": bed.seed,
        "interval": LEVEL,
        "resamples": resamples,
        "real_faces_to_nearest_training_face": bed.real_specificity,
        "training_dimensions": len(bed.pca.axes),
        "models": {name: results[name] for name in dict.fromkeys([*columns, *results])},
        "comparisons": comparisons,
        "closed_forms": [
            {"trained": family.trained, "candidates": family.candidates} for family in families if family.candidates
        ],
    }


def _column(decoders: Sequence[Decoder], bed: TestBed, regions: Regions, resamples: int) -> tuple[dict, dict]:
    """Results of one column, JSON-able, and its metrics over resampled faces."""
    values, facts, draws = [], [], []
    for decoder in decoders:
        measures, more = measure(decoder, bed, regions)
        values.append({name: value for m in measures for name, value in m.values().items()})
        draws.append({name: draw for m in measures for name, draw in m.resampled(bed.seed, resamples).items()})
        facts.append(more)
    mean_draws = {name: np.mean([draw[name] for draw in draws], axis=0) for name in draws[0]}
    cells = {name: _cell(np.mean([v[name] for v in values]), mean_draws[name]) for name in values[0]}
    cells |= {name: {"value": _mean([f[name] for f in facts])} for name in facts[0] if name in ROWS}
    if len(decoders) > 1:
        for name, cell in cells.items():
            if cell["value"] is None:
                continue
            cell["runs"] = [{**v, **f}[name] for v, f in zip(values, facts, strict=True)]
    model = decoders[0].model
    return {
        "code_size": int(code_size(decoders[0])),
        "parts": model.part_names,
        "code_sizes": list(model.code_sizes),
        "region_coverage": regions.coverage.tolist(),
        "metrics": cells,
    } | {name: _mean([f[name] for f in facts]) for name in facts[0] if name not in ROWS}, mean_draws


def _mean(facts: list):
    """Of numbers or nested lists of them; as it is when there is nothing to average."""
    return facts[0] if all(fact == facts[0] for fact in facts) else np.mean(facts, axis=0).tolist()


def _cell(value: float, draws: np.ndarray) -> dict:
    if not np.isfinite(value):
        return {"value": None}
    low, high = interval(draws)
    return {"value": float(value), "low": low, "high": high}


def _ratio(value: float, base: float, draws: np.ndarray, base_draws: np.ndarray) -> dict:
    """A cell without value where the base is 0, as when one number holds all that varies."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _cell(np.float64(value) / base, draws / base_draws)


def _compare(trained: str, family: Family, results: dict, draws: dict) -> dict:
    """A trained column against the small PCA and the best closed forms of its family.

    Ratios are against closed forms of any weights, and against those with the column's own weights: hard weights
    reconstruct well and leave open seams. Metric by metric it stands against its own weights alone.
    """

    def ratio(key: str, names: Sequence[str]) -> dict:
        value = {name: results[name]["metrics"][key]["value"] for name in [trained, *names]}
        base = min(names, key=value.get)
        return {"against": base} | _ratio(value[trained], value[base], draws[trained][key], draws[base][key])

    against = {
        "against_pca": list(family.baselines)[:1],
        "against_closed_form": family.closed_forms,
        "against_own_closed_form": family.own_closed_forms,
        "against_unlearned": family.unlearned,
    }
    result = {title: {key: ratio(key, names) for key in RATIOS} for title, names in against.items() if names}
    if family.own_closed_forms:
        result["metrics"] = _verdicts(trained, family.own_closed_forms, results, draws)
    return result


def _verdicts(trained: str, closed_forms: Sequence[str], results: dict, draws: dict) -> dict:
    """The trained column against the best closed form, metric by metric: is the difference beyond chance?

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
    return verdicts


def _word(low: float, high: float) -> str:
    """What an interval of differences in badness says about the trained model."""
    return "better" if high < -ROUNDING else "worse" if low > ROUNDING else "within"
