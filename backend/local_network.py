# SPDX-License-Identifier: GPL-3.0-or-later
"""The `local` preset in NumPy: parts decoded locally, encoded jointly.

Decoder: x = mu + sum_k B_k z_k + R(z), where B_k are local bases (a PCA of training displacements weighted by
sqrt(w_k)) and R is a sum of small blocks. A block sees the codes of one part or of two neighbouring parts and
adds coefficients(z) * basis on the vertices that these parts share, so a code cannot act outside its region.

Encoder: the joint MAP code under a unit Gaussian prior, z = (B M B^T + sigma_n^2 I)^-1 B M (x - mu - R(z)),
solved by fixed-point iteration from R = 0; M holds the vertices' share of the surface area.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .model import FaceModel

# The area weights of all vertices add up to this, so that sigma_n means the same on every mesh.
REFERENCE_VERTICES = 4096


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x), without overflow for large negative x."""
    return x / (1 + np.exp(-np.maximum(x, -80.0, dtype=x.dtype)))


class ResidualBlock:
    """Coefficients of a local basis from the codes of one or two parts, by a two-layer perceptron."""

    def __init__(self, model: FaceModel, index: int, parts: list[int]):
        arrays = {
            name: model.network[f"residual{index}/{name}"]
            for name in ("vertices", "basis", "weight0", "bias0", "weight1", "bias1")
        }
        self.parts = parts
        self.columns = np.concatenate([np.arange(model.code_size)[model.part_slice(part)] for part in parts])
        self.vertices = arrays["vertices"]
        self.basis = arrays["basis"].astype(np.float32).reshape(len(arrays["basis"]), -1)
        self.weight0, self.weight1 = (arrays[n].astype(np.float32).T.copy() for n in ("weight0", "weight1"))
        self.bias0, self.bias1 = arrays["bias0"].astype(np.float32), arrays["bias1"].astype(np.float32)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Codes [B, D] to displacements [B, n, 3] in mm of the block's own vertices."""
        hidden = silu(codes[:, self.columns] @ self.weight0 + self.bias0)
        coefficients = hidden @ self.weight1 + self.bias1
        return (coefficients @ self.basis).reshape(len(codes), -1, 3)


class LocalNumpy:
    """Decoder and encoder of the `local` preset."""

    def __init__(self, model: FaceModel):
        config = model.header["network"]
        self.model = model
        self.iterations = int(config["encoder_iterations"])
        self.noise_variance = float(config["sigma_n"]) ** 2
        self.mass = model.network["mass"].astype(np.float32)
        self.vertices = [model.network[f"part{k}/vertices"] for k in range(model.part_count)]
        self.bases = [
            model.network[f"part{k}/basis"].astype(np.float32).reshape(model.code_sizes[k], -1)
            for k in range(model.part_count)
        ]
        self.residuals = [
            ResidualBlock(model, index, block["parts"]) for index, block in enumerate(config["residuals"])
        ]
        self._code: np.ndarray | None = None
        self._terms: list[np.ndarray] = []

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes float32 [B, D] to vertices float32 [B, N, 3] in mm."""
        codes = np.ascontiguousarray(codes, dtype=np.float32)
        return self._linear(codes) + self._residual(codes) + self.model.mean

    def decode_one(self, code: np.ndarray) -> np.ndarray:
        """One code float32 [D] to vertices float32 [N, 3]; only what depends on a changed part is recomputed."""
        code = np.array(code, dtype=np.float32)
        if self._code is None:
            self._terms = [np.empty(0)] * (len(self.bases) + len(self.residuals))
            changed = set(range(len(self.bases)))
        else:
            different = code != self._code
            changed = {k for k in range(len(self.bases)) if different[self.model.part_slice(k)].any()}
        self._code = None  # An error below must not leave terms of two codes.
        for k in changed:
            self._terms[k] = (code[self.model.part_slice(k)] @ self.bases[k]).reshape(-1, 3)
        for index, block in enumerate(self.residuals, start=len(self.bases)):
            if changed.intersection(block.parts):
                self._terms[index] = block(code[None])[0]
        self._code = code
        result = self.model.mean.copy()
        for vertices, term in zip(self._term_vertices, self._terms, strict=True):
            result[vertices] += term
        return result

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm, in the model's frame, to codes float32 [B, D]."""
        displacement = np.asarray(vertices, dtype=np.float32) - self.model.mean
        codes = self._map_codes(displacement)
        if self.residuals:
            for _ in range(self.iterations):
                codes = self._map_codes(displacement - self._residual(codes))
        return codes

    @cached_property
    def _term_vertices(self) -> list[np.ndarray]:
        return self.vertices + [block.vertices for block in self.residuals]

    def _linear(self, codes: np.ndarray) -> np.ndarray:
        result = np.zeros((len(codes), self.model.vertex_count, 3), dtype=np.float32)
        for k, (vertices, basis) in enumerate(zip(self.vertices, self.bases, strict=True)):
            result[:, vertices] += (codes[:, self.model.part_slice(k)] @ basis).reshape(len(codes), -1, 3)
        return result

    def _residual(self, codes: np.ndarray) -> np.ndarray:
        result = np.zeros((len(codes), self.model.vertex_count, 3), dtype=np.float32)
        for block in self.residuals:
            result[:, block.vertices] += block(codes)
        return result

    def _map_codes(self, displacement: np.ndarray) -> np.ndarray:
        weighted = displacement * self.mass[:, None]
        projected = np.concatenate(
            [
                weighted[:, vertices].reshape(len(weighted), -1) @ basis.T
                for vertices, basis in zip(self.vertices, self.bases, strict=True)
            ],
            axis=1,
        )
        return (projected @ self._inverse_gram).astype(np.float32)

    @cached_property
    def _inverse_gram(self) -> np.ndarray:
        """(B M B^T + sigma_n^2 I)^-1, float32 [D, D]; solved in float64 because neighbouring bases are alike."""
        gram = self.noise_variance * np.eye(self.model.code_size)
        for j, (rows, left) in enumerate(zip(self.vertices, self.bases, strict=True)):
            for k in range(j, len(self.bases)):
                shared, in_j, in_k = np.intersect1d(rows, self.vertices[k], return_indices=True)
                if not len(shared):
                    continue
                root = np.sqrt(self.mass[shared])[:, None]
                a = (left.reshape(len(left), -1, 3)[:, in_j] * root).reshape(len(left), -1)
                right = self.bases[k]
                b = (right.reshape(len(right), -1, 3)[:, in_k] * root).reshape(len(right), -1)
                block = (a @ b.T).astype(np.float64)
                gram[self.model.part_slice(j), self.model.part_slice(k)] += block
                if j != k:
                    gram[self.model.part_slice(k), self.model.part_slice(j)] += block.T
        return np.linalg.inv(gram).astype(np.float32)
