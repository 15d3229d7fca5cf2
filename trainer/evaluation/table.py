# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of an evaluation as plain text."""

from __future__ import annotations

from .metrics import ROWS


def _number(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _cell(cell: dict | None) -> str:
    if cell is None or cell["value"] is None:
        return "-"
    if "low" not in cell:
        return _number(cell["value"])
    return f"{_number(cell['value'])} [{_number(cell['low'])}, {_number(cell['high'])}]"


def _grid(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def format_table(results: dict) -> str:
    """One row per metric, one column per model; then against global PCA, then trained against closed form."""
    models = results["models"]
    rows = [
        ["", "unit", *models],
        ["total code size", "numbers", *(str(model["code_size"]) for model in models.values())],
        ["parts", "", *(str(len(model["parts"])) for model in models.values())],
        ["regions", "", *(model["regions"] for model in models.values())],
        [
            "region coverage, mean",
            "of vertices",
            *(_number(sum(m["region_coverage"]) / len(m["region_coverage"])) for m in models.values()),
        ],
    ]
    for key, row in ROWS.items():
        cells = [_cell(model["metrics"].get(key)) for model in models.values()]
        rows.append([row.label, row.unit, *cells])
    lines = [
        f"{results['test_faces']} test and {results['train_faces']} training faces of {results['dataset']}; "
        f"{100 * results['interval']:.0f} % bootstrap intervals in brackets.",
        "",
        *_grid(rows),
        "",
        "Real test faces to their nearest training face: "
        f"{_number(results['real_faces_to_nearest_training_face'])} mm.",
    ]
    if results["training_dimensions"] < max(model["code_size"] for model in models.values()):
        lines.append(
            f"The training faces span only {results['training_dimensions']} dimensions; PCA needs no more."
        )
    for name, ratios in results["against_pca"].items():
        lines.append(
            f"{name} against {results['small_pca']}: reconstruction {_cell(ratios['reconstruction'])}, "
            f"swap cycle {_cell(ratios['swap_cycle'])} of its."
        )
    if results["comparison"]:
        lines += ["", *_verdict(results["comparison"])]
    return "\n".join(lines) + "\n"


def _verdict(comparison: dict) -> list[str]:
    title = f"{comparison['trained']} against the best closed form"
    rows = [[title, "trained", "closed form", "difference", "paired", "against its interval"]]
    for key, entry in comparison["metrics"].items():
        low, high = entry["difference_interval"]
        rows.append(
            [
                ROWS[key].label,
                _number(entry["trained"]),
                f"{_number(entry['closed_form'])} ({entry['against']})",
                f"{entry['difference']:+.4f} [{low:+.4f}, {high:+.4f}]",
                entry["verdict"],
                entry["against_interval"],
            ]
        )
    lines = _grid(rows)
    for column, title in ((-2, "Paired differences"), (-1, "Against the closed form's interval")):
        words = [row[column] for row in rows[1:]]
        counts = ", ".join(f"{words.count(word)} {word}" for word in ("better", "worse", "within"))
        lines.append(f"{title}: {counts}.")
    return lines
