# SPDX-License-Identifier: GPL-3.0-or-later
"""The `local` preset in NumPy: parts decoded locally, encoded jointly.

Decoder: x = mu + sum_k (1 + sum_j s_kj(z) w_j) B_k z_k + R(z), where B_k are local bases (a PCA of training
displacements weighted by sqrt(w_k)), s moves borders (`borders.py`) and R is a sum of small blocks. A block sees the
codes of one part or of two neighbouring parts and adds coefficients(z) * basis on the vertices that these parts share,
so a code cannot act outside its region.

Encoder: the joint MAP code under a unit Gaussian prior, z = (B M B^T + sigma_n^2 I)^-1 B M (x - mu - N(z)), N being
all that is not linear in the decoder, solved by fixed-point iteration from N = 0; M holds the vertices' share of the
surface area.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from .borders import BorderShift, border_pairs
from .errors import LwaeError
from .local_arrays import check_shapes, part_arrays, residual_arrays
from .local_drag import Drag
from .model import FaceModel
from .residual_blocks import ResidualBlock

# The area weights of all vertices add up to this, so that sigma_n means the same on every mesh.
REFERENCE_VERTICES = 4096
LEAST_SIGMA = 1e-6  # mm; with less the encoder cannot be inverted.
MOST_SIGMA = 1e6
# Coordinates of faces that are decoded together: 16 MB; with more of them no more is gained.
FLOATS_TOGETHER = 1 << 22
MIN_TOGETHER = 8
VERTICES_TURNED = 128  # at a time, from faces last to faces first: a fifth of the time of all at once


def require_local(model: FaceModel) -> None:
    """Raises LwaeError when the model is of another preset."""
    if model.preset != "local":
        raise LwaeError(f"The model {model.name!r} has no linear bases; this needs one of the preset local.")


def linear_gram(model: FaceModel) -> np.ndarray:
    """B M B^T of the stacked part bases, float64 [D, D]: area-weighted inner products, mm^2.

    Raises:
        LwaeError: when the model is of another preset.
    """
    require_local(model)
    parts = [part_arrays(model, k) for k in range(model.part_count)]
    return gram_matrix(parts, model.network["mass"])


def encoder_gram(model: FaceModel) -> np.ndarray:
    """What the closed-form encoder inverts: B M B^T + sigma_n^2 I, float64 [D, D].

    Raises:
        LwaeError: when the model is of another preset, or its bases are not finite.
    """
    gram = linear_gram(model) + float(model.header["network"]["sigma_n"]) ** 2 * np.eye(model.code_size)
    if not np.isfinite(gram).all():
        raise LwaeError("its bases hold numbers that are not finite: training diverged, or the file is damaged.")
    return gram


def encoder_matrices(model: FaceModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the encoder needs besides the bases.

    Returns:
        (B M B^T + sigma_n^2 I)^-1, float64 [D, D], and the codes that the closed form finds for each residual basis
        vector, float32 [all blocks' coefficients, D], and for each row of w_j B_k of each entry (k, j) of
        `borders.border_pairs`, in their order, float32 [all, D]: with them the fixed-point iteration stays in code
        space.
    """
    parts = [part_arrays(model, k) for k in range(model.part_count)]
    mass = model.network["mass"]
    try:
        inverse = np.linalg.inv(encoder_gram(model))
    except np.linalg.LinAlgError as error:
        raise LwaeError(
            f"The encoder of the model {model.name!r} cannot be inverted, since its bases are alike; train it again."
        ) from error

    def found_codes(vectors: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        rows = [np.zeros((0, model.code_size))]
        for vector in vectors:
            rows.append(np.concatenate([inner_products(vector, part, mass) for part in parts], axis=1) @ inverse)
        return np.concatenate(rows).astype(np.float32)

    blocks = [residual_arrays(model, index) for index in range(len(model.header["network"]["residuals"]))]
    residuals = [(arrays["vertices"], arrays["basis"].astype(np.float32)) for arrays in blocks]
    shifts = [
        (parts[k][0], parts[k][1] * model.weights[j, parts[k][0], None].astype(np.float32))
        for k, j in border_pairs(model)
    ]
    return inverse, found_codes(residuals), found_codes(shifts)


def gram_matrix(bases: list[tuple[np.ndarray, np.ndarray]], mass: np.ndarray) -> np.ndarray:
    """Weighted inner products of all vectors of some local bases (vertices [n], basis [Z, n, 3]).

    Args:
        mass: [N], weight of each vertex of the mesh.

    Returns:
        float64 [sum of Z, sum of Z], basis after basis.
    """
    ends = np.cumsum([len(basis) for _, basis in bases])
    columns = [slice(end - len(basis), end) for end, (_, basis) in zip(ends, bases, strict=True)]
    gram = np.empty((ends[-1], ends[-1]))
    for j, left in enumerate(bases):
        for k, right in enumerate(bases[: j + 1]):
            gram[columns[j], columns[k]] = inner_products(left, right, mass)
            gram[columns[k], columns[j]] = gram[columns[j], columns[k]].T
    return gram


def inner_products(left: tuple, right: tuple, mass: np.ndarray) -> np.ndarray:
    """Area-weighted inner products of two local bases (vertices [n], basis [Z, n, 3]), float64 [Z, Z']."""
    shared, in_left, in_right = np.intersect1d(left[0], right[0], return_indices=True)
    weighted = np.take(left[1], in_left, axis=1) * mass[shared][:, None]
    return (_rows(weighted) @ _rows(np.take(right[1], in_right, axis=1)).T).astype(np.float64)


def _rows(fields: np.ndarray) -> np.ndarray:
    """[B, n, 3] as [B, 3n]. Fields of some vertices are best made with `np.take`: [:, vertices] has another order in
    memory, and would be copied here."""
    return fields.reshape(len(fields), math.prod(fields.shape[1:]))  # Not -1: there may be no rows.


def _faces_last(basis: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """basis [M, Z] @ coefficients [B, Z], turned, [M, B].

    A BLAS without kernels of its own, as Debian's Blender has, takes a third of the time when rows of both factors lie
    in memory one after the other.
    """
    return basis @ np.ascontiguousarray(coefficients.T)


class LocalNumpy:
    """Decoder and encoder of the `local` preset."""

    def __init__(self, model: FaceModel):
        config = model.header["network"]
        self.model = model
        self.iterations = int(config["encoder_iterations"])
        if not (0 <= self.iterations <= 100 and LEAST_SIGMA <= float(config["sigma_n"]) <= MOST_SIGMA):
            raise LwaeError(f"its encoder needs 0 to 100 iterations and {LEAST_SIGMA:g} to {MOST_SIGMA:g} mm of noise.")
        check_shapes(model.network, {"mass": (model.vertex_count,)}, "the network")
        if not (model.network["mass"] > 0).all():
            raise LwaeError("its vertices' shares of the surface must be above 0.")
        parts = [part_arrays(model, k) for k in range(model.part_count)]
        self.vertices = [vertices for vertices, _ in parts]
        self.bases = [basis.reshape(len(basis), -1) for _, basis in parts]
        self.residuals = [ResidualBlock(model, index) for index in range(len(config["residuals"]))]
        self.shift = BorderShift(model, parts) if border_pairs(model) else None

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes float32 [B, D] to vertices float32 [B, N, 3] in mm."""
        result = np.empty((len(codes), *self.model.mean.shape), dtype=np.float32)
        for start in range(0, len(codes), self._faces_at_a_time):
            faces = slice(start, start + self._faces_at_a_time)
            fields = self._decode_together(codes[faces])
            for first in range(0, len(fields), VERTICES_TURNED):  # At once, each row would fall out of the cache.
                some = slice(first, first + VERTICES_TURNED)
                result[faces, some] = fields[some].transpose(2, 0, 1)
        return result

    def _decode_together(self, codes: np.ndarray) -> np.ndarray:
        """Codes [B, D] to vertices [N, 3, B]: with the faces last, the vertices of a term are long rows in memory."""
        fields = np.repeat(self.model.mean[:, :, None], len(codes), axis=2)
        amounts = self.shift.amounts(codes) if self.shift else None
        for k, (vertices, basis) in enumerate(zip(self.vertices, self._turned_bases, strict=True)):
            term = _faces_last(basis, codes[:, self.model.part_slice(k)]).reshape(len(vertices), 3, len(codes))
            if self.shift:
                self.shift.apply(term, amounts, k)
            fields[vertices] += term
        for block in self.residuals:
            term = _faces_last(block.basis.T, block.coefficients(codes))
            fields[block.vertices] += term.reshape(len(block.vertices), 3, len(codes))
        return fields

    @cached_property
    def _turned_bases(self) -> list[np.ndarray]:
        """[3n, Z_k] of each part."""
        return [np.ascontiguousarray(basis.T) for basis in self.bases]

    @cached_property
    def _faces_at_a_time(self) -> int:
        return max(MIN_TOGETHER, FLOATS_TOGETHER // self.model.mean.size)

    def decode_one(self, code: np.ndarray) -> np.ndarray:
        """One code float32 [D] to vertices float32 [N, 3]; only what depends on a changed part is recomputed."""
        return self._drag.decode(code)

    def encode(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices float32 [B, N, 3] in mm, in the model's frame, to codes float32 [B, D]."""
        inverse_gram, residual_codes, shift_codes = self._encoder_matrices
        # In float64: neighbouring bases are alike, so their Gram matrix is badly conditioned.
        weighted = (vertices - self.model.mean).astype(np.float64) * self.model.network["mass"][:, None]
        projected = [
            _rows(np.take(weighted, own, axis=1)) @ basis.T
            for own, basis in zip(self.vertices, self.bases, strict=True)
        ]
        closed_form = (np.concatenate(projected, axis=1) @ inverse_gram).astype(np.float32)
        codes = closed_form
        for _ in range(self.iterations if self.residuals or self.shift else 0):
            found = closed_form.copy()
            if self.residuals:
                coefficients = np.concatenate([block.coefficients(codes) for block in self.residuals], axis=1)
                found -= coefficients @ residual_codes
            if self.shift:
                found -= self.shift.rows(codes) @ shift_codes
            codes = found
        return codes

    @cached_property
    def _drag(self) -> Drag:
        return Drag(self)

    @cached_property
    def _encoder_matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return encoder_matrices(self.model)
