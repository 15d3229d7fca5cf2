# SPDX-License-Identifier: GPL-3.0-or-later
"""What is fitted to the codes of the training faces once a network stands: the prior and the controls."""

from __future__ import annotations

import dataclasses

import numpy as np

from backend.decoder import Decoder
from backend.errors import LwaeError
from backend.model import FARTHEST, FaceModel
from backend.numpy_decoder import NumpyDecoder
from backend.prior import Prior
from backend.torch_decoder import TorchDecoder

from .controls import fit_controls
from .datasets.dataset import Dataset
from .mirror import mirror_images
from .whole_controls import fit_whole_controls

BLOCK = 64
KEPT_VARIANCE = 0.9999


def fit_latent(model: FaceModel, dataset: Dataset, image: np.ndarray | None = None) -> FaceModel:
    """The model with prior and controls of the training faces' codes; LwaeError if these are not finite.

    Args:
        image: int [N], the mirror image of each vertex, if mirrored faces are to count too.
    """
    # On CPU PyTorch runs the `paper` network 4 to 6 times as fast as NumPy; of the two `local` ones NumPy's encoder is
    # the more exact.
    decoder = TorchDecoder(model) if model.preset == "paper" else NumpyDecoder(model)
    blown_up = "The trained network gives no faces; train again with a smaller learning_rate."
    try:
        codes = training_codes(decoder, dataset, image)
    except LwaeError as error:  # NumPy's encoder says itself that it finds none.
        raise LwaeError(blown_up) from error
    if not (np.isfinite(codes).all() and np.abs(decoder.decode(codes[:BLOCK])).max() < FARTHEST):
        raise LwaeError(blown_up)
    controls = fit_controls(decoder, codes)
    if dataset.label_names:  # A face and its mirror image have the same labels.
        even = codes.reshape(-1, len(dataset.train), codes.shape[1]).mean(axis=0)
        controls += fit_whole_controls(decoder, even, dataset.label_names, dataset.labels[dataset.train])
    return dataclasses.replace(model, prior=fit_prior(codes), controls=controls)


def training_codes(decoder: Decoder, dataset: Dataset, image: np.ndarray | None = None) -> np.ndarray:
    """Codes of the training faces, float32 [S, D]; with `image`, those of their mirror images behind them, [2 S, D]."""
    images = [None] if image is None else [None, image]
    return np.concatenate([encode_faces(decoder, dataset.vertices, dataset.train, one) for one in images])


def encode_faces(
    decoder: Decoder, vertices: np.ndarray, indices: np.ndarray, image: np.ndarray | None = None
) -> np.ndarray:
    """Codes float32 [len(indices), D] of some faces of a (memory-mapped) set; with `image`, of their mirror images."""
    codes = []
    for start in range(0, len(indices), BLOCK):
        faces = vertices[indices[start : start + BLOCK]]
        codes.append(decoder.encode(faces if image is None else mirror_images(faces, image)))
    return np.concatenate(codes)


def fit_prior(codes: np.ndarray) -> Prior:
    """Joint Gaussian of codes [S, D]: the principal axes that hold 99.99 % of the variance, plus tau I.

    tau is the mean variance of the other directions (probabilistic PCA, Tipping & Bishop 1999).

    Raises:
        LwaeError: when a code is not finite, or codes are too large for a model file.
    """
    if not np.isfinite(codes).all():
        raise LwaeError("The codes are not finite: training diverged; start a new run with a smaller learning_rate.")
    mean = codes.mean(axis=0, dtype=np.float64)
    _, deviations, axes = np.linalg.svd((codes - mean) / np.sqrt(max(1, len(codes) - 1)), full_matrices=False)
    variances = deviations**2
    kept = min(len(codes) - 1, 1 + int(np.searchsorted(np.cumsum(variances), KEPT_VARIANCE * variances.sum())))
    rest = variances[kept:].sum()
    tau = max(rest / max(1, codes.shape[1] - kept), 1e-6)
    factors = axes[:kept].T * np.sqrt(np.maximum(variances[:kept] - tau, 0))
    if np.abs(factors).max(initial=0.0) > np.finfo(np.float16).max:  # as which files hold them
        raise LwaeError(
            "The training faces have codes of thousands, as where parts overlap everywhere; make other weights with "
            "`python -m trainer weights`."
        )
    return Prior(mean.astype(np.float32), factors.astype(np.float16).astype(np.float32), float(tau))
