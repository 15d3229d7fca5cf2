# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues of a Blender asset library: adding one to `blender_assets.cats.txt` without losing what others have there.

The file is Blender's own: UTF-8, a line `VERSION 1`, then a line `UUID:path/of/catalogue:simple name` each.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

from .errors import LwaeError
from .files import atomic_write

FILE_NAME = "blender_assets.cats.txt"
MAX_BYTES = 16 << 20
# Catalogues of the same path that we make are the same one on every computer.
NAMESPACE = uuid.UUID("6f2cbd6e-98b2-5a53-9e0c-2f7f3b7a8d11")
HEADER = """# This is an Asset Catalog Definition file for Blender.
#
# Empty lines and lines starting with `#` will be ignored.
# The first non-ignored line should be the version indicator.
# Other lines are of the format "UUID:catalog/path/for/assets:simple catalog name"

VERSION 1

"""
_LINE = re.compile(r"\s*([0-9a-fA-F-]{36}):([^:]*)(?::(.*))?")


def clean_path(path: str) -> str:
    """A catalogue path as Blender stores it: no colons, no empty steps, no spaces around the steps."""
    steps = (step.strip() for step in re.sub(r"[:\\\x00-\x1f]", "-", path).split("/"))
    return "/".join(step for step in steps if step)


def ensure_catalog(library: str | os.PathLike, path: str) -> str:
    """The UUID of a catalogue of a library, which is added if it is not there yet. All other lines stay byte for byte.

    A catalogue that was made here and then renamed in Blender keeps its UUID; a new one beside it gets another.

    Args:
        library: folder of the asset library.
        path: of the catalogue, steps separated by "/".

    Returns:
        The UUID; "" (no catalogue) for an empty path.

    Raises:
        LwaeError: when the file is not Blender's, cannot be read or written.
    """
    path, file = clean_path(path), Path(library) / FILE_NAME
    if not path:
        return ""
    text = _read(file)
    known = _catalogs(text, file)
    for identifier, (other, _) in known.items():
        if other == path:
            return identifier
    identifier = str(uuid.uuid5(NAMESPACE, path))
    if identifier in known:
        identifier = str(uuid.uuid4())
    ending = "" if text.endswith("\n") else "\n"
    with atomic_write(file, "w", encoding="utf-8", newline="") as stream:
        stream.write(f"{text}{ending}{identifier}:{path}:{path.replace('/', '-')}\n")
    return identifier


def _read(file: Path) -> str:
    try:
        if not file.exists():
            return HEADER
        with open(file, encoding="utf-8", newline="") as stream:
            text = stream.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise LwaeError(f"Cannot read the catalogues of the library in {file}: {reason}.") from error
    if len(text) > MAX_BYTES:
        raise LwaeError(f"{file} is too large for a list of catalogues.")
    return text if text.strip() else HEADER


def _catalogs(text: str, file: Path) -> dict[str, tuple[str, str]]:
    """Path and simple name by UUID."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or lines[0] != "VERSION 1":
        raise LwaeError(f"{file} has another version than Blender's catalogues of today; it was left as it is.")
    found = (_LINE.fullmatch(line) for line in lines[1:])
    return {match[1].lower(): (match[2].strip(), match[3] or "") for match in found if match}
