# SPDX-License-Identifier: GPL-3.0-or-later
"""Residual blocks of the `local` preset: where they stand and how they start.

One block per part, which may bend its own region, and one per pair of neighbours, which makes their border fit.
They start at zero, so that training starts from the closed form.
"""

from __future__ import annotations

import numpy as np

from .closed_form import weighted_basis

DEFAULTS = {
    "code_size": 64,
    "allocation": "variance",
    "mirror": True,
    "sigma_n": 0.03,
    "encoder_iterations": 8,
    "border_strength": 0.75,
    "refit": 4,
    "hidden": 128,
    "coefficients": 32,
    "borders": 16,
    "dropout": 0.2,
    "epochs": 40,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "weight_decay": 0.1,
    "cycle": 0.5,
    "leakage": 0.0,
    "seam": 0.16,
    "seed": 0,
}
LEAST_STEPS = 1080  # what these epochs are for 1,780 faces; fewer take as many, in more epochs,
ENOUGH_FACES = 500  # but the networks learn fewer than these by heart
# What runs did that were started before these options were there.
BEFORE = {"allocation": "equal", "mirror": False, "border_strength": 0.0, "refit": 0, "seam": 0.0}
PART_SUPPORT = 1e-2  # Least weight of a part where its block acts,
BORDER_SUPPORT = 2e-2  # and least product of two weights where theirs does.
BORDER_VERTICES = 12


def usual_epochs(faces: int, batch_size: int) -> int:
    """How many epochs, where nobody says: those of `DEFAULTS`, or more where these would be too few steps."""
    steps = LEAST_STEPS if faces >= ENOUGH_FACES else 0
    return max(DEFAULTS["epochs"], -(-steps // max(1, faces // batch_size)))


def residual_blocks(
    weights: np.ndarray,
    code_sizes: list[int],
    config: dict,
    residual: np.ndarray,
    rng: np.random.Generator,
    image: np.ndarray | None = None,
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Blocks and their first arrays.

    Args:
        weights: [K, N].
        config: hidden, coefficients (per block) and borders (how many pairs at most).
        residual: float32 [S, N, 3], what the closed form leaves of the training faces, mm.
        image: see `weighted_basis`.

    Returns:
        The list for header["network"]["residuals"], and the network arrays.
    """
    blocks, arrays = [], {}
    for parts, share, least in _places(weights, config["borders"]):
        index = len(blocks)
        vertices = np.flatnonzero(share > least).astype(np.int32)
        basis = weighted_basis(residual, vertices, share, config["coefficients"], image)
        size, hidden = sum(code_sizes[part] for part in parts), config["hidden"]
        bound = 1 / np.sqrt(size)
        arrays.update(
            {
                f"residual{index}/vertices": vertices,
                f"residual{index}/basis": basis.astype(np.float16),
                f"residual{index}/weight0": rng.uniform(-bound, bound, (hidden, size)).astype(np.float32),
                f"residual{index}/bias0": rng.uniform(-bound, bound, hidden).astype(np.float32),
                f"residual{index}/weight1": np.zeros((len(basis), hidden), np.float32),
                f"residual{index}/bias1": np.zeros(len(basis), np.float32),
                f"residual{index}/skip": np.zeros((len(basis), size), np.float32),
            }
        )
        blocks.append({"parts": parts})
    return blocks, arrays


def _places(weights: np.ndarray, borders: int):
    """Parts, share of each vertex and its least value, for every block."""
    count = len(weights)
    for k in range(count):
        yield [k], weights[k], PART_SUPPORT
    pairs = []
    for j in range(count):
        for k in range(j + 1, count):
            share = 4 * weights[j] * weights[k]
            if (share > 4 * BORDER_SUPPORT).sum() >= BORDER_VERTICES:
                pairs.append((-float(share.sum()), j, k, share))
    for _, j, k, share in sorted(pairs, key=lambda pair: pair[:3])[:borders]:
        yield [j, k], share, 4 * BORDER_SUPPORT
