# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder for batches and GPUs. Importing this module imports PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from .decoder import checked_batch
from .errors import LwaeError
from .model import FaceModel
from .network import PaperNetwork
from .torch_local import LocalNetwork


def torch_network(model: FaceModel, dropout: float = 0.0) -> torch.nn.Module:
    """The network of a model as a torch module with `encode` and `decode`.

    Raises:
        LwaeError: when the preset is unknown.
    """
    if model.preset == "local":
        return LocalNetwork(model, dropout)
    if model.preset == "paper":
        return PaperNetwork.from_arrays(model.network, model.header["network"])
    raise LwaeError(f"This version cannot run the preset {model.preset!r}; please update it.")


class TorchDecoder:
    """Decodes and encodes on one device; NumPy arrays in and out, equal to `NumpyDecoder` to 1e-4 mm."""

    def __init__(self, model: FaceModel, device: str = "cpu"):
        self.model = model
        self.device = torch.device(device)
        self._network = torch_network(model).to(self.device).eval()

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes float32 [B, D] to vertices float32 [B, N, 3] in mm."""
        batch = self._tensor(codes, "codes")
        if not len(batch):  # Which layers of the preset `paper` refuse.
            return np.zeros((0, self.model.vertex_count, 3), dtype=np.float32)
        return self._network.decode(batch).cpu().numpy()

    @torch.inference_mode()
    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm, in the model's frame, to codes float32 [B, D]."""
        batch = self._tensor(vertices, "vertices")
        if not len(batch):
            return np.zeros((0, self.model.code_size), dtype=np.float32)
        return self._network.encode(batch).cpu().numpy()

    def _tensor(self, batch: np.ndarray, what: str) -> torch.Tensor:
        return torch.as_tensor(checked_batch(self.model, batch, what), device=self.device)
