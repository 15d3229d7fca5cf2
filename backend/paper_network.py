# SPDX-License-Identifier: GPL-3.0-or-later
"""The `paper` preset in NumPy: a mesh autoencoder with projected part codes and locally weighted decoding.

Source: Kim & Kim 2021 (arXiv 2107.08737) on the backbone of CoMA (Ranjan et al. 2018).

    encoder   (x - mean) / std -> per level: Chebyshev convolution, activation, D -> fully connected -> z
    codes     z_k = P_k z, without bias; flat [K Z] outside
    decoder   sum_k diag(w~_k) reshape(FC(z_k)) at the coarsest level -> per level: U, convolution, activation
              -> convolution to 3 channels on the finest graph -> std x + mean

Of a variational network z is the mean of the encoder's Gaussian; its variance is needed in training alone.

The same network in PyTorch, for training, is `network.PaperNetwork`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .chebyshev import SparseRows, chebyshev
from .errors import LwaeError
from .model import FaceModel


@dataclass(frozen=True)
class PaperConfig:
    """What the paper states, and what it leaves open.

    Attributes:
        parts: K.
        latent: Z, the length of z and of every part code.
        order: Chebyshev polynomials per convolution, T_0 ... T_order-1.
        filters: encoder channels, one per level; the decoder mirrors them.
        activation: "elu", or "relu" (with the convolution's bias: CoMA's biased ReLU). Never on the latent code.
        shared_fc: one fully connected layer for all part codes, or one each.
        fc_activation: the activation also follows the decoder's fully connected layer, as in CoMA's code.
        local_weights: False weighs all parts alike everywhere (ablation).
        projections: False hands z itself to every part (ablation).
        statistics: std per vertex and coordinate ("vertex", as CoMA) or one number ("scalar").
        variational: the encoder is trained to give a Gaussian per face, drawn towards N(0, I).
    """

    parts: int = 4
    latent: int = 64
    order: int = 6
    filters: tuple[int, ...] = (16, 16, 16, 32)
    activation: str = "elu"
    shared_fc: bool = True
    fc_activation: bool = False
    local_weights: bool = True
    projections: bool = True
    statistics: str = "vertex"
    variational: bool = False

    def __post_init__(self):
        if self.activation not in ACTIVATIONS:
            raise LwaeError(f"Unknown activation {self.activation!r}; choose one of {', '.join(ACTIVATIONS)}.")
        if self.statistics not in ("vertex", "scalar"):
            raise LwaeError(f"Unknown statistics {self.statistics!r}; choose vertex or scalar.")
        if not self.filters or min(self.parts, self.latent, self.order, *self.filters) < 1:
            raise LwaeError("Parts, latent, order and every filter must be at least 1; correct the configuration.")

    @classmethod
    def from_dict(cls, values: dict) -> PaperConfig:
        """
        Raises:
            LwaeError: for an unknown option or one of the wrong kind.
        """
        try:
            return cls(**{**values, "filters": tuple(values.get("filters", cls.filters))})
        except TypeError as error:
            raise LwaeError(f"The paper network's configuration is not valid: {error}; correct it.") from error

    def to_dict(self) -> dict:
        """JSON-able."""
        return dataclasses.asdict(self) | {"filters": list(self.filters)}


def elu(x: np.ndarray) -> np.ndarray:
    """x where positive, else exp(x) - 1; in place."""
    negative = np.minimum(x, 0)
    np.expm1(negative, out=negative)
    np.maximum(x, 0, out=x)
    x += negative
    return x


def relu(x: np.ndarray) -> np.ndarray:
    """In place."""
    return np.maximum(x, 0, out=x)


ACTIVATIONS = {"elu": elu, "relu": relu}


def pool_weights(weights: np.ndarray, down: list[SparseRows]) -> np.ndarray:
    """Part weights [K, N] of the mesh to those of its coarsest level, float32 [K, N_L], a partition of unity.

    Raises:
        LwaeError: when a coarse vertex belongs to no part.
    """
    pooled = np.asarray(weights, dtype=np.float32).T
    for matrix in down:
        pooled = matrix @ pooled
    total = pooled.sum(axis=1, keepdims=True)
    if not (total > 0).all():
        raise LwaeError("Some vertices belong to no part; make the weights a partition of unity first.")
    return np.ascontiguousarray((pooled / total).T)


@dataclass(frozen=True)
class PaperArrays:
    """The arrays of a network, checked against one another.

    Attributes:
        dense: float32 arrays by name; their shapes are those of `expected_shapes`.
        laplacians, down, up: the hierarchy's matrices, finest level first, one of each per encoder level.
    """

    dense: dict[str, np.ndarray]
    laplacians: list[SparseRows]
    down: list[SparseRows]
    up: list[SparseRows]

    @classmethod
    def read(cls, arrays: dict[str, np.ndarray], config: PaperConfig) -> PaperArrays:
        """
        Raises:
            LwaeError: when an array is missing or does not fit the others or the configuration.
        """
        levels = range(len(config.filters))
        try:
            sizes = [len(arrays[f"laplacian/{level}/indptr"]) - 1 for level in levels]
            sizes.append(np.shape(arrays["gate"])[-1])
            laplacians = [_sparse(arrays, f"laplacian/{i}", sizes[i], sizes[i]) for i in levels]
            down = [_sparse(arrays, f"down/{i}", sizes[i + 1], sizes[i]) for i in levels]
            up = [_sparse(arrays, f"up/{i}", sizes[i], sizes[i + 1]) for i in levels]
            dense = {}
            for name, shape in expected_shapes(config, sizes[0], sizes[-1]).items():
                _check_shape(name, np.shape(arrays[name]), shape)
                dense[name] = np.asarray(arrays[name], dtype=np.float32)
        except KeyError as error:
            raise LwaeError(f"The model lacks the network array {error}; export it again.") from error
        return cls(dense, laplacians, down, up)


def _sparse(arrays: dict[str, np.ndarray], name: str, rows: int, columns: int) -> SparseRows:
    matrix = SparseRows(*(arrays[f"{name}/{field}"] for field in ("indptr", "indices", "data")), columns)
    _check_shape(name, matrix.shape, (rows, columns))
    return matrix


def _check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise LwaeError(
            f"The network array {name} has shape {list(shape)} instead of {list(expected)}; export it again."
        )


def expected_shapes(config: PaperConfig, vertices: int, coarse: int) -> dict[str, tuple[int, ...]]:
    """Shape of every dense array of a network with that many vertices at the finest and coarsest level."""
    parts, latent, order, filters = config.parts, config.latent, config.order, config.filters
    layers = 1 if config.shared_fc else parts
    shapes = {
        "mean": (vertices, 3),
        "std": (vertices, 3),
        "gate": (parts, coarse),
        "encoder/fc/weight": (coarse * filters[-1], latent),
        "encoder/fc/bias": (latent,),
        "decoder/fc/weight": (layers, latent, coarse * filters[-1]),
        "decoder/fc/bias": (layers, coarse * filters[-1]),
    }
    if config.projections:
        shapes["projections"] = (parts, latent, latent)
    for side, channels in (("encoder", encoder_channels(config)), ("decoder", decoder_channels(config))):
        for layer, (inputs, outputs) in enumerate(channels):
            shapes[f"{side}/{layer}/weight"] = (order, inputs, outputs)
            shapes[f"{side}/{layer}/bias"] = (outputs,)
    return shapes


def encoder_channels(config: PaperConfig) -> list[tuple[int, int]]:
    """Channels in and out of the encoder's convolutions, finest level first."""
    return list(zip((3, *config.filters[:-1]), config.filters, strict=True))


