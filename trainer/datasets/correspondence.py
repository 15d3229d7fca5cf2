# SPDX-License-Identifier: GPL-3.0-or-later
"""Vertex correspondence: files of one mesh in many shapes, read so that a file of another mesh is found out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.errors import LwaeError

from ..mesh.topology import polygon_edges
from .alignment import is_mirrored
from .dataset import Template
from .mesh_files import read_mesh

STRETCH = 3.0  # An edge that differs by more from the first mesh's is suspicious;
SUSPICIOUS_SHARE = 0.05  # so many of them are not a face of the same topology (real heads: under 1 %).


class Correspondence:
    """The first mesh, and reading further ones so that they agree with it.

    Attributes:
        first: float [N, 3] as in the file.
        template: the polygons of all.
        used: the vertices that polygons name; others may be anywhere.
        sizes: of each face read so far, how many times as large as the first it is.
    """

    def __init__(self, file: Path, template_file: Path | None):
        self._file, self.sizes = file, []
        self._merge = file.suffix.lower() == ".stl"
        faces, template = read_mesh(file)
        if template_file:
            template = read_mesh(template_file)[1]
        if template is None or len(faces) == 0:
            raise LwaeError(
                f"{file} has no faces, which say how its vertices connect; export it with its faces."
            )
        if self._merge:
            corners = faces[0]
            _, first, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
            self._kept, rank = np.sort(first), np.argsort(np.argsort(first))
            self._corners = rank[inverse.ravel()]
            template.polygon_vertices = self._corners.astype(np.int32)
            faces = faces[:, self._kept]
        # A copy: a view would keep all faces of an npz.
        self.first, self.template, self._also_fits = faces[0].copy(), template, template
        if template.polygon_vertices.max() >= len(self.first):
            raise LwaeError(
                f"{template_file} is for more vertices than the {len(self.first)} of {file}; remove it."
            )
        self._require_finite(file, faces)
        self.used = np.unique(template.polygon_vertices)
        self._edges = polygon_edges(template.polygon_sizes, template.polygon_vertices)
        lengths = self._edge_lengths(self.first)
        self._edges = self._edges[lengths > 0]
        self._lengths = lengths[lengths > 0]
        if len(self._lengths) < len(lengths) / 2:
            raise LwaeError(f"{file} has no extent: most of its edges have no length; export it again.")

    def read(self, file: Path, stretched: float = SUSPICIOUS_SHARE) -> np.ndarray:
        """Faces of a file, float [S, N, 3], all checked.

        Args:
            stretched: share of the edges that may be stretched or shrunk threefold.

        Raises:
            LwaeError: another vertex count, NaN, other polygons, or another vertex order than the first mesh.
        """
        faces, template = read_mesh(file)
        count = len(self.first)
        if self._merge:
            if faces.shape[1] == len(self._corners):
                merged = faces[:, self._kept]
                if not np.array_equal(merged[:, self._corners], faces, equal_nan=True):
                    raise LwaeError(
                        f"The triangles of {file} do not meet in the same vertices as those of {self._file}; "
                        "export all meshes from one topology, better as OBJ or PLY."
                    )
                faces, template = merged, None
            else:
                count = len(self._corners)
        if faces.shape[1] != count:
            kind = "triangle corners" if self._merge else "vertices"
            raise LwaeError(
                f"{file} has {faces.shape[1]} {kind} but {self._file} has {count}; "
                "all meshes must be in vertex correspondence: remove it or register it again."
            )
        self._require_finite(file, faces)
        if template is not None and not self._same_polygons(template):
            raise LwaeError(
                f"The faces of {file} connect other vertices than those of {self._file}; "
                "all meshes must be in vertex correspondence: remove it or register it again."
            )
        for face in faces:
            self._require_similar_edges(file, face, stretched)
            self._require_same_hand(file, face)
        return faces

    @staticmethod
    def _require_finite(file: Path, faces: np.ndarray) -> None:
        bad = ~np.isfinite(faces).all(axis=2)
        if bad.any():
            vertex = int(np.argwhere(bad)[0][1])
            raise LwaeError(f"{file} has NaN or infinite positions (vertex {vertex}); repair or remove it.")

    def _same_polygons(self, other: Template) -> bool:
        """Equal, in another order, or the one with some polygons of the other split."""
        mine = self.template
        for known in (mine, self._also_fits):
            if np.array_equal(known.polygon_vertices, other.polygon_vertices):
                return np.array_equal(known.polygon_sizes, other.polygon_sizes)
        mine_edges, edges = (
            set(map(tuple, polygon_edges(t.polygon_sizes, t.polygon_vertices).tolist()))
            for t in (mine, other)
        )
        # Each split adds one polygon and one edge, and takes no edge away.
        splits = len(other.polygon_sizes) - len(mine.polygon_sizes)
        corners = len(other.polygon_vertices) - len(mine.polygon_vertices)
        nested = mine_edges <= edges or edges <= mine_edges
        if nested and len(edges) - len(mine_edges) == splits and corners == 2 * splits:
            self._also_fits = other  # the next file is likely to have the same
            return True
        return False

    def _edge_lengths(self, face: np.ndarray) -> np.ndarray:
        a, b = self._edges.T
        return np.linalg.norm(face[a].astype(np.float64) - face[b], axis=1)

    def _require_same_hand(self, file: Path, face: np.ndarray) -> None:
        if is_mirrored(self.first[self.used], face[self.used]):
            raise LwaeError(
                f"{file} is a mirror image of {self._file} (an axis points the other way, as when handedness was "
                "changed); export both in the same way."
            )

    def _require_similar_edges(self, file: Path, face: np.ndarray, stretched: float) -> None:
        ratio = self._edge_lengths(face) / self._lengths
        size = float(np.median(ratio))
        share = np.mean((ratio > STRETCH * size) | (ratio * STRETCH < size))
        if share > stretched:
            raise LwaeError(
                f"{file} is not in vertex correspondence with {self._file}: {100 * share:.0f} % of its edges are "
                "stretched or shrunk threefold, as when vertices are in another order; register it again."
            )
        if not 1 / STRETCH < size < STRETCH:
            raise LwaeError(
                f"{file} is {size:.3g} times as large as {self._file}; bring all to the same units."
            )
        self.sizes.append(size)
