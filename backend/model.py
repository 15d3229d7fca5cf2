# SPDX-License-Identifier: GPL-3.0-or-later
"""A face model in memory: template mesh, parts, controls, prior and the arrays of its network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .errors import LwaeError
from .expressions import Expressions
from .prior import Prior

MM_PER_METRE = 1000.0
FARTHEST = 100 * MM_PER_METRE  # No vertex of a face is as far from the origin, whatever its units were taken for.
WHOLE = -1  # The part of controls that move the whole face.


@dataclass(frozen=True)
class Control:
    """A slider: a named direction in the code space of one part, or of the whole face.

    Attributes:
        name: what the slider is called ("Width", "Shape 1"); unique within its part.
        part: index of the part that it moves, or `WHOLE`.
        direction: float32 [Z_part], or [D] for the whole face, the change of the code for one slider unit, which is
            one standard deviation over the training faces (of a part's measure: over those alike in its others).
        description: one sentence for the tooltip.
        readout: of the whole face's controls, float32 [D]: readout . code is the value that a face shows. What controls
            do is read back from them; where some depend on each other (shares of one whole), in equal parts.
    """

    name: str
    part: int
    direction: np.ndarray
    description: str = ""
    readout: np.ndarray | None = None


@dataclass
class FaceModel:
    """Everything that decoding and encoding a face needs.

    Space: millimetres, Z up, the face looks along -Y, +X is the person's left.

    Attributes:
        header: JSON-able facts (name, preset, provenance, licence, metrics, network configuration).
        mean: float32 [N, 3], the mean training face.
        polygon_sizes: int32 [F], corners of each polygon (quads are kept).
        polygon_vertices: int32 [L], vertex of each polygon corner, polygon after polygon.
        uv: float32 [L, 2] texture coordinates of the corners, or [0, 2] where the data had none.
        polygon_material: uint8 [F], 0 skin, 1 eyes.
        part_names: K names.
        code_sizes: Z_k of each part; a code is flat, part after part, D = sum of them.
        weights: float32 [K, N], local weights, a partition of unity over the parts.
        controls: sliders, part after part, then those of the whole face.
        prior: the joint Gaussian over all part codes.
        network: arrays of the decoder and encoder, by name.
        expressions: facial actions on the mean face, as shape keys; may be none.
    """

    header: dict
    mean: np.ndarray
    polygon_sizes: np.ndarray
    polygon_vertices: np.ndarray
    uv: np.ndarray
    polygon_material: np.ndarray
    part_names: list[str]
    code_sizes: list[int]
    weights: np.ndarray
    controls: list[Control]
    prior: Prior
    network: dict[str, np.ndarray] = field(repr=False)
    expressions: Expressions = field(default_factory=Expressions, repr=False)

    @property
    def name(self) -> str:
        return self.header.get("name", "unnamed")

    @property
    def preset(self) -> str:
        return self.header["preset"]

    @property
    def vertex_count(self) -> int:
        return len(self.mean)

    @property
    def part_count(self) -> int:
        return len(self.part_names)

    @property
    def code_size(self) -> int:
        return sum(self.code_sizes)

    @cached_property
    def part_offsets(self) -> np.ndarray:
        """First column of each part's code, and D at the end: int [K + 1]."""
        return np.concatenate([[0], np.cumsum(self.code_sizes)]).astype(np.int64)

    def part_slice(self, part: int) -> slice:
        """Columns of a flat code that belong to part number `part`; all of them for `WHOLE`."""
        if part == WHOLE:
            return slice(0, self.code_size)
        return slice(int(self.part_offsets[part]), int(self.part_offsets[part + 1]))

    def part_columns(self, parts: Iterable[int]) -> np.ndarray:
        """Which numbers of a flat code belong to some parts, bool [D]."""
        columns = np.zeros(self.code_size, dtype=bool)
        for part in parts:
            columns[self.part_slice(part)] = True
        return columns

    def part_index(self, name: str) -> int:
        """Number of the part called `name`.

        Raises:
            LwaeError: when no part has that name.
        """
        if name not in self.part_names:
            raise LwaeError(f"No part is called {name!r}; this model's parts are {', '.join(self.part_names)}.")
        return self.part_names.index(name)

    @cached_property
    def skin(self) -> np.ndarray:
        """Vertices that are not on an eyeball, bool [N]."""
        eyes = np.repeat(self.polygon_material == 1, self.polygon_sizes)
        skin = np.ones(self.vertex_count, dtype=bool)
        skin[self.polygon_vertices[eyes]] = False
        return skin

    @cached_property
    def topology_hash(self) -> str:
        """Identifies the mesh connectivity: equal hashes mean vertices in correspondence."""
        digest = hashlib.sha256()
        digest.update(np.int64(self.vertex_count).tobytes())
        for array in (self.polygon_sizes, self.polygon_vertices):
            digest.update(np.ascontiguousarray(array, dtype="<i4").tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def hash(self) -> str:
        """Identifies the model by what it decodes to: connectivity, mean, code layout and the network's arrays.

        Faces in .blend files name it, so it stays what it is: weights and the header's "network" (border strength,
        blocks' parts), which decode too, are not in it.
        """
        digest = hashlib.sha256(self.topology_hash.encode())
        digest.update(repr((self.preset, self.part_names, list(self.code_sizes))).encode())
        digest.update(np.ascontiguousarray(self.mean, dtype="<f4").tobytes())
        for name in sorted(self.network):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.network[name]).tobytes())
        return digest.hexdigest()[:16]
