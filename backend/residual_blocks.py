# SPDX-License-Identifier: GPL-3.0-or-later
"""What the `local` preset adds to its linear part: small networks that give coefficients of local bases."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import numpy as np

from .local_arrays import residual_arrays
from .model import FaceModel


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x), without overflow for large negative x."""
    return x / (1 + np.exp(-np.maximum(x, np.float32(-80))))


class ResidualBlock:
    """Coefficients of a local basis from the codes of one or two parts: a perceptron beside a linear map."""

    def __init__(self, model: FaceModel, index: int):
        arrays = residual_arrays(model, index)
        self.parts = model.header["network"]["residuals"][index]["parts"]
        self.columns = np.concatenate([np.arange(model.code_size)[model.part_slice(p)] for p in self.parts])
        self.vertices = arrays["vertices"]
        self.basis = arrays["basis"].astype(np.float32).reshape(len(arrays["basis"]), -1)
        self.weight0, self.weight1, self.skip = (
            arrays[name].astype(np.float32).T.copy() for name in ("weight0", "weight1", "skip")
        )
        self.bias0, self.bias1 = arrays["bias0"].astype(np.float32), arrays["bias1"].astype(np.float32)

    def coefficients(self, codes: np.ndarray) -> np.ndarray:
        """Codes [B, D] to coefficients [B, C] of the block's basis."""
        own = codes[:, self.columns]
        return silu(own @ self.weight0 + self.bias0) @ self.weight1 + self.bias1 + own @ self.skip

    def jacobian(self, code: np.ndarray) -> np.ndarray:
        """Derivative of the coefficients by the codes that the block sees, [C, in], at one code [D]."""
        hidden = code[self.columns] @ self.weight0 + self.bias0
        sigmoid = 1 / (1 + np.exp(-np.maximum(hidden, np.float32(-80))))
        slope = sigmoid * (1 + hidden * (1 - sigmoid))
        return (self.weight0 * slope @ self.weight1 + self.skip).T

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Codes [B, D] to displacements [B, n, 3] in mm of the block's own vertices."""
        return (self.coefficients(codes) @ self.basis).reshape(len(codes), -1, 3)


class Coefficients:
    """What `ResidualBlock.coefficients` gives of one code, of all blocks at once; first comes all that is linear in it.

    Attributes:
        seen: how many numbers `linear` gives.
        outputs: where each block's coefficients are among those of all.
    """

    def __init__(self, blocks: list[ResidualBlock]):
        self._blocks = blocks
        self._bias0 = _joined(block.bias0 for block in blocks)
        self._bias1 = _joined(block.bias1 for block in blocks)
        self._hidden = slices(len(block.bias0) for block in blocks)
        self.outputs = slices(len(block.bias1) for block in blocks)
        self.seen = len(self._bias0) + len(self._bias1)

    def __len__(self) -> int:
        return len(self._bias1)

    def linear(self, code: np.ndarray) -> np.ndarray:
        """Code float32 [D] to float32 [seen]: all hidden units without their biases, then what all skips give."""
        inputs = [code[block.columns] for block in self._blocks]
        hidden = [own @ block.weight0 for own, block in zip(inputs, self._blocks, strict=True)]
        return _joined(hidden + [own @ block.skip for own, block in zip(inputs, self._blocks, strict=True)])

    def matrix(self, columns: slice) -> np.ndarray:
        """What `linear` gives of the unit vectors of some of a code's numbers, float32 [columns, seen]."""
        result = np.zeros((columns.stop - columns.start, self.seen), dtype=np.float32)
        for block, hidden, output in zip(self._blocks, self._hidden, self.outputs, strict=True):
            inside = (block.columns >= columns.start) & (block.columns < columns.stop)
            rows = block.columns[inside] - columns.start
            result[rows, hidden] = block.weight0[inside]
            result[rows, len(self._bias0) + output.start : len(self._bias0) + output.stop] = block.skip[inside]
        return result

    def __call__(self, seen: np.ndarray) -> np.ndarray:
        """What `linear` gives to float32 [coefficients of all blocks]."""
        hidden = silu(seen[: len(self._bias0)] + self._bias0)
        result = np.empty_like(self._bias1)
        for block, middle, own in zip(self._blocks, self._hidden, self.outputs, strict=True):
            np.dot(hidden[middle], block.weight1, out=result[own])
        result += self._bias1
        result += seen[len(self._bias0) :]
        return result


def _joined(vectors: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype=np.float32), *vectors])


def slices(sizes: Iterable[int]) -> list[slice]:
    """Where runs of these sizes lie, one after the other."""
    ends = list(accumulate(sizes))
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
