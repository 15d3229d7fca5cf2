# SPDX-License-Identifier: GPL-3.0-or-later
"""A run measured beside its own closed form: `python -m trainer evaluate RUN`."""

from __future__ import annotations

import json
from pathlib import Path

from backend.decoder import Decoder
from backend.files import atomic_write
from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from trainer.datasets.dataset import Dataset
from trainer.latent import fit_latent
from trainer.run import open_run

from .evaluate import closed_form, evaluate
from .table import format_table

# Of the encoder's noise, mm; with the run's own they are the grid over which the best closed form is taken.
SIGMAS = (0.0316, 0.1, 0.316)


def evaluate_run(path: Path, seed: int = 0) -> str:
    """Measure a trained run on its test faces; writes RUN/metrics.json.

    Returns:
        The table.

    Raises:
        LwaeError: when the run is not trained, or its data set is gone.
    """
    run = open_run(path)
    trained, dataset = run.trained_model(), run.dataset
    models: dict[str, Decoder] = {"trained": NumpyDecoder(trained)}
    closed_forms = closed_form_models(trained, dataset) if trained.preset == "local" else {}
    results = evaluate(models | closed_forms, dataset, seed, trained="trained", closed_forms=list(closed_forms))
    cells = results["models"]["trained"]["metrics"]
    results["summary"] = {name: cell["value"] for name, cell in cells.items()}
    results["epochs"] = trained.header["training"]["epochs"]
    with atomic_write(run.path / "metrics.json", "w", encoding="utf-8") as stream:
        json.dump(results, stream, indent=1)
    return format_table(results)


def closed_form_models(model: FaceModel, dataset: Dataset) -> dict[str, NumpyDecoder]:
    """The same bases without residual blocks, over a grid of the encoder's noise."""
    sigmas = sorted({*SIGMAS, model.header["network"]["sigma_n"]})
    fitted = {sigma: fit_latent(closed_form(model, sigma_n=sigma), dataset) for sigma in sigmas}
    return {f"closed {sigma:g}": NumpyDecoder(fitted[sigma]) for sigma in sigmas}
