# SPDX-License-Identifier: GPL-3.0-or-later
"""The `paper` preset in PyTorch, for training and for decoding in batches: Chebyshev layers and `PaperNetwork`.

Vertex features are [N, B, C] between layers: vertices first, so that a sparse product sees one
dense [N, B C] matrix and a matrix product one [N B, C] matrix, without re-packing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .chebyshev import SparseRows
from .paper_network import PaperArrays, PaperConfig, decoder_channels, encoder_channels
from .torch_sparse import SparseMatrix

# How many features of one level are worked on at a time on CPU, so that they stay in the processor's cache: 2 MB.
BLOCK_FEATURES = 1 << 19


def _polynomials(x: torch.Tensor, laplacian: SparseMatrix, order: int):
    """T_0 x ... T_order-1 x of x [N, B, C], each [N B, C], one after the other: three are alive at most."""
    rows, columns = (-1, x.shape[2]), (len(x), -1)
    before, current = None, x.reshape(columns)
    yield current.view(rows)
    for k in range(1, order):
        # T_0 is x itself, and the caller's; who asks for the next one is done with those before.
        following = laplacian.product(current, double=k > 1, minus=before, overwrite=k > 2)
        before, current = current, following
        yield current.view(rows)


def _clenshaw(x: torch.Tensor, laplacian: SparseMatrix, weight: torch.Tensor) -> torch.Tensor:
    """sum_k T_k x W_k of x [N, B, C_in] by products with the C_out output channels, [N B, C_out]."""
    order, inputs, outputs = weight.shape
    # All orders in one product: with few output channels it takes hardly longer than a single one.
    fused = x.reshape(-1, inputs) @ weight.transpose(0, 1).reshape(inputs, -1)
    *terms, result = fused.view(-1, order, outputs).unbind(dim=1)
    after = None
    for k in range(order - 2, -1, -1):
        term = laplacian.product(result.reshape(len(x), -1), double=k > 0).view(-1, outputs)
        term += terms[k]
        if after is not None:
            term -= after
        after, result = result, term
    return result


class _Chebyshev(torch.autograd.Function):
    """sum_k T_k(L~) x W_k + b. Keeps x alone for the gradient: since L~ is symmetric, so is every T_k(L~)."""

    @staticmethod
    def forward(ctx, x, weight, bias, laplacian):
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.laplacian = laplacian
        order, inputs, outputs = weight.shape
        result = x.new_empty(*x.shape[:2], outputs)  # not a view: an activation may work in place on it
        flat = result.view(-1, outputs)
        if outputs < inputs:
            torch.add(_clenshaw(x, laplacian, weight), bias, out=flat)
        else:
            for k, term in enumerate(_polynomials(x, laplacian, order)):
                torch.addmm(flat if k else bias, term, weight[k], out=flat)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        order, inputs, outputs = weight.shape
        of_x = None
        gradient = gradient.contiguous()
        flat_x, flat_gradient = x.view(-1, inputs), gradient.view(-1, outputs)
        # Narrow^T wide is much the faster order of the two; the other one is its transpose.
        if inputs < outputs:
            of_weight = torch.empty_like(weight)
            for term, product in zip(_polynomials(x, ctx.laplacian, order), of_weight, strict=True):
                torch.mm(term.t(), flat_gradient, out=product)
            if ctx.needs_input_grad[0]:
                of_x = _clenshaw(gradient, ctx.laplacian, weight.transpose(1, 2)).view(x.shape)
        else:
            of_weight = weight.new_empty(order, outputs, inputs)
            for k, term in enumerate(_polynomials(gradient, ctx.laplacian, order)):
                torch.mm(term.t(), flat_x, out=of_weight[k])
                if ctx.needs_input_grad[0]:
                    of_x = term @ weight[0].t() if of_x is None else of_x.addmm_(term, weight[k].t())
            of_weight = of_weight.transpose(1, 2)
            of_x = of_x if of_x is None else of_x.view(x.shape)
        return of_x, of_weight, flat_gradient.sum(dim=0), None


class ChebConv(nn.Module):
    """Chebyshev graph convolution on one shared graph, as `torch_geometric.nn.ChebConv` defines it.

    Source: Defferrard, Bresson & Vandergheynst 2016. Forward propagates the narrower of input and output; the
    gradient needs one more recurrence and stores no intermediate.

    Attributes:
        weight: [order, C_in, C_out]; bias: [C_out].
    """

    def __init__(self, inputs: int, outputs: int, order: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(order, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight.data.view(order * inputs, outputs))

    def forward(self, x: torch.Tensor, laplacian: SparseMatrix) -> torch.Tensor:
        """x [N, B, C_in] to [N, B, C_out]; the laplacian L~ [N, N] must be symmetric with lambda_max = 2."""
        return _Chebyshev.apply(x, self.weight, self.bias, laplacian)


class Dense(nn.Module):
    """L fully connected layers side by side.

    Attributes:
        weight: [L, inputs, outputs]; bias: [L, outputs].
    """

    def __init__(self, inputs: int, outputs: int, layers: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layers, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(layers, outputs))
        for matrix in self.weight.data:
            nn.init.xavier_uniform_(matrix)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [K, B, inputs] to [K, B, outputs]; K = L, or L = 1 and all K share the layer."""
        return torch.matmul(x, self.weight) + self.bias[:, None]


