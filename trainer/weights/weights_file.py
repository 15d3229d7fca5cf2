# SPDX-License-Identifier: GPL-3.0-or-later
"""Local weights beside their data set: DATA/weights.npz."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np

from backend.arrays import UNREADABLE
from backend.errors import LwaeError
from backend.files import atomic_write
from trainer.datasets.npz_files import read_npz

NAME = "weights.npz"


def save_weights(data: Path, weights: np.ndarray, part_names: list[str], command: str | None = None) -> None:
    """Write weights float32 [K, N], the K part names and the command that made them into a data set folder."""
    arrays = {"weights": weights.astype(np.float32), "part_names": np.array(part_names, dtype=str)}
    if command is not None:  # In the same file: a kill cannot leave one command's weights beside another command.
        arrays["command"] = np.array(command)
    with atomic_write(Path(data) / NAME) as stream:
        np.savez_compressed(stream, **arrays)


def load_weights(data: Path) -> tuple[np.ndarray, list[str]]:
    """Weights float32 [K, N] and part names of a data set folder.

    Raises:
        LwaeError: when they have not been computed, or the file is damaged.
    """
    path = Path(data) / NAME
    if not path.is_file():
        raise LwaeError(f"{data} has no local weights yet; run `python -m trainer weights {data}` first.")
    try:
        arrays = read_npz(path, ("weights", "part_names"))
        weights, names = arrays["weights"], [str(name) for name in arrays["part_names"]]
        if not _are_weights(weights, names):
            raise ValueError("parts need different names, and numbers from 0 that add up to 1 at every vertex")
        return weights, names
    except UNREADABLE as error:
        raise LwaeError(f"{path} is damaged ({error}); run `python -m trainer weights {data}` again.") from error


def _are_weights(weights: np.ndarray, names: list[str]) -> bool:
    if weights.dtype.kind != "f" or weights.ndim != 2 or not 0 < len(weights) == len(set(names)) or not all(names):
        return False
    sums = weights.sum(axis=0, dtype=np.float64)
    return bool(weights.min(initial=0) >= 0 and weights.any(axis=1).all() and (np.abs(sums - 1) < 0.01).all())


def weights_command(data: Path) -> str | None:
    """The command that made the weights of a data set folder; None where nothing tells."""
    with contextlib.suppress(*UNREADABLE):
        return str(read_npz(Path(data) / NAME, ("command",))["command"])
    with contextlib.suppress(*UNREADABLE):  # older folders
        return str(json.loads((Path(data) / "weights.json").read_text(encoding="utf-8"))["command"])
    return None
