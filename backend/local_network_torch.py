# SPDX-License-Identifier: GPL-3.0-or-later
"""The `local` preset in PyTorch, for training and for the TorchDecoder; `local_network` is the same in NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .local_network import encoder_matrices, part_arrays, residual_arrays
from .model import FaceModel


class ResidualBlock(nn.Module):
    """Coefficients of a local basis from the codes of one or two parts: a perceptron beside a linear map."""

    def __init__(self, arrays: dict[str, np.ndarray], columns: np.ndarray, dropout: float):
        super().__init__()
        self.register_buffer("columns", torch.as_tensor(columns, dtype=torch.long), persistent=False)
        self.register_buffer("vertices", torch.as_tensor(arrays["vertices"], dtype=torch.long), persistent=False)
        basis = torch.as_tensor(arrays["basis"].astype(np.float32))
        self.register_buffer("basis", basis.reshape(len(basis), -1), persistent=False)
        for name in ("weight0", "bias0", "weight1", "bias1", "skip"):
            setattr(self, name, nn.Parameter(torch.as_tensor(arrays[name].astype(np.float32))))
        self.dropout = nn.Dropout(dropout)

    def coefficients(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes [B, D] to coefficients [B, C] of the block's basis."""
        own = codes.index_select(1, self.columns)
        hidden = self.dropout(functional.silu(functional.linear(own, self.weight0, self.bias0)))
        return functional.linear(hidden, self.weight1, self.bias1) + functional.linear(own, self.skip)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes [B, D] to displacements [B, n, 3] in mm of the block's own vertices."""
        return (self.coefficients(codes) @ self.basis).reshape(len(codes), -1, 3)


class LocalNetwork(nn.Module):
    """The `local` preset; `local_network.LocalNumpy` says what it computes. Only the residual blocks learn."""

    def __init__(self, model: FaceModel, dropout: float = 0.0):
        super().__init__()
        config = model.header["network"]
        self.iterations = int(config["encoder_iterations"])
        self.part_slices = [model.part_slice(k) for k in range(model.part_count)]
        self.register_buffer("mean", torch.as_tensor(model.mean), persistent=False)
        self.register_buffer("mass", torch.as_tensor(model.network["mass"], dtype=torch.float64), persistent=False)
        inverse_gram, residual_codes = encoder_matrices(model)
        self.register_buffer("inverse_gram", torch.as_tensor(inverse_gram), persistent=False)
        self.register_buffer("residual_codes", torch.as_tensor(residual_codes), persistent=False)
        for k in range(model.part_count):
            vertices, basis = part_arrays(model, k)
            basis = torch.as_tensor(basis).reshape(len(basis), -1)
            self.register_buffer(f"basis{k}", basis, persistent=False)
            self.register_buffer(f"vertices{k}", torch.as_tensor(vertices).long(), persistent=False)
        columns = np.arange(model.code_size)
        self.residuals = nn.ModuleList(
            ResidualBlock(
                residual_arrays(model, index),
                np.concatenate([columns[model.part_slice(part)] for part in block["parts"]]),
                dropout,
            )
            for index, block in enumerate(config["residuals"])
        )

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes [B, D] to vertices [B, N, 3] in mm."""
        result = self.mean.repeat(len(codes), 1, 1)
        for k, columns in enumerate(self.part_slices):
            term = (codes[:, columns] @ self.get_buffer(f"basis{k}")).reshape(len(codes), -1, 3)
            result.index_add_(1, self.get_buffer(f"vertices{k}"), term)
        for block in self.residuals:
            result.index_add_(1, block.vertices, block(codes))
        return result

    def encode(self, vertices: torch.Tensor) -> torch.Tensor:
        """Vertices [B, N, 3] in mm, in the model's frame, to codes [B, D]."""
        # In float64 as in NumPy: neighbouring bases are alike, so their Gram matrix is badly conditioned.
        weighted = (vertices - self.mean).double() * self.mass[:, None]
        projected = []
        for k in range(len(self.part_slices)):
            own = weighted.index_select(1, self.get_buffer(f"vertices{k}")).flatten(1)
            projected.append(own @ self.get_buffer(f"basis{k}").double().T)
        closed_form = (torch.cat(projected, dim=1) @ self.inverse_gram).to(vertices.dtype)
        codes = closed_form
        if len(self.residuals):
            for _ in range(self.iterations):
                coefficients = torch.cat([block.coefficients(codes) for block in self.residuals], dim=1)
                codes = closed_form - coefficients @ self.residual_codes
        return codes

    def export_arrays(self) -> dict[str, np.ndarray]:
        """What training changed, by its names in `FaceModel.network`."""
        return {
            f"residual{index}/{name}": parameter.detach().cpu().numpy()
            for index, block in enumerate(self.residuals)
            for name, parameter in block.named_parameters()
        }
