# SPDX-License-Identifier: GPL-3.0-or-later
"""The `local` preset in PyTorch, for training and for decoding in batches; `local_network` is its NumPy twin."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .borders import DIRECTIONS, border_columns, border_energies, border_pairs, border_strength
from .local_arrays import part_arrays, residual_arrays
from .local_network import encoder_matrices
from .model import FaceModel

GRADIENT_STEPS = 2  # of the encoder's iteration that gradients pass through.
NO_FLOAT64 = ("mps",)  # Kinds of devices; for these the processor computes what needs it.


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


class BorderShift(nn.Module):
    """Borders that give way to the more pronounced side; `borders` has the definition and the NumPy twin."""

    def __init__(self, model: FaceModel, parts: list[tuple[np.ndarray, np.ndarray]]):
        super().__init__()
        pairs = border_pairs(model)
        self.strength = border_strength(model)
        maps, floors = border_energies(model, parts)
        constants = {
            "maps": maps,
            "floors": floors,
            "reverse": np.array([pairs.index((j, k)) for k, j in pairs]),
            "columns": border_columns(model),
            "pair_of_column": np.repeat(np.arange(len(pairs)), [model.code_sizes[k] for k, _ in pairs]),
        }
        for part, (vertices, _) in enumerate(parts):
            own = [index for index, (k, _) in enumerate(pairs) if k == part]
            neighbours = [pairs[index][1] for index in own]
            constants[f"own{part}"] = np.array(own, dtype=np.int64)
            constants[f"weights{part}"] = model.weights[np.ix_(neighbours, vertices)].astype(np.float32)
        for name, constant in constants.items():
            self.register_buffer(name, torch.as_tensor(constant), persistent=False)

    def amounts(self, codes: torch.Tensor) -> torch.Tensor:
        """s of every pair (k, j): codes [B, D] to [B, pairs]."""
        energies = (codes @ self.maps).square().unflatten(1, (-1, DIRECTIONS)).sum(dim=2)
        others = energies[:, self.reverse]
        return self.strength * (energies - others) / (energies + others + self.floors)

    def factor(self, amounts: torch.Tensor, part: int) -> torch.Tensor:
        """1 + sum_j s_kj w_j on a part's own vertices, [B, n, 1]."""
        own = amounts.index_select(1, self.get_buffer(f"own{part}"))
        return (1 + own @ self.get_buffer(f"weights{part}"))[..., None]

    def rows(self, codes: torch.Tensor) -> torch.Tensor:
        """s_kj z_k of all pairs side by side, [B, sum of Z_k]."""
        # By index: a repetition with counts on the device would make the host wait for them.
        return codes[:, self.columns] * self.amounts(codes).index_select(1, self.pair_of_column)


class LocalNetwork(nn.Module):
    """The `local` preset; `local_network.LocalNumpy` says what it computes. Only the residual blocks learn."""

    def __init__(self, model: FaceModel, dropout: float = 0.0):
        super().__init__()
        config = model.header["network"]
        self.iterations = int(config["encoder_iterations"])
        self.part_slices = [model.part_slice(k) for k in range(model.part_count)]
        self.register_buffer("mean", torch.as_tensor(model.mean), persistent=False)
        mass = torch.as_tensor(model.network["mass"], dtype=torch.float64)
        self.register_buffer("mass", _bits(mass), persistent=False)
        names = "inverse_gram", "residual_codes", "shift_codes"
        for name, matrix in zip(names, encoder_matrices(model), strict=True):
            self.register_buffer(name, _bits(torch.as_tensor(matrix)), persistent=False)
        parts = [part_arrays(model, k) for k in range(model.part_count)]
        for k, (vertices, basis) in enumerate(parts):
            basis = torch.as_tensor(basis).reshape(len(basis), -1)
            self.register_buffer(f"basis{k}", basis, persistent=False)
            self.register_buffer(f"vertices{k}", torch.as_tensor(vertices).long(), persistent=False)
        self.shift = BorderShift(model, parts) if border_pairs(model) else None
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
        amounts = self.shift.amounts(codes) if self.shift else None
        for k, columns in enumerate(self.part_slices):
            term = (codes[:, columns] @ self.get_buffer(f"basis{k}")).reshape(len(codes), -1, 3)
            if self.shift:
                term = term * self.shift.factor(amounts, k)
            result.index_add_(1, self.get_buffer(f"vertices{k}"), term)
        for block in self.residuals:
            result.index_add_(1, block.vertices, block(codes))
        return result

    def encode(self, vertices: torch.Tensor) -> torch.Tensor:
        """Vertices [B, N, 3] in mm, in the model's frame, to codes [B, D]."""
        # In float64 as in NumPy: neighbouring bases are alike, so their Gram matrix is badly conditioned.
        exact = "cpu" if vertices.device.type in NO_FLOAT64 else vertices.device
        mass, inverse_gram = (bits.to(exact).view(torch.float64) for bits in (self.mass, self.inverse_gram))
        weighted = (vertices - self.mean).to(exact).double() * mass[:, None]
        projected = []
        for k in range(len(self.part_slices)):
            own = weighted.index_select(1, self.get_buffer(f"vertices{k}").to(exact)).flatten(1)
            projected.append(own @ self.get_buffer(f"basis{k}").to(exact).double().T)
        closed_form = (torch.cat(projected, dim=1) @ inverse_gram).to(vertices.dtype).to(vertices.device)
        iterations = self.iterations if len(self.residuals) or self.shift else 0
        codes = closed_form
        # Steps shrink what came before them, and so its gradient.
        with torch.no_grad():
            for _ in range(iterations - GRADIENT_STEPS):
                codes = self._step(closed_form, codes)
        for _ in range(min(iterations, GRADIENT_STEPS)):
            codes = self._step(closed_form, codes)
        return codes

    def _step(self, closed_form: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """One fixed-point step of the encoder."""
        if len(self.residuals):
            coefficients = torch.cat([block.coefficients(codes) for block in self.residuals], dim=1)
            closed_form = closed_form - coefficients @ self.residual_codes
        if self.shift:
            closed_form = closed_form - self.shift.rows(codes) @ self.shift_codes
        return closed_form

    def export_arrays(self) -> dict[str, np.ndarray]:
        """What training changed, by its names in `FaceModel.network`."""
        return {
            f"residual{index}/{name}": parameter.detach().cpu().numpy()
            for index, block in enumerate(self.residuals)
            for name, parameter in block.named_parameters()
        }


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """float64 as integers of the same bits, which go to every device; others as they are."""
    return tensor.view(torch.int64) if tensor.dtype == torch.float64 else tensor
