# SPDX-License-Identifier: GPL-3.0-or-later
"""Run benchmarks and print a table.

    python -m benchmarks [THEME ...] [--quick] [--json FILE]

Each theme runs in a process of its own with a pinned number of threads. A theme whose packages are missing says so in
its rows. FILE keeps the themes that are not measured now, each with the machine, versions and revision it had.
The exit status says whether everything could be measured, not whether limits were met: these are no tests.
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

from backend.files import atomic_write

from .in_blender import versions
from .measure import ROOT, Row, machine, pinned

# Theme: threads. A module of that name has `run(quick)`.
THEMES = {
    "slider": 1,
    "blender_drag": 1,
    "start_up": 1,
    "batch": 1,
    "parts_and_levels": 1,
    "default_training": 2,
    "chebyshev": 2,
    "gpu": 2,
}


def measure(theme: str, quick: bool) -> dict:
    """Rows of a theme and the Blenders that it used, from a process of its own; raises RuntimeError when that fails."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
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


def kept(path: Path) -> dict:
    """What a file of figures holds, to be added to; raises ValueError for other files."""
    if not path.exists():
        return {"themes": {}}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not all("rows" in theme for theme in content["themes"].values()):
        raise ValueError("themes without rows")
    return content


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast is it?")
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"of {', '.join(THEMES)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller sizes: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add figures and the machine's facts to it")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        theme, answer = options.inside
        rows = importlib.import_module(f"benchmarks.{theme}").run(options.quick)
        found = {"rows": [dataclasses.asdict(row) for row in rows], "blender": ", ".join(sorted(versions))}
        Path(answer).write_text(json.dumps(found), encoding="utf-8")
        return 0
    unknown = set(options.themes) - set(THEMES)
    if unknown:
        parser.error(f"there is no theme {', '.join(sorted(unknown))}; choose from {', '.join(THEMES)}")
    try:
        content = kept(options.json) if options.json else {"themes": {}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        parser.error(f"{options.json} holds something else than figures of this program; name another file")
    failed = False
    for theme in options.themes or THEMES:
        try:
            found = measure(theme, options.quick)
        except RuntimeError as error:
            sys.stderr.write(f"benchmarks: {error}\n")
            failed = True
            continue
        threads = THEMES[theme]
        sys.stdout.write(table(f"{theme} ({threads} thread{'s' * (threads > 1)})", found["rows"]) + "\n")
        sys.stdout.flush()
        if options.json:
            facts = machine() | ({"blender": found["blender"]} if found["blender"] else {})
            content["themes"][theme] = {
                "machine": facts,
                "quick": options.quick,
                "threads": threads,
                "rows": found["rows"],
            }
            options.json.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(options.json, "w", encoding="utf-8") as stream:
                stream.write(json.dumps(content, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
