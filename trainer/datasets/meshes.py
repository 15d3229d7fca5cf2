# SPDX-License-Identifier: GPL-3.0-or-later
"""Any folder of meshes in vertex correspondence, made a data set."""

from __future__ import annotations

import logging
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.errors import LwaeError

from ..mesh.topology import connected_components, polygon_edges, triangulate
from .alignment import align_rigidly, mean_shape
from .dataset import Dataset, Template, split_faces, write_dataset
from .mesh_files import SUFFIXES, is_template, read_mesh

log = logging.getLogger(__name__)

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
HEAD_MM = (150.0, 400.0)  # How large a head is along its longest side.
AXES = {
    sign + axis: (-1.0 if sign else 1.0) * np.eye(3)[i] for sign in ("", "-") for i, axis in enumerate("xyz")
}
USUAL_FRONT = {"y": "z", "z": "-y", "-y": "-z"}  # Most tools; Blender; camera frames of computer vision.
# Files that exporters leave beside meshes.
COMPANIONS = (".mtl", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".tga", ".bmp", ".exr", ".webp")
COMPANIONS += (".txt", ".md", ".csv", ".tsv", ".json", ".html", ".pdf", ".yaml", ".yml")
FEWEST = 8
STRETCH = 3.0  # An edge that differs by more from the first mesh's is suspicious;
SUSPICIOUS_SHARE = 0.05  # so many of them are not a face of the same topology (real heads: under 1 %).
BLOCK = 50


def prepare_meshes(
    source: Path,
    path: Path,
    *,
    units: str = "auto",
    up: str = "auto",
    front: str = "auto",
    align: bool = True,
    seed: int = 0,
    licence: str = "unknown",
    name: str | None = None,
) -> Dataset:
    """Write the meshes of a folder as a data set, in the order of their names (face2 before face10).

    Polygons, UVs and materials are those of a `template.npz` without positions if there is one, else of the first
    mesh. STL has no shared vertices: those that coincide in the first mesh are taken for one, in all meshes.
    The meshes go through a scratch file, so that memory does not grow with their number.

    Args:
        source: folder of OBJ, PLY, STL or npz files (see `mesh_files.read_mesh`), or one npz of all faces.
        path: the data set folder to make.
        units: "mm", "cm", "m", or "auto": the one in which the first mesh is as large as a head.
        up, front: the axis that points up and the one the face looks along: "x", "y", "z", "-x", ... "auto" finds
            y or z up from the shape, and takes z for the front where y is up, -y where z is up.
        align: move each face onto the mean of the training faces by rotation and translation, without scaling.
        seed: of the split into training and test faces.

    Raises:
        LwaeError: nothing to read, an unreadable file, faces that are not in correspondence, NaN, units or up that
            cannot be guessed, a folder `path` that exists, a full disk.
    """
    source, path = Path(source), Path(path)
    if path.exists():
        raise LwaeError(f"{path} exists already; choose another folder or delete it first.")
    said = {"units": units, "up": up, "front": front, "licence": licence, "name": name, "seed": str(seed)}
    usual = {"units": "auto", "up": "auto", "front": "auto", "licence": "unknown", "name": None}
    options = [f"--{key}={value}" for key, value in said.items() if value != usual.get(key)]
    options += [] if align else ["--no-align"]
    files, template_file = _find(source)
    correspondence = _Correspondence(files[0], template_file)
    first, template = correspondence.first, correspondence.template
    frame, provenance = _frame(first, template, units, up, front)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as scratch:
            count = 0
            for file in tqdm(files, unit="mesh", disable=None):
                faces = correspondence.read(file)
                count += len(faces)
                for start in range(0, len(faces), BLOCK):
                    scratch.write((faces[start : start + BLOCK] @ frame.T).astype(np.float32).tobytes())
            if count < FEWEST:
                raise LwaeError(
                    f"{source} has {count} meshes; a model needs at least {FEWEST}, better hundreds."
                )
            scratch.flush()
            faces = np.memmap(scratch, np.float32, "r", shape=(count, *first.shape))
            mean = _mean(faces, split_faces(count, seed)[0]) if align else faces[0]
            if not template.polygon_material.any():
                template.polygon_material[_eye_polygons(mean, template)] = 1
            return write_dataset(
                path,
                _blocks(faces, mean if align else None),
                count,
                template,
                name=name or source.stem,
                licence=licence,
                provenance=f"{count} meshes of {source.name}, {provenance}{', aligned rigidly' if align else ''}",
                command=f"python -m trainer prepare meshes {shlex.join([source.name, *options])} --out DATA",
                seed=seed,
            )
    except OSError as error:
        raise LwaeError(f"Cannot write beside {path}: {error.strerror or error}; free some space.") from error


