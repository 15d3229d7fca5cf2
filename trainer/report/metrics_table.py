# SPDX-License-Identifier: GPL-3.0-or-later
"""What `evaluate` measured, as rows of text."""

from __future__ import annotations

from trainer.evaluation.metrics import ROWS

NONE = "\N{EN DASH}"


def metrics_rows(results: dict) -> list[list[str]]:
    """A head and one row per metric, one column per model; metrics that are not in `ROWS` come last by their key.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: when it is not what `evaluate` writes.
    """
    models = results["models"]
    if not models:
        raise ValueError("no models")
    measured = [key for model in models.values() for key in model["metrics"]]
    keys = dict.fromkeys([*(key for key in ROWS if key in measured), *measured])
    rows = [["", "unit", *models]]
    rows.append(["total code size", "numbers", *(_number(model.get("code_size")) for model in models.values())])
    for key in keys:
        label, unit = (ROWS[key].label, ROWS[key].unit) if key in ROWS else (key.replace("_", " "), "")
        rows.append([label, unit, *(_cell(model["metrics"].get(key)) for model in models.values())])
    return rows


def _cell(cell: dict | None) -> str:
    value = (cell or {}).get("value")
    if value is None or "low" not in cell or "high" not in cell:
        return _number(value)
    return f"{_number(value)} [{_number(cell['low'])}, {_number(cell['high'])}]"


def _number(value: float | None) -> str:
    if value is None:
        return NONE
    return str(value) if isinstance(value, int) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
