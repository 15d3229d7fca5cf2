# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrays of a model of the `local` preset, checked: the file may be a stranger's."""

from __future__ import annotations

import numpy as np

from .errors import LwaeError
from .model import FaceModel


def part_arrays(model: FaceModel, part: int) -> tuple[np.ndarray, np.ndarray]:
    """The linear basis of one part: vertices [n] and basis float32 [Z_k, n, 3] in mm.

    Raises:
        LwaeError: when they do not fit the model.
    """
    vertices, basis = model.network[f"part{part}/vertices"], model.network[f"part{part}/basis"]
    check_shapes({"basis": basis}, {"basis": (model.code_sizes[part], len(vertices), 3)}, f"part {part}")
    check_vertices(model, vertices)
    return vertices, basis.astype(np.float32)


def residual_arrays(model: FaceModel, index: int) -> dict[str, np.ndarray]:
    """The arrays of one residual block, checked against the model.

    vertices [n], basis [C, n, 3] mm, weight0 [H, in], bias0 [H], weight1 [C, H], bias1 [C], skip [C, in], where
    `in` is the size of the codes that the block sees.

    Raises:
        LwaeError: when they do not fit.
    """
    prefix = f"residual{index}/"
    arrays = {name.removeprefix(prefix): a for name, a in model.network.items() if name.startswith(prefix)}
    parts = model.header["network"]["residuals"][index]["parts"]
    if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(range(model.part_count)):
        raise LwaeError(f"residual block {index} belongs to no part, or to one twice.")
    size = sum(model.code_sizes[part] for part in parts)
    hidden, coefficients, count = len(arrays["bias0"]), len(arrays["bias1"]), len(arrays["vertices"])
    expected = {
        "vertices": (count,),
        "basis": (coefficients, count, 3),
        "weight0": (hidden, size),
        "bias0": (hidden,),
        "weight1": (coefficients, hidden),
        "bias1": (coefficients,),
        "skip": (coefficients, size),
    }
    check_shapes(arrays, expected, f"residual block {index}")
    check_vertices(model, arrays["vertices"])
    return arrays


def check_shapes(arrays: dict, expected: dict[str, tuple], what: str) -> None:
    for name, shape in expected.items():
        if name not in arrays or arrays[name].shape != shape:
            found = arrays[name].shape if name in arrays else "missing"
            raise LwaeError(f"the array {name!r} of {what} is {found} instead of {shape}.")


def check_vertices(model: FaceModel, vertices: np.ndarray) -> None:
    if vertices.dtype.kind not in "iu" or vertices.dtype == np.uint64:
        raise LwaeError("its network's vertices are no numbers of vertices.")
    if len(vertices) and not 0 <= vertices.min() <= vertices.max() < model.vertex_count:
        raise LwaeError("its network names a vertex that does not exist.")
    if len(vertices) > model.vertex_count or len(np.unique(vertices)) < len(vertices):
        raise LwaeError("its network names a vertex twice in one list.")
