# SPDX-License-Identifier: GPL-3.0-or-later
"""Residual blocks that treat left and right alike: for the code of a mirrored face they give the mirrored field.

Mirroring a face changes the sign of the codes of odd basis vectors, and of a block's coefficients of odd ones. A block
commutes with that when its perceptron's hidden units come in pairs, one seeing what the other sees of the mirror image.
Averaging a block's parameters with those of its mirrored self, unit by unit with its partner's, makes it so exactly
(group averaging; Cohen & Welling 2016, "Group Equivariant Convolutional Networks", make layers so for more groups) and
costs nothing when a face is decoded.
"""

from __future__ import annotations

import numpy as np
import torch

from backend.local_arrays import part_arrays, residual_arrays
from backend.model import FaceModel

from .mirror import mirror_images

PURE = 0.999  # A field is even or odd when it agrees so far with its mirror image, or with the opposite.


def parity(vertices: np.ndarray, basis: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """1 for each even field and -1 for each odd one, float32 [Z]; None where a field is neither.

    Args:
        vertices: int [n], sorted.
        basis: [Z, n, 3] mm.
        image: int [N], the mirror image of each vertex.
    """
    place = np.searchsorted(vertices, image[vertices])
    if (place == len(vertices)).any() or not np.array_equal(vertices[place], image[vertices]):
        return None
    basis = basis.astype(np.float32)
    agreement = np.einsum("znc,znc->z", basis, mirror_images(basis, place))
    squares = np.einsum("znc,znc->z", basis, basis)
    clear = np.abs(agreement) >= PURE * squares  # a field of zeros may count as either
    return np.where(agreement < 0, np.float32(-1), np.float32(1)) if clear.all() else None


class Equivariance:
    """Makes the blocks of a `LocalNetwork` equivariant, in place; called after every step of the optimiser.

    Blocks that are not their own mirror image, such as that of a left ear, stay as they are.
    """

    def __init__(self, network: torch.nn.Module, model: FaceModel, image: np.ndarray):
        """
        Args:
            network: of this model.
            image: int [N], the mirror image of each vertex.
        """
        device = network.mean.device
        of_parts = [parity(*part_arrays(model, k), image) for k in range(model.part_count)]
        self._blocks = []
        for index, block in enumerate(network.residuals):
            arrays = residual_arrays(model, index)
            made = parity(arrays["vertices"], arrays["basis"], image)
            seen = [of_parts[part] for part in model.header["network"]["residuals"][index]["parts"]]
            if made is not None and all(part is not None for part in seen):
                signs = torch.as_tensor(np.concatenate(seen)), torch.as_tensor(made)
                self._blocks.append((block, *(sign.to(device) for sign in signs)))
        self()

    @torch.no_grad()
    def __call__(self) -> None:
        for block, seen, made in self._blocks:
            # Unit i is the partner of the i-th last; one in the middle is its own.
            block.weight0.add_(block.weight0.flip(0) * seen).mul_(0.5)
            block.bias0.add_(block.bias0.flip(0)).mul_(0.5)
            block.weight1.add_(block.weight1.flip(1) * made[:, None]).mul_(0.5)
            block.bias1.mul_((1 + made) / 2)
            block.skip.mul_((1 + made[:, None] * seen) / 2)
