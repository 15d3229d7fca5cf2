# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs measured beside each other and their baselines: `python -m trainer evaluate RUN ...`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.decoder import Decoder
from backend.errors import LwaeError
from backend.files import atomic_write
from backend.model import FaceModel
from trainer.datasets.dataset import Dataset
from trainer.run import Run, open_run

from .closed_forms import mirror_image, noises, with_prior
from .evaluate import evaluate, find_family
from .metrics import BLOCK_FACES
from .testbed import TestBed


def evaluate_runs(paths: Sequence[Path], seed: int = 0, merge_seeds: bool = False) -> dict:
    """Measure trained runs on their test faces, which must be the same.

    Args:
        seed: of mixes, samples and intervals.
        merge_seeds: runs that differ in nothing but their own seed share a column: their mean and range.

    Returns:
        The results of `evaluate`, and `runs`, what stands in each column, and `summary`, the first run's metrics.

    Raises:
        LwaeError: when a run is not trained, is named twice, its data set is gone or another one, two runs' faces
            are not the same, or seeds are to be merged and there are none.
    """
    runs = [open_run(path) for path in paths]
    names = run_names(paths)
    dataset = _shared_dataset(runs)
    models = [run.trained_network() for run in runs]
    groups = _alike(runs, models) if merge_seeds else [[index] for index in range(len(runs))]
    if merge_seeds and len(groups) == len(runs):
        raise LwaeError("No two of these runs differ in their seed alone; leave --seeds out.")
    bed = TestBed.of(dataset, seed, max(model.code_size for model in models))
    columns: dict[str, list[Decoder]] = {}
    facts: dict[str, list[dict]] = {}
    kinds: dict[tuple, list[str]] = {}
    first_of: dict[str, int] = {}
    for group in groups:
        name = f"{names[group[0]]} ({runs[group[0]].config['preset']})"
        name += f", {len(group)} seeds" if len(group) > 1 else ""
        columns[name] = [_with_prior(runs[index], models[index], bed) for index in group]
        facts[name] = [_facts(names[index], runs[index], models[index]) for index in group]
        first_of[name] = group[0]
        model = models[group[0]]
        # All that its closed forms follow from.
        mirrored = mirror_image(model, bed) is not None
        kind = model.weights.tobytes(), tuple(model.code_sizes), tuple(noises(model)), mirrored
        kinds.setdefault(kind, []).append(name)
    families = []
    for of_kind in kinds.values():
        first = first_of[of_kind[0]]
        suffix = f", for {names[first]}" if len(kinds) > 1 else ""
        families.append(find_family(models[first], of_kind, bed, suffix))
    results = evaluate(columns, bed, families)
    cells = next(iter(results["models"].values()))["metrics"]
    results["summary"] = {name: cell.get("runs", [cell["value"]])[0] for name, cell in cells.items()}
    return results | {"runs": facts, "epochs": models[0].header["training"]["epochs"]}


def _shared_dataset(runs: Sequence[Run]) -> Dataset:
    """The first run's; LwaeError when another's holds other faces."""
    dataset = runs[0].dataset
    for run in runs[1:]:
        if os.path.realpath(run.data) == os.path.realpath(runs[0].data):
            continue
        if difference := difference_between(dataset, run.dataset):
            raise LwaeError(
                f"{run.path} cannot stand beside {runs[0].path}: the {difference} of their data sets differ; "
                "evaluate together only runs on the same faces and split."
            )
    return dataset


def _with_prior(run: Run, model: FaceModel, bed: TestBed) -> Decoder:
    try:
        return with_prior(model, bed, run.image(bed.dataset))
    except LwaeError as error:
        raise LwaeError(f"{run.path} cannot be evaluated. {error}") from error


def write_results(results: dict, run: Path, out: Path | None = None) -> None:
    """Write results to another file, if asked, and to RUN/metrics.json: last, as others' runs can be read-only.

    Raises:
        LwaeError: when one of them cannot be written.
    """
    for path in [*([out] if out else []), run / "metrics.json"]:
        with atomic_write(path, "w", encoding="utf-8") as stream:
            json.dump(results, stream, indent=1)


def run_names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names, with as many of those above as it takes to tell them apart.

    Raises:
        LwaeError: when a folder is named twice.
    """
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    for path, own in zip(paths, parts, strict=True):
        if parts.count(own) > 1:
            raise LwaeError(f"{path} is named twice; name each run once.")
    depth = 1
    while len({own[-depth:] for own in parts}) < len(parts):
        depth += 1
    return ["/".join(own[-depth:]) for own in parts]


def difference_between(first: Dataset, other: Dataset) -> str | None:
    """What keeps two data sets from being the same faces, or None."""
    if first.vertex_count != other.vertex_count or not _equal(_polygons(first), _polygons(other)):
        return "template meshes"
    if not _equal((first.train, first.test), (other.train, other.test)):
        return "splits"
    for start in range(0, len(first.vertices), BLOCK_FACES):
        block = slice(start, start + BLOCK_FACES)
        if not np.array_equal(first.vertices[block], other.vertices[block]):
            return "vertices"
    return None


def _polygons(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return dataset.template.polygon_sizes, dataset.template.polygon_vertices


def _equal(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _alike(runs: Sequence[Run], models: Sequence[FaceModel]) -> list[list[int]]:
    """Indices of runs that differ in nothing but their seed, in groups, in the order of their first."""
    groups: dict[tuple, list[int]] = {}
    for index, (run, model) in enumerate(zip(runs, models, strict=True)):
        own = ("seed", "dataset", "git_revision", "faces", "weights_command")
        config = {key: value for key, value in run.config.items() if key not in own}
        key = json.dumps(config, sort_keys=True), model.weights.tobytes(), model.header["training"]["epochs"]
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _facts(name: str, run: Run, model: FaceModel) -> dict:
    """What says which run it was, JSON-able."""
    own = {key: run.config[key] for key in ("preset", "seed", "git_revision") if key in run.config}
    return {"folder": name, **own, "epochs": model.header["training"]["epochs"]}
