# SPDX-License-Identifier: GPL-3.0-or-later
"""The npz files of a data set folder, which may be damaged."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Some arrays of an npz, never Python objects. Not by `np.load`, which gives bytes for what is no array.

    Raises:
        One of `backend.arrays.UNREADABLE`: when the file is damaged, or has no such array.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as stream:
                found[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return found
