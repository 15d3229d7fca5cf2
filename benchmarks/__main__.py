# SPDX-License-Identifier: GPL-3.0-or-later
"""Run benchmarks and print a table.

    python -m benchmarks [THEME ...] [--quick] [--json FILE]

Each theme runs in a process of its own with a pinned number of threads. A theme whose packages are missing says so in
its rows. The exit status says whether everything could be measured, not whether limits were met: these are no tests.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from .measure import ROOT, Row, machine, pinned

# Theme: threads. A module of that name has `run(quick)`.
THEMES = {
    "slider": 1,
    "blender_drag": 1,
    "start_up": 1,
    "batch": 1,
    "parts_and_levels": 1,
    "chebyshev": 2,
    "gpu": 2,
}


def measure(theme: str, quick: bool) -> list[dict]:
    """Rows of a theme, measured in a process of its own; raises RuntimeError when that fails."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", "--inside", theme, str(answer)]
        result = subprocess.run([*command, *(["--quick"] if quick else [])], cwd=ROOT, env=pinned(THEMES[theme]))
        if result.returncode:
            raise RuntimeError(f"{theme} ended with exit code {result.returncode}")
        return json.loads(answer.read_text(encoding="utf-8"))


def table(title: str, rows: list[dict]) -> str:
    """Rows as a Markdown table."""
    lines = [f"### {title}", "", "| what | median | p95 | unit | wanted | |", "|---|---:|---:|---|---|---|"]
    for entry in rows:
        row = Row(**entry)
        numbers = ("" if number is None else f"{number:,.3g}" for number in (row.median, row.p95))
        said = {True: "yes", False: "**no**", None: "baseline" if row.baseline else ""}[row.met]
        note = f" ({row.note})" if row.note else ""
        lines.append(f"| {row.what}{note} | {' | '.join(numbers)} | {row.unit} | {row.limit} | {said} |")
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast is it?")
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"of {', '.join(THEMES)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller sizes: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and the machine's facts too")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        theme, answer = options.inside
        rows = importlib.import_module(f"benchmarks.{theme}").run(options.quick)
        Path(answer).write_text(json.dumps([dataclasses.asdict(row) for row in rows]), encoding="utf-8")
        return 0
    unknown = set(options.themes) - set(THEMES)
    if unknown:
        parser.error(f"there is no theme {', '.join(sorted(unknown))}; choose from {', '.join(THEMES)}")
    results, failed = {}, False
    for theme in options.themes or THEMES:
        try:
            results[theme] = measure(theme, options.quick)
        except RuntimeError as error:
            sys.stderr.write(f"benchmarks: {error}\n")
            failed = True
            continue
        sys.stdout.write(table(f"{theme} ({THEMES[theme]} thread{'s' * (THEMES[theme] > 1)})", results[theme]) + "\n")
        sys.stdout.flush()
        if options.json:
            content = {"machine": machine(), "quick": options.quick, "threads": THEMES, "themes": results}
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
