# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's model as one `.lwae` file."""

from __future__ import annotations

import dataclasses
import json
import logging
import shlex
from pathlib import Path

from backend.errors import LwaeError
from backend.lwae_file import check_model, load_model, require_label, save_model
from backend.model import FaceModel

from .datasets.expression_set import load_expressions
from .run import DEFAULTS, Run, open_run
from .weights.weights_file import weights_command

log = logging.getLogger(__name__)


def export_run(path: Path, out: Path, name: str | None = None) -> FaceModel:
    """Write the trained model of a run, with the metrics that `evaluate` found (unless it was trained further since)
    and the data set's expressions, and read it back.

    Raises:
        LwaeError: when the run is not trained, the name is not one, or the file cannot be written.
    """
    if name:
        require_label(name)
    run = open_run(path)
    model = run.trained_model()
    model = dataclasses.replace(model, expressions=load_expressions(run.data, model.mean, model.skin))
    if name:
        model.header["name"] = name
    model.header["rebuild"] = "\n".join(rebuild_commands(run, name))
    metrics = run.path / "metrics.json"
    if metrics.is_file():
        try:
            found = json.loads(metrics.read_text(encoding="utf-8"))
            summary, epochs = dict(found["summary"]), found.get("epochs")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise LwaeError(f"{metrics} is damaged; run `python -m trainer evaluate {path}` again.") from error
        if epochs == model.header["training"]["epochs"]:
            model.header["metrics"] = summary
        else:
            log.warning(
                "%s was measured after another epoch, so the model goes without metrics; run "
                "`python -m trainer evaluate %s` and export again.",
                metrics,
                path,
            )
    try:
        check_model(model)
    except LwaeError as error:
        raise LwaeError(f"The trained model cannot be used: {error} Train it again.") from error
    save_model(model, out)
    return load_model(out)


def rebuild_commands(run: Run, name: str | None = None) -> list[str]:
    """The commands that make this model again from its source."""
    weights = run.config.get("weights_command") or weights_command(run.data)
    if weights is None:
        raise LwaeError(
            f"{run.data / 'weights.json'} is missing or damaged; run `python -m trainer weights {run.data}` as before."
        )
    preset = run.config["preset"]
    changed = {key: value for key, value in run.config.items() if key in DEFAULTS[preset]}
    changed = {key: value for key, value in changed.items() if value != DEFAULTS[preset][key]}
    settings = [
        "--set " + shlex.quote(f"{key}={json.dumps(value, separators=(',', ':'))}") for key, value in changed.items()
    ]
    return [
        run.dataset.command,
        weights,
        " ".join(["python -m trainer train DATA --preset", preset, "--out RUN", *settings]),
        "python -m trainer evaluate RUN",
        "python -m trainer export RUN --out model.lwae" + (f" --name {shlex.quote(name)}" if name else ""),
    ]
