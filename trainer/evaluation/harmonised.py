# SPDX-License-Identifier: GPL-3.0-or-later
"""Mixes that `backend.harmonise` pulls towards real faces, each as parts with the same donor belong together there."""

from __future__ import annotations

import numpy as np

from backend.harmonise import Harmoniser


def main_face(donors: np.ndarray) -> tuple[int, int]:
    """The face that most parts come from, and how many of them, of donors [K]."""
    labels, counts = np.unique(donors, return_counts=True)
    return labels[counts.argmax()], counts.max()


def harmonised(
    harmoniser: Harmoniser, codes: np.ndarray, donors: np.ndarray, amount: float, holds: bool = False
) -> np.ndarray:
    """Codes of mixes, made plausible.

    Args:
        codes: float32 [n, D].
        donors: int [n, K], the table that they were mixed by.
        amount: from 0 to 1, see `Harmoniser`.
        holds: parts of other faces than the main one stay, and the rest fits to them.

    Returns:
        float32 [n, D].
    """
    result = np.empty_like(codes)
    patterns = np.array([[list(row).index(donor) for donor in row] for row in donors])
    for pattern in np.unique(patterns, axis=0):
        rows = (patterns == pattern).all(axis=1)
        held = np.flatnonzero(pattern != main_face(pattern)[0]) if holds else ()
        result[rows] = harmoniser(codes[rows], amount, list(pattern), held)
    return result
