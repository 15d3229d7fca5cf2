# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as a page of figures: `python -m trainer report RUN`."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from backend.arrays import UNREADABLE
from backend.errors import LwaeError
from backend.files import atomic_write
from trainer.run import Run, open_run

from .curves import curves_plate
from .folder import PAGE, report_folder
from .interpolation import interpolation_plate
from .metrics_table import metrics_rows
from .mixes import combination_plate, donors_plate, samples_plate
from .page import Page
from .part_weights import part_weights_plate
from .planes import planes_plate
from .plate import Plate
from .reconstructions import reconstructions_plate
from .subject import Subject

log = logging.getLogger(__name__)

FOLDER = "report"


def report_run(path: Path, out: Path | None = None) -> Path:
    """Write a folder with `index.html` and its figures.

    Args:
        path: the run, trained for a while at least.
        out: the folder; RUN/report by default. An older report there is replaced once the new one is complete.

    Returns:
        The page.

    Raises:
        LwaeError: when the run has no checkpoint, its data set is gone or has fewer than two test faces, metrics.json
            is damaged, or the folder holds anything but a report.
    """
    run = open_run(path)
    out = run.path / FOLDER if out is None else Path(out)
    with report_folder(out) as folder:
        _write(run, folder)
    return out / PAGE


def _write(run: Run, folder: Path) -> None:
    metrics = _read_metrics(run)
    model, dataset = run.trained_model(), run.dataset
    subject = Subject(model, dataset)
    epochs, planned = model.header["training"]["epochs"], run.config["epochs"]

    def saved(plate: Plate) -> Plate:
        log.info("%s", plate.title)
        plate.save(folder)
        return plate

    page = Page(
        f"{run.path.resolve().name}: {dataset.name}, preset {model.preset}",
        [
            f"{model.vertex_count} vertices, {len(dataset.train)} training and {len(dataset.test)} test faces, "
            f"{model.part_count} parts, {model.code_size} numbers a face; {epochs} of {planned} epochs.",
            "Figures 1 to 3 are to be put beside figures 2, 5 and 6 of Kim & Kim 2021 (arXiv 2107.08737). All lengths "
            "are in mm; faces of one figure are to one scale.",
        ],
    )
    page.section("Local weights")
    if epochs < planned:
        page.paragraph(f"Trained for {epochs} of {planned} epochs: what follows is the state so far.", note=True)
    page.plate(saved(part_weights_plate(subject)))
    page.section("Interpolation of parts")
    page.plate(saved(interpolation_plate(subject)))
    page.section("Coverage")
    page.plate(saved(planes_plate(subject)))
    page.section("Training")
    # The history of the model shown: training may have gone on meanwhile.
    curves = curves_plate(run.read_checkpoint()["history"][:epochs])
    if curves:
        page.plate(saved(curves))
    else:
        page.paragraph("No epoch is complete yet, so there are no curves.")
    page.facts(_facts(run, subject, epochs))
    page.section("Worst reconstructions")
    page.plate(saved(reconstructions_plate(subject)))
    page.section("One part of another face")
    page.sheets([saved(combination_plate(subject, part)) for part in range(model.part_count)])
    page.section("New faces")
    page.plate(saved(donors_plate(subject)))
    page.plate(saved(samples_plate(subject)))
    page.section("Metrics")
    if metrics:
        results, rows = metrics
        page.paragraph(_about(results, epochs))
        page.table(rows)
    else:
        page.paragraph("Not measured yet: run python -m trainer evaluate, then this report again.")
    with atomic_write(folder / PAGE, "w", encoding="utf-8") as stream:
        stream.write(page.html())


def _facts(run: Run, subject: Subject, epochs: int) -> dict[str, object]:
    config = dict(run.config)
    return {
        "epochs reached": f"{epochs} of {config.pop('epochs')}",
        "preset": config.pop("preset"),
        "git revision": config.pop("git_revision", "unknown"),
        "data set": f"{subject.dataset.name} ({config.pop('dataset')})",
        "licence of the data": subject.dataset.licence,
        "parts": ", ".join(subject.model.part_names),
        **config,
    }


def _read_metrics(run: Run) -> tuple[dict, list[list[str]]] | None:
    """metrics.json and its rows; None when nobody has measured."""
    path = run.path / "metrics.json"
    if not path.exists():
        return None
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        return results, metrics_rows(results)
    except (*UNREADABLE, AttributeError) as error:
        raise LwaeError(f"{path} is damaged; run `python -m trainer evaluate {run.path}` again.") from error


def _about(results: dict, epochs: int) -> str:
    text = "Measured on the test faces; bootstrap intervals in brackets."
    measured = results.get("epochs")
    if measured not in (None, epochs):
        text += f" This was after {measured} epochs, and the figures show {epochs}: evaluate again."
    return text