class PaperNetwork(nn.Module):
    """The `paper` preset; `paper_network` has its definition, its sources and its NumPy twin."""

    def __init__(
        self,
        config: PaperConfig,
        *,
        mean: np.ndarray,
        std: np.ndarray,
        gate: np.ndarray,
        laplacians: list[SparseRows],
        down: list[SparseRows],
        up: list[SparseRows],
    ):
        """
        Args:
            mean, std: [N, 3] mm, of the training faces only.
            gate: [K, N_L], part weights at the coarsest level, a partition of unity.
            laplacians, down, up: the hierarchy, finest level first; `laplacians` without the coarsest level's.
        """
        super().__init__()
        self._config = config
        coarse, width = gate.shape[1], config.filters[-1]
        for name, array in (("mean", mean), ("std", std), ("gate", gate)):
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32))
        self.laplacians = nn.ModuleList(SparseMatrix(matrix, symmetric=True) for matrix in laplacians)
        self.down = nn.ModuleList(SparseMatrix(matrix) for matrix in down)
        self.up = nn.ModuleList(SparseMatrix(matrix) for matrix in up)
        self.activation = {"elu": nn.functional.elu_, "relu": nn.functional.relu_}[config.activation]
        self.encoder = nn.ModuleList(ChebConv(*pair, config.order) for pair in encoder_channels(config))
        self.encoder_fc = Dense(coarse * width, config.latent)
        self.projections = None
        if config.projections:
            self.projections = nn.Parameter(torch.empty(config.parts, config.latent, config.latent))
            for matrix in self.projections.data:
                nn.init.orthogonal_(matrix)
        layers = 1 if config.shared_fc else config.parts
        self.decoder_fc = Dense(config.latent, coarse * width, layers)
        self.decoder = nn.ModuleList(ChebConv(*pair, config.order) for pair in decoder_channels(config))
        self.log_variance_fc = None
        if config.variational:  # last, so that everything else starts as it does without
            self.log_variance_fc = Dense(coarse * width, config.latent)
            nn.init.zeros_(self.log_variance_fc.weight)

    @property
    def config(self) -> dict:
        """JSON-able; belongs into the model header's "network"."""
        return self._config.to_dict()

    def encode(self, vertices: torch.Tensor) -> torch.Tensor:
        """Vertices [B, N, 3] in mm to codes [B, K Z], the stacked z_k = P_k z."""
        return self.project(self.latent(vertices))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes [B, K Z] to vertices [B, N, 3] in mm."""
        parts, coarse = self.gate.shape
        codes = codes.reshape(len(codes), parts, self._config.latent).transpose(0, 1)
        features = self.decoder_fc(codes).unflatten(2, (coarse, self._config.filters[-1]))
        if self._config.fc_activation:
            features = self.activation(features)
        x = torch.einsum("kn,kbnc->nbc", self.gate, features)
        for level in range(len(self.up) - 1, 0, -1):
            x = self._in_blocks(partial(self._raise, level=level), x, level)
        return self._in_blocks(self._finish, x, level=0).transpose(0, 1) * self.std + self.mean

    def latent(self, vertices: torch.Tensor) -> torch.Tensor:
        """Vertices [B, N, 3] in mm to z [B, Z], before the projections; the mean of a variational encoder."""
        return self.encoder_fc(self._features(vertices)[None])[0]

    def posterior(self, vertices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertices [B, N, 3] in mm to mean and log-variance of z, both [B, Z], by a variational encoder."""
        features = self._features(vertices)[None]
        return self.encoder_fc(features)[0], self.log_variance_fc(features)[0]

    def project(self, z: torch.Tensor) -> torch.Tensor:
        """z [B, Z] to codes [B, K Z]."""
        if self.projections is None:
            return z.repeat(1, self._config.parts)
        return torch.einsum("kij,bj->bki", self.projections, z).flatten(1)

    def _features(self, vertices: torch.Tensor) -> torch.Tensor:
        """Vertices [B, N, 3] in mm to features of the coarsest level [B, N_L C]."""
        x = ((vertices - self.mean) / self.std).transpose(0, 1)
        for level in range(len(self.down)):
            x = self._in_blocks(partial(self._reduce, level=level), x, level)
        return x.transpose(0, 1).flatten(1)

    def _in_blocks(self, step: Callable, x: torch.Tensor, level: int) -> torch.Tensor:
        """step(x) for features [n, B, C], on CPU a few faces at a time so that they stay in the processor's cache."""
        largest = self.laplacians[level].shape[0] * max(self._config.filters[level], x.shape[2])
        block = max(1, BLOCK_FEATURES // largest)
        if x.device.type != "cpu" or block >= x.shape[1]:
            return step(x.contiguous())
        return torch.cat([step(part.contiguous()) for part in x.split(block, dim=1)], dim=1)

    def _reduce(self, x: torch.Tensor, level: int) -> torch.Tensor:
        """Features of one level to those of the next coarser one."""
        return self.down[level](self.activation(self.encoder[level](x, self.laplacians[level])))

    def _raise(self, x: torch.Tensor, level: int) -> torch.Tensor:
        """Features of the next coarser level to those of this one."""
        return self.activation(self.decoder[len(self.up) - 1 - level](self.up[level](x), self.laplacians[level]))

    def _finish(self, x: torch.Tensor) -> torch.Tensor:
        """Features of level 1 to standardised positions."""
        return self.decoder[-1](self._raise(x, level=0), self.laplacians[0])

    def export_arrays(self) -> dict[str, np.ndarray]:
        """All that decoding and encoding need: float32, and int32 for the indices of the matrices.

        A variational encoder's log-variance is left out: it matters in training alone.
        """
        tensors = {"mean": self.mean, "std": self.std, "gate": self.gate}
        for name, matrices in (("laplacian", self.laplacians), ("down", self.down), ("up", self.up)):
            for level, matrix in enumerate(matrices):
                tensors[f"{name}/{level}/indptr"] = matrix.indptr
                tensors[f"{name}/{level}/indices"] = matrix.indices
                tensors[f"{name}/{level}/data"] = matrix.values
        tensors |= {name: parameter.detach() for name, parameter in self._named_arrays().items()}
        kinds = {False: np.int32, True: np.float32}
        return {
            name: tensor.cpu().numpy().astype(kinds[tensor.is_floating_point()])
            for name, tensor in tensors.items()
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], config: dict) -> PaperNetwork:
        """A network out of a model file's arrays and configuration.

        Raises:
            LwaeError: when an array is missing or does not fit.
        """
        config = PaperConfig.from_dict(config)
        read = PaperArrays.read(arrays, config)
        constants = {name: read.dense[name] for name in ("mean", "std", "gate")}
        network = cls(config, **constants, laplacians=read.laplacians, down=read.down, up=read.up)
        with torch.no_grad():
            for name, parameter in network._named_arrays().items():
                parameter.copy_(torch.from_numpy(read.dense[name]).view_as(parameter))
        return network

    def _named_arrays(self) -> dict[str, torch.Tensor]:
        """Parameters by the names that they have in a model file."""
        named = {
            "encoder/fc/weight": self.encoder_fc.weight[0],
            "encoder/fc/bias": self.encoder_fc.bias[0],
            "decoder/fc/weight": self.decoder_fc.weight,
            "decoder/fc/bias": self.decoder_fc.bias,
        }
        if self.projections is not None:
            named["projections"] = self.projections
        for side, layers in (("encoder", self.encoder), ("decoder", self.decoder)):
            for layer, convolution in enumerate(layers):
                named[f"{side}/{layer}/weight"] = convolution.weight
                named[f"{side}/{layer}/bias"] = convolution.bias
        return named
