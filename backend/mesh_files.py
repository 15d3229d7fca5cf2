# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh files for data makers: binary PLY and npz, equal content in equal bytes, complete or absent."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np

from .errors import LwaeError
from .files import atomic_write


class PlyFormat:
    """Binary little-endian PLY of meshes that share their polygons (quads are kept).

    Everything but the positions is formatted once. All files have the same `size` in bytes.
    """

    def __init__(self, vertex_count: int, polygon_sizes: np.ndarray, polygon_vertices: np.ndarray, comment=""):
        """
        Args:
            polygon_sizes: int [F], corners of each polygon.
            polygon_vertices: int [L], vertex of each corner.
            comment: one line for the header.
        """
        sizes = np.asarray(polygon_sizes, dtype=np.int64)
        if len(sizes) and (sizes.max() > 255 or sizes.sum() != len(polygon_vertices)):
            raise LwaeError("PLY needs polygons of at most 255 corners and one vertex number for each corner.")
        self.vertex_count = vertex_count
        lines = [
            "ply",
            "format binary_little_endian 1.0",
            *([f"comment {comment}"] if comment else []),
            f"element vertex {vertex_count}",
            *(f"property float {axis}" for axis in "xyz"),
            f"element face {len(sizes)}",
            "property list uchar int vertex_indices",
            "end_header\n",
        ]
        self._header = "\n".join(lines).encode("ascii")
        # Each polygon is one byte for its size and four for each corner.
        starts = np.cumsum(1 + 4 * sizes) - (1 + 4 * sizes)
        faces = np.zeros(int((1 + 4 * sizes).sum()), dtype=np.uint8)
        faces[starts] = sizes
        corner = np.arange(len(polygon_vertices)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = np.repeat(starts + 1, sizes) + 4 * corner
        faces[places[:, None] + np.arange(4)] = np.asarray(polygon_vertices, "<i4").view(np.uint8).reshape(-1, 4)
        self._faces = faces.tobytes()
        self.size = len(self._header) + 12 * vertex_count + len(self._faces)

    def write(self, path: str | os.PathLike, vertices: np.ndarray) -> None:
        """Write one mesh; vertices float [N, 3] in the unit that the file shall have.

        Raises:
            LwaeError: when the vertex count is another one, a position is not finite, or the disk is full.
        """
        vertices = np.ascontiguousarray(vertices, dtype="<f4")
        if vertices.shape != (self.vertex_count, 3):
            raise LwaeError(f"These vertices do not make a mesh of {self.vertex_count} positions.")
        require_finite(vertices)
        # Not forced to disk: after a power cut a reader sees a wrong size, and that is what resuming checks.
        with atomic_write(path, durable=False) as stream:
            stream.write(b"".join((self._header, vertices.data, self._faces)))


def require_finite(vertices: np.ndarray) -> None:
    """LwaeError when a position is NaN or infinite: no mesh file takes those."""
    if not np.isfinite(vertices).all():
        raise LwaeError("Some positions of these faces are not finite; make faces that are less extreme.")


def write_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed .npz with fixed dates, readable by `numpy.load` without pickle.

    Raises:
        LwaeError: when the file cannot be written.
    """
    with atomic_write(path, durable=False) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.create_system = 3  # The same bytes on Windows.
            archive.writestr(info, buffer.getbuffer())
