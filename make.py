# SPDX-License-Identifier: GPL-3.0-or-later
"""The two commands of the README. Standard library only; any Python >= 3.9 can start it.

    python3 make.py faces    twelve faces from the bundled model, made in Blender: out/
    python3 make.py test     the whole test suite; further arguments go to pytest

Each sets up its own virtual environment here (.venv-faces, .venv-test) and keeps it for the next time. Blender is
the one that the environment variable BLENDER names, else PyPI's module `bpy`, which exists for the Python versions
of `BPY_PYTHONS`; where this Python is another one, one of those is looked for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import build_addon

ROOT = Path(__file__).resolve().parent
CONSTRAINTS = ROOT / "constraints.txt"
BPY_PYTHONS = ((3, 11), (3, 13))
FACES, SEED = 12, 7
APT_PACKAGES = "libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1"
INSTALL_LIMIT, FACES_LIMIT, TEST_LIMIT = 3600, 900, 9000  # seconds

# What `blender --command` does, with the module: install the zip, enable it, call the command. Ends hard because
# the module can hang when Python tears it down.
SYNTH_IN_BPY = """
import os, sys, bpy
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
from bl_ext.user_default.blender_lwae import cli
code = cli.main(sys.argv[2:])
sys.stdout.flush(), sys.stderr.flush()
os._exit(code)
"""


class MakeError(Exception):
    """The command cannot go on; the message is one sentence that says why and what to do."""


def run(command: list, limit: int, what: str, **options) -> None:
    """Run a command that must succeed within `limit` seconds; it and its children end with us."""
    group = {"start_new_session": True} if os.name == "posix" else {}
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, **group, **options)
    try:
        code = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        end(process)
        raise MakeError(f"{what} took more than {limit // 60} minutes and was stopped.") from None
    except BaseException:
        end(process)
        raise
    if code:
        raise MakeError(f"{what} failed (exit code {code}); its messages are above.")


def end(process: subprocess.Popen) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def version_of(python: str) -> tuple[int, int] | None:
    """(major, minor) of a Python executable, None where it does not run."""
    try:
        text = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, timeout=60
        ).stdout.split()
        return int(text[0]), int(text[1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def python_for_bpy() -> str:
    """This Python or another one on this machine for which there is a `bpy`."""
    if sys.version_info[:2] in BPY_PYTHONS:
        return sys.executable
    for wanted in BPY_PYTHONS:
        found = shutil.which("python{}.{}".format(*wanted))
        if found and version_of(found) == wanted:
            return found
        if os.name == "nt" and shutil.which("py"):
            asked = ["py", "-{}.{}".format(*wanted), "-c", "import sys; print(sys.executable)"]
            found = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
            if found:
                return found
    versions = " or ".join("{}.{}".format(*wanted) for wanted in BPY_PYTHONS)
    raise MakeError(
        f"Blender's Python module exists for Python {versions}, and this is {sys.version.split()[0]}; "
        "install one of those, or set the environment variable BLENDER to your blender program."
    )


def environment(folder: str, python: str, requirements: list[str]) -> Path:
    """A virtual environment with `requirements` in it; returns its Python."""
    major, minor = version_of(python) or (0, 0)
    venv = ROOT / f"{folder}-{major}.{minor}"
    inside = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = venv / "installed.txt"
    sources = [CONSTRAINTS, *([ROOT / "pyproject.toml"] if any(r.startswith(".") for r in requirements) else [])]
    wanted = "\n".join([*requirements, *(source.read_text(encoding="utf-8") for source in sources)])
    if inside.exists() and done.exists() and done.read_text(encoding="utf-8") == wanted:
        return inside
    print(f"Setting up {venv.name} (once; this downloads packages) ...", flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    made = subprocess.run([python, "-m", "venv", str(venv)], stdout=subprocess.DEVNULL)
    if made.returncode:
        raise MakeError(
            f"{python} cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"
        )
    install = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", CONSTRAINTS]
    run([*install, *requirements], INSTALL_LIMIT, "Installing packages")
    done.write_text(wanted, encoding="utf-8")
    return inside


def check_bpy(python: Path) -> None:
    """Say which system libraries are missing before Blender's module fails on them."""
    result = subprocess.run(
        [str(python), "-c", "import os, bpy; os._exit(0)"], capture_output=True, text=True, timeout=300
    )
    if "cannot open shared object file" in result.stderr:
        library = result.stderr.strip().splitlines()[-1].split("ImportError: ")[-1].split(":")[0]
        raise MakeError(
            f"Blender needs the system library {library}; on Debian and Ubuntu: apt-get install {APT_PACKAGES}"
        )
    if result.returncode:
        raise MakeError(f"Blender's Python module does not start: {result.stderr.strip().splitlines()[-1:]}")


