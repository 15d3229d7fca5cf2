# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's model as one `.lwae` file."""

from __future__ import annotations

import json
from pathlib import Path

from backend.lwae_file import load_model, save_model
from backend.model import FaceModel

from .run import open_run


def export_run(path: Path, out: Path, name: str | None = None) -> FaceModel:
    """Write the trained model of a run, with the metrics that `evaluate` found, and read it back.

    Raises:
        LwaeError: when the run is not trained, or the file cannot be written.
    """
    run = open_run(path)
    model = run.trained_model()
    if name:
        model.header["name"] = name
    metrics = run.path / "metrics.json"
    if metrics.is_file():
        model.header["metrics"] = json.loads(metrics.read_text(encoding="utf-8"))["summary"]
    save_model(model, out)
    return load_model(out)
