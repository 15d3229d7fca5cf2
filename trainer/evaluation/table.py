# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of an evaluation as plain text."""

from __future__ import annotations

from .bootstrap import FEWEST
from .metrics import ROWS

RATIOS = {
    "against_pca": "global PCA",
    "against_closed_form": "the best closed form of any weights",
    "against_own_closed_form": "the best closed form of its own weights",
    "against_unlearned": "itself without its network",
}


def _number(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _cell(cell: dict | None) -> str:
    """Value, interval and, over several seeds, the range."""
    if cell is None or cell["value"] is None:
        return "-"
    text = _number(cell["value"])
    if "low" in cell:
        text += f" [{_number(cell['low'])}, {_number(cell['high'])}]"
    if "runs" in cell:
        text += f" {_number(min(cell['runs']))}..{_number(max(cell['runs']))}"
    return text


def _grid(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return [lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]


def format_table(results: dict) -> str:
    """One row per metric, one column per model; then the trained ones against global PCA and the best closed forms."""
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
    legend = f"{100 * results['interval']:.0f} % bootstrap intervals in brackets"
    if any("runs" in cell for model in models.values() for cell in model["metrics"].values()):
        legend += ", then least..most over seeds"
    lines = [
        f"{results['test_faces']} test and {results['train_faces']} training faces of {results['dataset']}; {legend}."
        + _few(results["test_faces"]),
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
    for name, comparison in results["comparisons"].items():
        for group, title in RATIOS.items():
            if group in comparison:
                ratios = [f"{ROWS[key].label} {_cell(c)} ({c['against']})" for key, c in comparison[group].items()]
                lines.append(f"{name} over {title}: {'; '.join(ratios)}.")
    for tried in results["closed_forms"]:
        lines += ["", *_closed_forms(tried)]
    for name, comparison in results["comparisons"].items():
        if "metrics" in comparison:
            lines += ["", *_verdict(name, comparison["metrics"])]
    return "\n".join(lines) + "\n"


def _few(faces: int) -> str:
    few = f" {faces} test faces are too few for intervals and verdicts: take them for hints (at least {FEWEST})."
    return few if faces < FEWEST else ""


def _closed_forms(tried: dict) -> list[str]:
    """Reconstruction and swap cycle of each setting, a column for each noise."""
    candidates = tried["candidates"]
    noises = sorted({candidate["sigma_n"] for candidate in candidates})
    rows: dict[tuple, list[str]] = {}
    for candidate in candidates:
        sizes = " ".join(map(str, candidate["code_sizes"]))
        key = candidate["weights"], candidate["allocation"], sizes
        rows.setdefault(key, []).append(f"{candidate['reconstruction']:.4f} / {candidate['swap_cycle']:.4f}")
    header = ["weights", "part sizes by", "part code sizes", *(f"noise {noise:g} mm" for noise in noises)]
    title = f"Closed forms for {', '.join(tried['trained'])}: reconstruction / swap cycle, mm."
    return [title, *_grid([header, *([*key, *cells] for key, cells in rows.items())])]


def _verdict(name: str, metrics: dict) -> list[str]:
    title = f"{name} against the best closed form of its own weights"
    rows = [[title, "trained", "closed form", "difference", "paired", "against its interval"]]
    for key, entry in metrics.items():
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
    for column, heading in ((-2, "Paired differences"), (-1, "Against the closed form's interval")):
        words = [row[column] for row in rows[1:]]
        counts = ", ".join(f"{words.count(word)} {word}" for word in ("better", "worse", "within"))
        lines.append(f"{heading}: {counts}.")
    return lines
