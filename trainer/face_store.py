# SPDX-License-Identifier: GPL-3.0-or-later
"""Where training faces are read from: the device's memory if they fit, else the data set's file."""

from __future__ import annotations

import numpy as np
import torch

from backend.symmetry import SIGNS

from .mirror import mirror_images

SHARE = 0.5  # of a GPU's free memory that faces may take
BLOCK_FACES = 64


class FaceStore:
    """Batches of training faces.

    Attributes:
        resident: whether all of them are on the device.
    """

    def __init__(
        self,
        vertices: np.ndarray,
        train: np.ndarray,
        device: str,
        resident: bool | None = None,
        image: np.ndarray | None = None,
    ):
        """
        Args:
            vertices: float32 [S, N, 3] mm, memory-mapped.
            train: which of them may be asked for, int [n].
            resident: keep them on the device; None for the rule of `fits`.
            image: int [N], the mirror image of each vertex, where mirrored faces will be asked for.
        """
        self._vertices, self._device, self._image = vertices, torch.device(device), image
        size = len(train) * int(np.prod(vertices.shape[1:])) * 4
        self.resident = fits(size, self._device) if resident is None else resident
        if not self.resident:
            return
        if image is not None:
            self._places, self._signs = (torch.as_tensor(array, device=self._device) for array in (image, SIGNS))
        self._row = np.full(len(vertices), -1)
        self._row[train] = np.arange(len(train))
        self._faces = torch.empty((len(train), *vertices.shape[1:]), device=self._device)
        for start in range(0, len(train), BLOCK_FACES):
            block = np.ascontiguousarray(vertices[train[start : start + BLOCK_FACES]])
            self._faces[start : start + len(block)].copy_(torch.from_numpy(block))

    def load(self, chosen: np.ndarray, into: torch.Tensor, turned: np.ndarray | None = None) -> None:
        """Write the faces of these numbers, int [B], into a tensor [B, N, 3] of the device, without waiting for it.

        Args:
            turned: bool [B], which of them are to be mirrored.
        """
        if self.resident:
            rows = self._pinned(self._row[chosen]).to(self._device, non_blocking=True)
            torch.index_select(self._faces, 0, rows, out=into)
            if turned is not None:
                flags = self._pinned(turned).to(self._device, non_blocking=True)
                into.copy_(torch.where(flags[:, None, None], into[:, self._places] * self._signs, into))
            return
        faces = np.empty((len(chosen), *self._vertices.shape[1:]), self._vertices.dtype)
        for row in np.argsort(chosen):  # The file from front to back.
            faces[row] = self._vertices[chosen[row]]
        if turned is not None:
            faces[turned] = mirror_images(faces[turned], self._image)
        into.copy_(self._pinned(faces), non_blocking=True)

    def _pinned(self, array: np.ndarray) -> torch.Tensor:
        """An array where a GPU can fetch it by itself; PyTorch keeps it until the copy is done."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self._device.type == "cuda" else tensor


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes of faces may stay on a device: at most half of a GPU's free memory, none on others."""
    return device.type == "cuda" and size <= SHARE * torch.cuda.mem_get_info(device)[0]
