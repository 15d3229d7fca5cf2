# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations for tests."""

import numpy as np


def random_rotation(seed: int) -> np.ndarray:
    """Any rotation, all alike likely, float64 [3, 3]."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))