def _find(source: Path) -> tuple[list[Path], Path | None]:
    """The meshes in natural order, and the file of polygons only if there is one."""
    if source.is_file():
        return [source], None
    if not source.is_dir():
        raise LwaeError(f"There is no folder {source}; name the folder that holds the meshes.")
    files = [file for file in source.iterdir() if file.is_file() and not file.name.startswith(".")]
    for file in files:
        if file.suffix.lower() not in SUFFIXES + COMPANIONS:
            raise LwaeError(f"{file} is of an unknown kind; export it as OBJ, PLY, STL or npz, or remove it.")
    meshes = sorted((file for file in files if file.suffix.lower() in SUFFIXES), key=_natural)
    templates = [file for file in meshes if is_template(file)]
    meshes = [file for file in meshes if file not in templates]
    if not meshes:
        raise LwaeError(
            f"{source} holds no OBJ, PLY, STL or npz mesh; name the folder that holds the meshes."
        )
    kinds = {file.suffix.lower() == ".stl" for file in meshes}
    if len(kinds) == 2:
        raise LwaeError(
            f"{source} mixes STL, which has no vertex order, with other formats; export all in one."
        )
    return meshes, templates[0] if templates and kinds == {False} else None


def _natural(file: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", file.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], file.name


class _Correspondence:
    """The first mesh, and reading further ones so that they agree with it.

    Attributes:
        first: float [N, 3] as in the file.
        template: the polygons of all.
    """

    def __init__(self, file: Path, template_file: Path | None):
        self._file = file
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
        self.first, self.template, self._also_fits = faces[0], template, template
        if template.polygon_vertices.max() >= len(self.first):
            raise LwaeError(
                f"{template_file} is for more vertices than the {len(self.first)} of {file}; remove it."
            )
        self._require_finite(file, faces)
        self._edges = polygon_edges(template.polygon_sizes, template.polygon_vertices)
        lengths = self._edge_lengths(self.first)
        self._edges = self._edges[lengths > 0]
        self._lengths = lengths[lengths > 0]
        if len(self._lengths) < len(lengths) / 2:
            raise LwaeError(f"{file} has no extent: most of its edges have no length; export it again.")

    def read(self, file: Path) -> np.ndarray:
        """Faces of a file, float [S, N, 3], all checked.

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
            self._require_similar_edges(file, face)
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

    def _require_similar_edges(self, file: Path, face: np.ndarray) -> None:
        ratio = self._edge_lengths(face) / self._lengths
        size = float(np.median(ratio))
        share = np.mean((ratio > STRETCH * size) | (ratio * STRETCH < size))
        if share > SUSPICIOUS_SHARE:
            raise LwaeError(
                f"{file} is not in vertex correspondence with {self._file}: {100 * share:.0f} % of its edges are "
                "stretched or shrunk threefold, as when vertices are in another order; register it again."
            )
        if not 1 / STRETCH < size < STRETCH:
            raise LwaeError(
                f"{file} is {size:.3g} times as large as {self._file}; bring all to the same units."
            )


def _frame(first: np.ndarray, template: Template, units: str, up: str, front: str) -> tuple[np.ndarray, str]:
    """The matrix [3, 3] from a file's coordinates to the model's (mm, Z up, face along -Y), and a note of it."""
    used = np.unique(template.polygon_vertices)
    extents = np.ptp(first[used], axis=0)
    if units == "auto":
        fitting = [unit for unit, mm in UNITS.items() if HEAD_MM[0] <= mm * extents.max() <= HEAD_MM[1]]
        if not fitting:
            raise LwaeError(
                f"The first mesh is {extents.max():.3g} units large, which is no head in mm, cm or m; "
                "say what it is with --units, or scale the meshes."
            )
        units = fitting[0]
        log.info("Units: %s, because the first mesh is %.3g %s large then.", units, extents.max(), units)
    if units not in UNITS:
        raise LwaeError(f"There is no unit {units!r}; use one of auto, {', '.join(UNITS)}.")
    if up == "auto":
        up = _guess_up(first, template)
        log.info("Up: %s, as the shape of the first mesh has it; if that is wrong, use --up.", up)
    if front == "auto":
        if up in AXES and up not in USUAL_FRONT:
            raise LwaeError(
                f"With {up} up there is no usual front; say with --front along which axis faces look."
            )
        front = USUAL_FRONT.get(up, "z")
    for axis, option in ((up, "up"), (front, "front")):
        if axis not in AXES:
            raise LwaeError(f"There is no axis {axis!r}; use --{option} with one of auto, {', '.join(AXES)}.")
    if AXES[up] @ AXES[front]:
        raise LwaeError(f"A face cannot look along {front} when {up} is up; choose another --front.")
    rows = np.stack([np.cross(AXES[up], AXES[front]), -AXES[front], AXES[up]])
    return UNITS[units] * rows, f"in {units}, {up.upper()} up, looking along {front.upper()}"


def _guess_up(vertices: np.ndarray, template: Template) -> str:
    """Whether a head has y up and looks along z, or z up and looks along -y.

    An open mesh is missing a cap, and the area vectors of its triangles add up to the opposite of that cap's:
    upward for a head open at the neck, forward for a mask open at the back. A closed one is taller than deep.
    """
    triangles = triangulate(template.polygon_sizes, template.polygon_vertices)
    used = vertices[np.unique(triangles)]
    a, b, c = (vertices - used.mean(axis=0, dtype=np.float64))[triangles.T]
    area = 0.5 * np.cross(b - a, c - a)
    outward = np.sign(np.einsum("ti,ti->", area, a + b + c))
    gap = outward * area.sum(axis=0) / np.linalg.norm(area, axis=1).sum()
    openness = np.linalg.norm(gap)
    extents = np.ptp(used, axis=0)
    likely = []
    for up, front in (("y", "z"), ("z", "-y")):
        slenderness = extents @ np.abs(AXES[up]) / (extents @ np.abs(AXES[front]))
        head = gap @ AXES[up] > 0.8 * openness and slenderness > 0.95
        mask = gap @ AXES[front] > 0.8 * openness and slenderness > 1.2
        closed = openness < 0.01 and slenderness > 1.1
        if closed or (openness >= 0.01 and (head or mask)):
            likely.append(up)
    if len(likely) != 1:
        raise LwaeError(
            "The first mesh's shape does not tell whether Y or Z is up; say it with --up y or --up z."
        )
    return likely[0]


def _mean(faces: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Procrustes mean of the training faces, float64 [N, 3], centred, turned as these are on average."""
    mean = mean_shape(faces, train)
    pose = np.zeros(mean.shape)
    for index in train:
        pose += faces[index] - faces[index].mean(axis=0, dtype=np.float64)
    return align_rigidly(mean[None], pose / len(train))[0].astype(np.float64)


def _blocks(faces: np.ndarray, mean: np.ndarray | None) -> Iterator[np.ndarray]:
    for start in range(0, len(faces), BLOCK):
        block = np.asarray(faces[start : start + BLOCK])
        yield block if mean is None else align_rigidly(block, mean)


def _eye_polygons(vertices: np.ndarray, template: Template) -> np.ndarray:
    """Polygons of the eyeballs, bool [F]: exactly two loose, round, equal pieces of an eye's size; else none."""
    edges = polygon_edges(template.polygon_sizes, template.polygon_vertices)
    component = connected_components(edges, len(vertices))
    balls = []
    for index, size in enumerate(np.bincount(component)):
        if not 12 <= size <= len(vertices) / 4:
            continue
        points = vertices[component == index]
        radii = np.linalg.norm(points - (points.min(axis=0) + points.max(axis=0)) / 2, axis=1)
        if 9 < radii.mean() < 20 and radii.std() < 0.05 * radii.mean():
            balls.append((index, size))
    starts = np.cumsum(template.polygon_sizes) - template.polygon_sizes
    found = len(balls) == 2 and balls[0][1] == balls[1][1]
    if found:
        log.info("Two loose round pieces are taken for the eyes.")
    return np.isin(
        component[template.polygon_vertices[starts]], [index for index, _ in balls] if found else []
    )
