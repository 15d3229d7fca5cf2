# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the add-on, its copy of `backend` and the default model into one zip that Blender installs.

    python build_addon.py [--model FILE.lwae] [--out dist]

Standard library only. Equal content gives equal bytes: names sorted, dates fixed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DEFAULT_MODEL = ROOT / "blender_lwae" / "models" / "default.lwae"
MODEL_NAME = "models/default.lwae"
MAX_BYTES = 12_000_000
SKIPPED_FOLDERS = {"__pycache__", "tests"}
SKIPPED_SUFFIXES = {".pyc", ".pyo", ".part", ".lwae"}


class BuildError(Exception):
    """The zip cannot be built; the message is one sentence that says why."""


def addon_version(root: Path = ROOT) -> str:
    """The version in blender_manifest.toml (read without tomllib, which Python 3.9 lacks)."""
    manifest = root / "blender_lwae" / "blender_manifest.toml"
    if not manifest.is_file():
        raise BuildError(f"There is no {manifest}; run this in a complete checkout.")
    found = re.search(r'^version\s*=\s*"([^"]+)"', manifest.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise BuildError(f'{manifest} has no line version = "...".')
    return found.group(1)


def is_model(path: Path) -> bool:
    """Whether a file looks like a .lwae file: a zip with a header."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "header.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return False


def collect(model: Path, root: Path = ROOT) -> dict[str, Path]:
    """Names in the zip and the files that go there."""
    files = {}
    for source, prefix in ((root / "blender_lwae", ""), (root / "backend", "backend/")):
        for path in source.rglob("*"):
            inside = path.relative_to(source)
            hidden = any(part.startswith(".") or part in SKIPPED_FOLDERS for part in inside.parts)
            if path.is_file() and not hidden and path.suffix not in SKIPPED_SUFFIXES:
                files[prefix + inside.as_posix()] = path
    if (root / "LICENSE").is_file():
        files["LICENSE"] = root / "LICENSE"
    files[MODEL_NAME] = model
    return files


def write_zip(files: dict[str, Path], target: Path) -> None:
    """Write the zip beside its place and move it there, so that what is there is complete and fits.

    Raises:
        BuildError: when it is over MAX_BYTES; what was there stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted(files):
                info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                info.external_attr = 0o100644 << 16
                info.create_system = 3  # The same bytes on Windows.
                # A model is compressed already.
                info.compress_type = zipfile.ZIP_STORED if name.endswith(".lwae") else zipfile.ZIP_DEFLATED
                archive.writestr(info, files[name].read_bytes())
        size = beside.stat().st_size
        if size > MAX_BYTES:
            limit = MAX_BYTES / 1e6
            raise BuildError(f"The zip would have {size / 1e6:.1f} MB, over {limit:.0f} MB; use a smaller model.")
        os.replace(beside, target)
    finally:
        if beside.exists():
            beside.unlink()


def build(model: Path = DEFAULT_MODEL, out: Path = ROOT / "dist", root: Path = ROOT) -> Path:
    """Build the zip.

    Returns:
        Its path, out/blender_lwae-<version>.zip.

    Raises:
        BuildError: when the model or the manifest is missing, the model is none, or the zip is too big or cannot be
            written.
    """
    if not model.is_file():
        raise BuildError(f"There is no model {model}; train and export one, or name another with --model.")
    if not is_model(model):
        raise BuildError(f"{model} is no model; name a .lwae file that `python -m trainer export` wrote with --model.")
    target = out / f"blender_lwae-{addon_version(root)}.zip"
    try:
        write_zip(collect(model, root), target)
    except OSError as error:
        raise BuildError(f"Cannot write {target}: {error.strerror or error}.") from error
    return target


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the Blender extension zip.")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="the default model to put in (.lwae)")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip")
    options = parser.parse_args(arguments)
    try:
        target = build(options.model, options.out)
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    print(f"{target} ({target.stat().st_size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
