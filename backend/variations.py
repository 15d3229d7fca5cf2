# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces like a given one: the same person's likely relatives, not noise on its code.

A variation keeps a share of what makes the face different from the average, and draws the rest anew from the prior:

    z' = m + a (z - m) + sqrt(1 - a^2) (draw - m),    draw ~ prior

This is the autoregressive move of Neal (1999, "Regression and classification using Gaussian process priors"), also
known as preconditioned Crank-Nicolson (Cotter et al. 2013): it leaves the prior as it is, so that variations of a
likely face are as likely, however many times they are varied. Where parts are locked, m and the prior are those of the
free parts given the locked ones, as for a random face with locked parts.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .controls import readouts
from .model import FaceModel
from .synthesis import LOOSENESS, face_rng

COUNT = 8
MAX_DIFFERENCE = 1.0


def vary(
    model: FaceModel,
    code: np.ndarray,
    parts: Iterable[int],
    seed: int,
    difference: float,
    kept: np.ndarray | None = None,
) -> np.ndarray:
    """A face like another one; the same arguments give the same face.

    Args:
        code: float32 [D].
        parts: numbers of the parts that may change.
        seed: not negative.
        difference: how far from the face, as a share of how much two random people differ (root mean square): 0 is
            the face itself, 1 somebody else.
        kept: bool [W], which controls of the whole face (age, ...) the new face shows just as this one does.

    Returns:
        A new code, float32 [D]; the other parts are copied exactly.
    """
    code = np.asarray(code, dtype=np.float32)
    parts = list(parts)
    free = model.part_columns(parts)
    difference = min(max(float(difference), 0.0), MAX_DIFFERENCE)
    if not free.any() or difference == 0:
        return code.copy()
    # Of E|z' - z|^2 = 2 (1 - a) times the variance, where strangers have 2 times the variance.
    share = 1 - difference**2
    draw = model.prior.sample_given(code, free, face_rng(seed, 0), LOOSENESS)[free]
    mean = model.prior.mean_given(code, free, LOOSENESS)
    result = code.copy()
    result[free] = mean + share * (code[free] - mean) + np.sqrt(1 - share**2) * (draw - mean)
    if kept is None or not kept.any():
        return result
    return with_traits(model, result, code, parts, kept)


def with_traits(
    model: FaceModel, changed: np.ndarray, code: np.ndarray, parts: Iterable[int], kept: np.ndarray
) -> np.ndarray:
    """A changed code [D], changed further as little as people ask so that some traits of the whole face show as before.

    Args:
        code: float32 [D], which shows them.
        parts: numbers of the parts that may change, at least one.
        kept: bool [W], which controls of the whole face.
    """
    return model.prior.with_readings(changed, code, readouts(model)[kept], model.part_columns(parts), LOOSENESS)
