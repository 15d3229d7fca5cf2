# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of `.lwae` files that people put there: what each one is, by its header alone, and putting one in.

Nothing in such a folder is trusted: what a header says is shortened, stripped of control characters and never used
to find a file.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from .errors import LwaeError
from .files import atomic_write
from .lwae_file import load_model, read_header, read_shape

SUFFIX = ".lwae"
MAX_TEXT = 200


@dataclass(frozen=True)
class ModelFacts:
    """What the header of a model says, fit to be shown.

    Attributes:
        hash: FaceModel.hash as the header claims it, empty in files from before it did; `load_model` computes the real
            one.
        metrics: numbers by name (see trainer/evaluation), those that are finite.
    """

    name: str
    preset: str
    parts: tuple[str, ...]
    vertex_count: int
    code_size: int
    control_count: int
    licence: str
    provenance: str
    hash: str
    metrics: dict[str, float] = field(default_factory=dict)


def _text(value: object) -> str:
    """One short line of printable characters."""
    text = "".join(c if c.isprintable() else " " for c in str(value)[: 4 * MAX_TEXT]) if value else ""
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}\u2026"


def read_facts(path: str | os.PathLike) -> ModelFacts:
    """What a model file says of itself; its arrays are not read.

    Raises:
        LwaeError: when the file is missing, damaged, of a newer format, or no model.
    """
    path = Path(path)
    header, shape = read_header(path), read_shape(path, "mean")
    parts, sizes, controls = (header.get(name) for name in ("parts", "code_sizes", "controls"))
    lists = all(isinstance(value, list) for value in (parts, sizes, controls))
    if not lists or not parts or not all(type(size) is int for size in sizes) or len(shape) != 2:
        raise LwaeError(f"{path.name} is not a usable model: its header does not list parts. Export it again.")
    metrics = header.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    return ModelFacts(
        name=_text(header.get("name")) or path.stem,
        preset=_text(header.get("preset")),
        parts=tuple(_text(part) for part in parts),
        vertex_count=shape[0],
        code_size=sum(sizes),
        control_count=len(controls),
        licence=_text(header.get("licence")),
        provenance=_text(header.get("provenance")),
        hash=_text(header.get("hash")),
        metrics={
            str(name): float(value)
            for name, value in metrics.items()
            if type(value) in (int, float) and abs(value) < 1e9  # NaN compares false.
        },
    )


def model_files(folder: str | os.PathLike) -> list[Path]:
    """The model files directly in a folder, by name; none when there is no such folder.

    Raises:
        LwaeError: when the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [
                Path(entry.path)
                for entry in entries
                if entry.name.lower().endswith(SUFFIX) and not entry.name.startswith(".") and entry.is_file()
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LwaeError(f"Cannot read the folder {folder}: {error.strerror or error}; choose another.") from error
    return sorted(found, key=lambda path: (path.name.lower(), path.name))


def install_model(source: str | os.PathLike, folder: str | os.PathLike, overwrite: bool = False) -> Path:
    """Check a model file and copy it into a folder, where it appears complete or not at all.

    Args:
        overwrite: replace another file of the same name.

    Returns:
        The copy; also when the same file was there already.

    Raises:
        LwaeError: when it is no usable model, another file has its name, or the folder cannot be written.
    """
    source, folder = Path(source), Path(folder)
    load_model(source)
    target = folder / (source.stem.lstrip(".") + SUFFIX)
    try:
        if target.exists():
            if _same_bytes(source, target):
                return target
            if not overwrite:
                raise LwaeError(
                    f"Another model is installed as {target.name}; rename your file, or allow to replace that one."
                )
        folder.mkdir(parents=True, exist_ok=True)
        reading = open(source, "rb")
    except OSError as error:
        raise LwaeError(f"Cannot copy {source.name} to {folder}: {error.strerror or error}.") from error
    with reading, atomic_write(target) as stream:
        shutil.copyfileobj(reading, stream)
    return target


def _same_bytes(first: Path, second: Path) -> bool:
    try:
        if first.samefile(second):
            return True
        if first.stat().st_size != second.stat().st_size:
            return False
        with open(first, "rb") as a, open(second, "rb") as b:
            while chunk := a.read(1 << 20):
                if chunk != b.read(1 << 20):
                    return False
    except OSError:
        return False
    return True
