# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a function of this package inside Blender, with the add-on from its built zip.

The Blender is the one that the environment variable BLENDER names, else PyPI's `bpy` module. Blender's own settings
are not touched.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROOT = Path(__file__).resolve().parents[1]
ADDON = "bl_ext.user_default.blender_lwae"
LIMIT = 900  # seconds
versions: set[str] = set()  # of the Blenders that `call` has met


def call(function: str, *arguments, window: bool = False):
    """What `function` ("module:name" of this package) returns for JSON-able arguments, called inside Blender.

    Args:
        window: with a window, which the Blender must be able to open.

    Raises:
        RuntimeError: with Blender's last lines, when it fails.
    """
    import build_addon

    blender = os.environ.get("BLENDER")
    with tempfile.TemporaryDirectory(prefix="lwae_bench_") as temporary:
        folder = Path(temporary)
        (folder / "user").mkdir()
        task = {
            "zip": str(build_addon.build(out=folder)),
            "function": function,
            "arguments": arguments,
            "answer": str(folder / "answer.json"),
        }
        environment = os.environ | {"BLENDER_USER_RESOURCES": str(folder / "user"), "LWAE_BENCH": json.dumps(task)}
        command = [sys.executable, __file__]
        if blender:
            flags = ["--enable-event-simulate"] if window else ["--background"]
            command = [blender, *flags, "--factory-startup", "--python-exit-code", "1", "--python", __file__]
        result = subprocess.run(
            command, cwd=ROOT, env=environment, timeout=LIMIT, capture_output=True, text=True, check=False
        )
        answer = Path(task["answer"])
        if not answer.is_file():
            raise RuntimeError(f"{function} failed in Blender:\n{(result.stdout + result.stderr)[-2000:]}")
        version, returned = json.loads(answer.read_text(encoding="utf-8"))
        versions.add(version)
        return returned


def addon(name: str):
    """A module of the installed add-on."""
    return importlib.import_module(f"{ADDON}.{name}")


def finish(task: dict, result) -> None:
    """Write the answer and end at once: some builds hang when they end by themselves."""
    import bpy

    Path(task["answer"]).write_text(json.dumps([bpy.app.version_string, result]), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


def inside() -> None:
    import bpy

    task = json.loads(os.environ["LWAE_BENCH"])
    module, name = task["function"].split(":")
    function = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    if bpy.app.background:
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        if getattr(function, "installs", False):
            finish(task, function(task["zip"], *task["arguments"]))
        _install(task["zip"])
        finish(task, function(*task["arguments"]))
    steps = iter(())

    def tick():
        nonlocal steps
        try:
            try:
                return next(steps)
            except StopIteration as end:
                if end.value is not None:
                    finish(task, end.value)
            _install(task["zip"])
            steps = function(*task["arguments"])
            return 0.5
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    bpy.app.timers.register(tick, first_interval=1.0)


def _install(path: str) -> None:
    import bpy

    bpy.ops.extensions.package_install_files(filepath=path, repo="user_default", enable_on_install=True)


if __name__ == "__main__" and "LWAE_BENCH" in os.environ:
    inside()
