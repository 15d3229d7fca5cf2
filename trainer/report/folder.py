# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's folder: it appears whole, and an old report goes only once the new one is complete."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from backend.errors import LwaeError
from backend.files import atomic_folder, runs

PAGE = "index.html"
LEFT_BY_FILE_MANAGERS = {".DS_Store", "Thumbs.db", "desktop.ini"}
GENERATOR = '<meta name="generator" content="blender_lwae trainer report">'


@contextlib.contextmanager
def report_folder(path: Path) -> Iterator[Path]:
    """A folder to write into that becomes `path`, in the place of an older report.

    Yields a folder beside `path`, which is removed when anything fails.

    Raises:
        LwaeError: when something else than a report is there, now or at the end, or the disk is full.
    """
    path = path.resolve()  # What a link points to is replaced, not the link.
    require_replaceable(path)
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    try:
        with atomic_folder(new) as folder:
            yield folder
        require_replaceable(path)
        _exchange(new, path, old)
        _remove_leftovers(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what reports that were killed left beside this one; on Windows nobody knows which those are."""
    ours = re.compile(rf"\.{{1,2}}{re.escape(path.name)}\.(\d+)\.(?:new|old)(?:\.\d+\.part)?")
    for beside in path.parent.iterdir() if os.name == "posix" else ():
        found = ours.fullmatch(beside.name)
        if found and not runs(found[1]):
            shutil.rmtree(beside, ignore_errors=True)


def require_replaceable(path: Path) -> None:
    """LwaeError unless nothing is at `path`, or an empty folder, or a report and nothing else."""
    if not path.exists():
        return
    if not path.is_dir():
        raise LwaeError(f"{path} is a file; choose another folder for the report.")
    entries = {entry.name for entry in path.iterdir()}
    foreign = sorted(entries - _files_of_report(path) - LEFT_BY_FILE_MANAGERS)
    if foreign:
        raise LwaeError(
            f"{path} holds {foreign[0]}, which no report wrote, and would be replaced; "
            "move it away or choose another folder with --out."
        )


def _files_of_report(path: Path) -> set[str]:
    """The page and the figures that it shows; empty when there is no page of ours."""
    try:
        page = (path / PAGE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return set()
    return {PAGE, *re.findall(r'<img src="([^"]+)"', page)} if GENERATOR in page else set()


def _exchange(new: Path, path: Path, old: Path) -> None:
    try:
        if path.exists():
            path.rename(old)
        new.rename(path)
    except OSError as error:
        raise LwaeError(f"Cannot write {path}: {error.strerror or error}; choose another folder with --out.") from error
    finally:
        if old.exists() and not path.exists():  # Stopped in between: the old report comes back.
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)
