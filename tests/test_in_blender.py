# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the tests of tests/blender inside Blender, as child processes with a time limit.

Always in the `bpy` module where it can be imported; in real Blenders where the environment names them: BLENDER (an
executable that runs in background) and BLENDER_GUI (one that can open a window; BLENDER + "-gui" if that exists).
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "blender"))
from run_in_blender import run  # noqa: E402

BLENDER = os.environ.get("BLENDER")
DERIVED = f"{BLENDER}-gui" if BLENDER and os.path.exists(f"{BLENDER}-gui") else None
BLENDER_GUI = os.environ.get("BLENDER_GUI", DERIVED)


def check(result: subprocess.CompletedProcess) -> None:
    output = f"{result.stdout[-12000:]}\n{result.stderr[-4000:]}"
    assert result.returncode == 0, output
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed and int(passed[1]) > 50, output
    print(passed[0])


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="no bpy module in this Python")
def test_in_bpy():
    check(run(["-q"], timeout=2400))


@pytest.mark.skipif(not BLENDER, reason="BLENDER names no executable")
def test_in_real_blender():
    check(run(["-q"], blender=BLENDER, timeout=2400))


@pytest.mark.skipif(not BLENDER_GUI, reason="neither BLENDER_GUI nor BLENDER-gui is an executable")
def test_drag_and_render_in_a_window(tmp_path):
    result = run([], blender=BLENDER_GUI, window=True, screenshot=tmp_path / "screen.png", timeout=600)
    assert result.returncode == 0, f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    assert "Traceback" not in result.stdout + result.stderr, result.stderr[-4000:]
    assert re.search(r"slider \[\d+\] to", result.stdout) and "drew all states" in result.stdout
    assert "rendered [1, 6, 11]" in result.stdout


@pytest.mark.skipif(not BLENDER_GUI, reason="neither BLENDER_GUI nor BLENDER-gui is an executable")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("window_pull.py", "cancelled, undone, wheel, mirror, part only, click beside, refused"),
        ("window_bake.py", "stopped a bake, baked, undone"),
        ("window_keys.py", "keys followed"),
        ("window_redo.py", "redone"),
        ("window_batch.py", "stopped, resumed, refused, ended with the file"),
    ],
)
def test_in_a_window(script, said):
    result = run([], blender=BLENDER_GUI, window=True, timeout=600, script=script)
    assert result.returncode == 0, f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    assert "Traceback" not in result.stdout + result.stderr, result.stderr[-4000:]
    assert said in result.stdout