def blender_program() -> str | None:
    """The Blender that BLENDER names, if it does."""
    named = os.environ.get("BLENDER")
    if not named:
        return None
    found = shutil.which(named)
    if not found:
        raise MakeError(f"The environment variable BLENDER names {named}, which is no program; correct or unset it.")
    return os.path.abspath(found)


def make_faces(out: Path) -> None:
    """Build the zip, install it into Blender, make faces with their labels and a contact sheet."""
    blender = blender_program()
    python = None if blender else environment(".venv-faces", python_for_bpy(), ["bpy"])
    if python:
        check_bpy(python)
    archive = build_addon.build()
    print(f"Built {archive.relative_to(ROOT)}; making {FACES} faces ...", flush=True)
    # A user folder of our own: the person's Blender stays as it is.
    user = ROOT / "dist" / "blender-user"
    shutil.rmtree(user, ignore_errors=True)
    user.mkdir(parents=True)
    env = dict(os.environ, BLENDER_USER_RESOURCES=str(user), PYTHONNOUSERSITE="1")
    synth = ["synth", "--count", FACES, "--seed", SEED, "--format", "ply", "--render", "--size", 320]
    synth += ["--out", out, "--overwrite"]
    quiet = {"env": env, "stdout": subprocess.DEVNULL}
    if blender:
        install = [blender, "--command", "extension", "install-file", "-r", "user_default", "--enable", archive]
        run(install, FACES_LIMIT, "Installing the add-on", **quiet)
        run([blender, "-b", "--command", "lwae", *synth], FACES_LIMIT, "Making faces", **quiet)
    else:
        run([python, "-c", SYNTH_IN_BPY, archive, *synth], FACES_LIMIT, "Making faces", **quiet)
    if not (out / "contact_sheet.png").is_file():
        raise MakeError(f"Blender ended without an error, but {out} is not there; can it write to that folder?")
    print(f"\nMeshes          {out / 'face_*.ply'}")
    print(f"Labels          {out / 'faces.csv'} (seeds, control values, part codes)")
    print(f"Contact sheet   {out / 'contact_sheet.png'}")


def run_tests(arguments: list[str]) -> None:
    """Set up everything that the tests need and run pytest."""
    python = environment(".venv-test", python_for_bpy(), [".[trainer,anny,test]", "bpy"])
    check_bpy(python)
    blender_program()
    run(
        [python, "-m", "pytest", *arguments],
        TEST_LIMIT,
        "The test suite",
        env=dict(os.environ, PYTHONNOUSERSITE="1"),
    )


def main() -> int:
    # Leave as Ctrl-C does, so that children end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description="Try the project out, or test it.")
    commands = parser.add_subparsers(dest="command", required=True)
    faces = commands.add_parser("faces", help="make twelve faces and a contact sheet")
    faces.add_argument("--out", type=Path, default=ROOT / "out", help="folder for them (default out)")
    commands.add_parser("test", help="run the test suite; further arguments go to pytest", add_help=False)
    options, further = parser.parse_known_args()
    if options.command == "faces" and further:
        parser.error(f"unknown arguments: {' '.join(further)}")
    try:
        if options.command == "faces":
            make_faces(options.out.absolute())
        else:
            run_tests(further)
    except (MakeError, build_addon.BuildError) as error:
        print(f"\nmake.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