def decoder_channels(config: PaperConfig) -> list[tuple[int, int]]:
    """Channels in and out of the decoder's convolutions, coarsest level first.

    The last two are both on the finest graph.
    """
    wide = config.filters[::-1]
    return [*zip((wide[0], *wide[:-1]), wide, strict=True), (wide[-1], 3)]


class PaperNumpy:
    """Decoder and encoder of the `paper` preset; a face's result does not depend on its batch at all."""

    def __init__(self, model: FaceModel):
        """
        Raises:
            LwaeError: when the model's arrays do not fit its configuration.
        """
        self.config = PaperConfig.from_dict(model.header["network"])
        arrays = PaperArrays.read(model.network, self.config)
        self.arrays, self.laplacians, self.down, self.up = arrays.dense, arrays.laplacians, arrays.down, arrays.up
        self.mean, self.std, self.gate = (self.arrays[name] for name in ("mean", "std", "gate"))
        self.activation = ACTIVATIONS[self.config.activation]
        self._code: np.ndarray | None = None
        self._terms = np.empty(0)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes float32 [B, K Z] to vertices float32 [B, N, 3] in mm."""
        codes = np.asarray(codes, dtype=np.float32).reshape(-1, self.config.parts, self.config.latent)
        result = np.empty((len(codes), *self.mean.shape), dtype=np.float32)
        for face, code in enumerate(codes):
            terms = [self._part_features(part, code[part]) for part in range(self.config.parts)]
            result[face] = self._pyramid(np.sum(terms, axis=0))
        return result

    def decode_one(self, code: np.ndarray) -> np.ndarray:
        """One code float32 [K Z] to vertices float32 [N, 3]; only changed parts pass their first layer again."""
        code = np.array(code, dtype=np.float32).reshape(self.config.parts, self.config.latent)
        if self._code is None:
            self._terms = np.stack([self._part_features(part, code[part]) for part in range(self.config.parts)])
        else:
            for part in np.flatnonzero((code != self._code).any(axis=1)):
                self._terms[part] = self._part_features(part, code[part])
        self._code = code
        return self._pyramid(np.sum(self._terms, axis=0))

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm, in the model's frame, to codes float32 [B, K Z]."""
        latent = np.empty((len(vertices), self.config.latent), dtype=np.float32)
        for face, positions in enumerate(np.asarray(vertices, dtype=np.float32)):
            x = (positions - self.mean) / self.std
            for level, (laplacian, down) in enumerate(zip(self.laplacians, self.down, strict=True)):
                x = down @ self.activation(self._convolve(f"encoder/{level}", x, laplacian))
            latent[face] = x.ravel() @ self.arrays["encoder/fc/weight"] + self.arrays["encoder/fc/bias"]
        if not self.config.projections:
            return np.tile(latent, self.config.parts)
        return np.concatenate([latent @ matrix.T for matrix in self.arrays["projections"]], axis=1)

    def _part_features(self, part: int, code: np.ndarray) -> np.ndarray:
        """What one part code adds to the coarsest features, [N_L, C]."""
        layer = 0 if self.config.shared_fc else part
        features = code @ self.arrays["decoder/fc/weight"][layer] + self.arrays["decoder/fc/bias"][layer]
        if self.config.fc_activation:
            features = self.activation(features)
        return features.reshape(self.gate.shape[1], -1) * self.gate[part][:, None]

    def _pyramid(self, x: np.ndarray) -> np.ndarray:
        """Coarsest features [N_L, C] to positions [N, 3] in mm."""
        for layer, (laplacian, up) in enumerate(self._coarse_to_fine):
            x = self.activation(self._convolve(f"decoder/{layer}", up @ x, laplacian))
        x = self._convolve(f"decoder/{len(self.up)}", x, self.laplacians[0])
        x *= self.std
        x += self.mean
        return x

    @cached_property
    def _coarse_to_fine(self) -> list[tuple[SparseRows, SparseRows]]:
        return list(zip(self.laplacians, self.up, strict=True))[::-1]

    def _convolve(self, name: str, x: np.ndarray, laplacian: SparseRows) -> np.ndarray:
        return chebyshev(x, laplacian, self.arrays[f"{name}/weight"], self.arrays[f"{name}/bias"])
