# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that a toy model made, for evaluations."""

from pathlib import Path

import numpy as np

from backend.model import FaceModel
from backend.numpy_decoder import NumpyDecoder
from trainer.datasets.dataset import Dataset, Template

TRAIN, TEST = 150, 40


def two_halves(mean: np.ndarray, count: int, noise: float) -> np.ndarray:
    """Faces [count, N, 3] of a ball [N, 3] whose upper and lower half vary on their own, smoothly; one rough mean."""
    rng = np.random.default_rng(0)
    upper = 1 / (1 + np.exp(-mean[:, 2] / 15))
    outwards = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    amounts = 5 * rng.normal(size=(count, 2))
    moved = (amounts @ np.stack([upper, 1 - upper]))[:, :, None] * outwards
    return mean + moved + noise * rng.normal(size=mean.shape)


def toy_dataset(model: FaceModel) -> Dataset:
    """190 faces of a model, whose prior becomes theirs.

    One underlying vector moves all parts, so that parts of one face belong together.
    """
    rng = np.random.default_rng(1)
    link = rng.normal(size=(6, model.code_size)) / np.sqrt(6)
    codes = rng.normal(size=(TRAIN + TEST, 6)) @ link + 0.05 * rng.normal(size=(TRAIN + TEST, model.code_size))
    vertices = NumpyDecoder(model).decode(codes.astype(np.float32))
    model.prior = type(model.prior)(np.zeros(model.code_size, np.float32), link.T.astype(np.float32), 0.05**2)
    template = Template(model.polygon_sizes, model.polygon_vertices, model.uv, model.polygon_material)
    order = np.arange(TRAIN + TEST)
    return Dataset(
        Path("toy"), "toy", "CC0-1.0", "", vertices, template, order[:TRAIN], order[TRAIN:], [], np.zeros((0, 0))
    )
