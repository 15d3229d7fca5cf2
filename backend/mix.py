# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces made of several people's parts: who gives what, a shuffle of them, and what is left of the donors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .decoder import Decoder

OWN = -1  # In place of a donor's number: the face itself.


def main_donors(amounts: np.ndarray) -> np.ndarray:
    """Number of the donor that most of each part comes from, or `OWN`: int64 [K].

    Args:
        amounts: float [donors, K], of part k of donor j; what is left to 1 is the face's own.
    """
    shares = np.abs(np.concatenate([1 - amounts.sum(axis=0, keepdims=True), amounts]))
    return shares.argmax(axis=0) - 1


def kinship(amounts: np.ndarray) -> np.ndarray:
    """How far any two parts come from the same people, from 0 to 1: the cosine of their shares, float64 [K, K].

    Two parts of which everybody gives as much are one person's, whoever that would be.

    Args:
        amounts: as of `main_donors`.
    """
    shares = np.concatenate([1 - amounts.sum(axis=0, keepdims=True), amounts])
    shares = shares / np.linalg.norm(shares, axis=0)
    return np.clip(shares.T @ shares, 0, 1)


def shuffled(rng: np.random.Generator, donors: Sequence[int], parts: int) -> np.ndarray:
    """Which of the given donors each part comes from: int64 [parts].

    All of them give, and as many parts each as goes; who gives one more, and which parts, is drawn.
    """
    turns = [rng.permutation(donors) for _ in range(-(-parts // len(donors)))]
    return rng.permutation(np.concatenate(turns)[:parts])


def share_kept(decoder: Decoder, own: np.ndarray, mixed: np.ndarray, moved: np.ndarray) -> tuple[float, float]:
    """The price of moving a mixed face: how far its surface moved, and how much of the donors is left.

    Args:
        own: float32 [D], the code before donors were mixed in.
        mixed: the code with donors.
        moved: the code that the mix was moved to.

    Returns:
        Mean distance over the vertices, mm; and how much of the donors is left, 0 to 1: the mean over the parts that
        they changed of 1 - |1 - t| (too much counts as too little), with t the directional transfer
        <moved - own, mixed - own> / |mixed - own|^2 over the vertices where the part is strongest. Not a number when
        donors changed nothing.
    """
    model = decoder.model
    before, mix, after = (faces.astype(np.float64) for faces in decoder.decode(np.stack([own, mixed, moved])))
    core = model.weights.argmax(axis=0)
    kept = []
    for part in range(model.part_count):
        columns = model.part_slice(part)
        brought = (mix - before)[core == part]
        if not np.allclose(own[columns], mixed[columns], atol=1e-4) and brought.any():
            transfer = ((after - before)[core == part] * brought).sum() / (brought**2).sum()
            kept.append(max(0.0, 1 - abs(1 - transfer)))
    return float(np.linalg.norm(after - mix, axis=1).mean()), float(np.mean(kept)) if kept else float("nan")
