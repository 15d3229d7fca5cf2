# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer for each format: which files hold a block of faces, which of them are missing, and writing those."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..backend.mesh_files import PlyFormat, require_finite, write_npz
from ..backend.model import FaceModel

FORMATS = ("ply", "npz", "obj", "stl", "glb")
UNITS = {"m": 0.001, "mm": 1.0}


class FaceFiles:
    """A file for each face: face_000000.ply, ..."""

    def __init__(self, out: Path, suffix: str, save: Callable[[Path, np.ndarray], None], size: int | None = None):
        """
        Args:
            save: writes vertices [N, 3] in mm to a path, complete or not at all.
            size: what a complete file has in bytes, where that is known.
        """
        self._out, self._suffix, self._save, self._size = out, suffix, save, size

    def names(self, start: int, stop: int) -> list[tuple[str, int]]:
        """File name and row in the file, for each face."""
        return [(f"face_{index:06d}.{self._suffix}", 0) for index in range(start, stop)]

    def missing(self, start: int, stop: int) -> list[int]:
        """Faces whose files are absent or incomplete."""
        return [i for i in range(start, stop) if not self._complete(self._out / self.names(i, i + 1)[0][0])]

    def write(
        self, faces: list[int], start: int, vertices: np.ndarray, labels: dict[str, np.ndarray]
    ) -> Iterator[list[int]]:
        """Write faces of the block that begins at `start`; yields those done after each file."""
        for face in faces:
            self._save(self._out / self.names(face, face + 1)[0][0], vertices[face - start])
            yield [face]

    def _complete(self, path: Path) -> bool:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        return size == self._size if self._size else size > 0


class BlockFiles:
    """A file for each block of faces: faces_000000.npz holds faces 0 to 63 in arrays."""

    def __init__(self, out: Path, scale: float):
        self._out, self._scale = out, scale

    def names(self, start: int, stop: int) -> list[tuple[str, int]]:
        return [(f"faces_{start:06d}.npz", row) for row in range(stop - start)]

    def missing(self, start: int, stop: int) -> list[int]:
        # The list of contents stands at the end of a zip: a cut file has none.
        complete = zipfile.is_zipfile(self._out / self.names(start, stop)[0][0])
        return [] if complete else list(range(start, stop))

    def write(
        self, faces: list[int], start: int, vertices: np.ndarray, labels: dict[str, np.ndarray]
    ) -> Iterator[list[int]]:
        require_finite(vertices)
        arrays = {"index": np.arange(start, start + len(vertices)), "vertices": vertices * np.float32(self._scale)}
        write_npz(self._out / self.names(start, start + 1)[0][0], arrays | labels)
        yield faces


def make_writer(kind: str, model: FaceModel, out: Path, unit: str, scratch: Path) -> FaceFiles | BlockFiles:
    """The writer of one of `FORMATS`; `scratch` is a folder for unfinished exports."""
    scale = UNITS[unit]
    if kind == "npz":
        return BlockFiles(out, scale)
    if kind == "ply":
        comment = f"blender_lwae, unit {unit}, Z up, the face looks along -Y"
        ply = PlyFormat(model.vertex_count, model.polygon_sizes, model.polygon_vertices, comment)
        return FaceFiles(out, kind, lambda path, vertices: ply.write(path, vertices * np.float32(scale)), ply.size)
    from .exporters import Exporter  # Needs bpy.

    return FaceFiles(out, kind, Exporter(kind, model, unit, scratch).save)


def write_template(path: Path, model: FaceModel, unit: str) -> None:
    """What all faces share: polygons, UVs, materials, part weights and the mean face."""
    arrays = {
        "mean": model.mean * np.float32(UNITS[unit]),
        "polygon_sizes": model.polygon_sizes,
        "polygon_vertices": model.polygon_vertices,
        "polygon_material": model.polygon_material,
        "uv": model.uv,
        "part_weights": model.weights,
        "part_names": np.array(model.part_names),
    }
    write_npz(path, arrays)
