# SPDX-License-Identifier: GPL-3.0-or-later
"""Run pytest inside Blender, with the add-on installed from the built zip.

    python tests/blender/run_in_blender.py [--blender EXECUTABLE] [--zip ZIP] [--window [PNG]] [--script NAME]
        [pytest arguments]

Without --blender this runs in the `bpy` module of the Python that starts it. Blender's own settings are not
touched: everything goes to a temporary folder. Without --zip the zip is built, with the bundled model if there is
one, else with the small model of the tests. With --window no pytest runs but window_drag.py, or the script named by
--script, in an executable that opens a window, and a picture of the screen is written to PNG.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "blender"
# What pytest needs and a Blender's own Python lacks; all of it is pure Python.
PACKAGES = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py")


def build_zip(folder: Path) -> Path:
    """The add-on zip, made in a folder."""
    model = ROOT / "blender_lwae" / "models" / "default.lwae"
    if not model.is_file():
        model = folder / "toy.lwae"
        code = "from backend.lwae_file import save_model; from tests.toy import toy_model; "
        code += f"save_model(toy_model(), {str(model)!r})"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    command = [sys.executable, str(ROOT / "build_addon.py"), "--model", str(model), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("blender_lwae-*.zip"))


def copy_packages(folder: Path) -> None:
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None:
            continue
        if found.submodule_search_locations:
            source = found.submodule_search_locations[0]
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd"))
        else:
            shutil.copy(found.origin, folder)
    # Their versions, which pytest prints.
    for name in ("pytest", "pluggy"):
        information = next(Path(importlib.util.find_spec(name).origin).parents[1].glob(f"{name}-*.dist-info"))
        shutil.copytree(information, folder / information.name)


def run(
    arguments: list[str],
    blender: str | None = None,
    zip_path: Path | None = None,
    window: bool = False,
    screenshot: Path | None = None,
    timeout: float = 600,
    script: str = "window_drag.py",
) -> subprocess.CompletedProcess:
    """Run pytest in a child process.

    Args:
        arguments: pytest's; without a path, all of tests/blender that runs in Blender.
        blender: an executable; None means the `bpy` module.
        window: run `script` of this folder instead; the executable must open a window.
        screenshot: where that puts a picture of the screen.
        timeout: seconds, after which the child is killed.
    """
    with tempfile.TemporaryDirectory(prefix="lwae_test_") as temporary:
        folder = Path(temporary)
        for name in ("resources", "packages", "build"):
            (folder / name).mkdir()
        settings = {
            "zip": str(shutil.copy(zip_path, folder) if zip_path else build_zip(folder / "build")),
            "packages": str(folder / "packages"),
            "arguments": arguments,
            "screenshot": str(folder / "screen.png"),
        }
        environment = dict(
            os.environ, BLENDER_USER_RESOURCES=str(folder / "resources"), LWAE_TEST=json.dumps(settings)
        )
        if blender is None:
            command = [sys.executable, __file__, "--inside"]
        else:
            copy_packages(folder / "packages")
            flags = ["--enable-event-simulate"] if window else ["--background"]
            path = str(TESTS / script) if window else __file__
            command = [blender, *flags, "--factory-startup", "--python-exit-code", "1", "--python", path]
        result = subprocess.run(
            command, cwd=ROOT, env=environment, timeout=timeout, text=True, capture_output=True, check=False
        )
        if screenshot and (folder / "screen.png").is_file():
            shutil.copy(folder / "screen.png", screenshot)
        return result


def inside() -> None:
    """In Blender: run pytest, then end with its status at once (some builds hang when they end by themselves)."""
    settings = json.loads(os.environ["LWAE_TEST"])
    sys.path.insert(0, settings["packages"])
    import pytest

    paths = [argument for argument in settings["arguments"] if Path(argument.split("::")[0]).exists()]
    arguments = settings["arguments"] if paths else [*settings["arguments"], str(TESTS)]
    fixed = ["-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    status = pytest.main([*fixed, *arguments])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(status))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the tests inside Blender.")
    parser.add_argument("--blender", help="a Blender executable; without it the bpy module is used")
    parser.add_argument("--zip", type=Path, help="the add-on zip to test; built when left out")
    parser.add_argument("--window", nargs="?", type=Path, const=Path(os.devnull), help="run a script in a window")
    parser.add_argument("--script", default="window_drag.py", help="what --window runs, of this folder")
    parser.add_argument("--timeout", type=float, default=600, help="seconds")
    options, arguments = parser.parse_known_args()
    window = options.window is not None
    screenshot = options.window if window and options.window != Path(os.devnull) else None
    result = run(arguments, options.blender, options.zip, window, screenshot, options.timeout, options.script)
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    return result.returncode


if __name__ == "__main__":
    if "LWAE_TEST" in os.environ:
        inside()
    sys.exit(main())
