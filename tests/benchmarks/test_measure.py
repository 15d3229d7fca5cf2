# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.__main__ import THEMES, kept, main, table
from benchmarks.measure import ROOT, interleaved, machine, missing, row, value
from benchmarks.memory import Peak


def test_limits_are_of_the_right_number_and_kind():
    seconds = [0.001] * 90 + [0.010] * 10
    assert row("a", seconds, median=2, p95=20).met is True
    assert row("a", seconds, median=2, p95=5).met is False
    assert row("a", seconds, unit="s").met is None
    assert row("a", seconds).median == 1 and abs(row("a", seconds).p95 - 10) < 1e-9
    assert value("b", np.float32(3), "x", least=3).met and not value("b", 3, "x", most=2.9).met
    assert missing("c", "no GPU").met is None
    json.dumps([dataclasses.asdict(value("b", np.float64(3), "x", least=1))])


def test_functions_take_turns():
    order = []
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, warm_ups=1)
    assert order == ["a", "b"] * 4 and [len(found) for found in times.values()] == [3, 3]


def test_peak_memory_is_seen_although_it_is_freed():
    with Peak() as peak:
        np.ones(4_000_000).sum()
        block = np.ones(30_000_000)
        del block
    assert 200e6 < peak.grown < 400e6


def test_the_table_says_what_was_missed():
    rows = [dataclasses.asdict(entry) for entry in (value("slow", 9, "s", most=1), value("old", 1, "s", baseline=True))]
    text = table("theme", rows)
    assert "| slow | 9 |  | s | <= 1 | **no** |" in text and "| old | 1 |  | s |  | baseline |" in text


def test_nothing_personal_is_written_beside_the_figures():
    import platform

    found = machine()
    assert {"processor", "cores", "numpy", "revision"} <= set(found)
    assert platform.node() not in json.dumps(found)


def test_figures_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert machine()["revision"] == "unknown"


def test_a_file_of_figures_keeps_its_other_themes(tmp_path, monkeypatch):
    path, rows = tmp_path / "figures.json", [dataclasses.asdict(value("a", 1, "s"))]
    for theme, blender in (("slider", ""), ("batch", "5.2.2 LTS"), ("slider", "")):
        monkeypatch.setattr("benchmarks.__main__.measure", lambda *_, found=blender: {"rows": rows, "blender": found})
        monkeypatch.setattr(sys, "argv", ["benchmarks", theme, "--json", str(path)])
        assert main() == 0
    themes = json.loads(path.read_text())["themes"]
    assert set(themes) == {"slider", "batch"} and themes["batch"]["machine"]["blender"] == "5.2.2 LTS"
    assert "blender" not in themes["slider"]["machine"] and themes["slider"]["rows"] == rows
    path.write_text('{"other": 1}')
    with pytest.raises(SystemExit):
        main()
    assert path.read_text() == '{"other": 1}'


def test_kept_figures_can_be_added_to():
    found = [set(kept(path)["themes"]) for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    assert all(themes <= set(THEMES) for themes in found), "of some machines there are some themes"
    assert found.count(set(THEMES)) >= 2


def test_themes_are_modules_that_run():
    for theme in THEMES:
        assert "def run(quick: bool = False) -> list[Row]:" in (ROOT / "benchmarks" / f"{theme}.py").read_text()
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "there is no theme nonsense" in result.stderr
