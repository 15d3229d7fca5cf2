# SPDX-License-Identifier: GPL-3.0-or-later
"""Any folder of meshes in vertex correspondence, made a data set."""

from __future__ import annotations

import logging
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from tqdm import tqdm

from backend.encode_mesh import UNITS
from backend.errors import LwaeError
from backend.similarity import nearest_rotation

from ..mesh.topology import triangulate
from .alignment import AXES, align_rigidly, frame_matrix, mean_shape
from .correspondence import Correspondence
from .dataset import Dataset, Template, split_faces, write_dataset
from .eyes import eye_polygons
from .mesh_files import SUFFIXES, is_template
from .outward import facing_outwards
from .upright import angle, upright

log = logging.getLogger(__name__)

GUESSED_UNITS = ("mm", "cm", "m")
HEAD_MM = (150.0, 400.0)  # How large a head is along its longest side.
ANY_HEAD_MM = (50.0, 1000.0)  # A mask of a child, a bust: a wrong unit leads out of this.
USUAL_FRONT = {"y": "z", "z": "-y", "-y": "-z"}  # Most tools; Blender; camera frames of computer vision.
# Files that exporters leave beside meshes.
COMPANIONS = (".mtl", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".tga", ".bmp", ".exr", ".webp")
COMPANIONS += (".txt", ".md", ".csv", ".tsv", ".json", ".html", ".pdf", ".yaml", ".yml")
FEWEST = 8
ASTRAY = 45.0  # degrees from the first mesh, as no scanner's set is that was turned by one hand
ODD_SIZE = 1.5  # times the first mesh, as no two adults' heads are
FAR = 1000  # heads; beyond it positions are rounded to hundredths of a mm.
BLOCK = 50
EQUAL = 1e-4  # of a head's length, by which copies differ at most: files round to hundredths of a mm
PROJECTIONS = 32
MOST_PAIRS = 20  # compared for each face, where all are nearly equal


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
    mesh; polygons that clearly face inwards are turned. STL has no shared vertices: those that coincide in the first
    mesh are taken for one, in all meshes. The meshes go through a scratch file, so that memory does not grow with
    their number.

    Args:
        source: folder of OBJ, PLY, STL or npz files (see `mesh_files.read_mesh`), or one npz of all faces.
        path: the data set folder to make.
        units: "mm", "cm", "inches", "dm", "m", or "auto": that of mm, cm and m in which the first mesh is as large as a
            head.
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
    correspondence = Correspondence(files[0], template_file)
    first, used = correspondence.first, correspondence.used
    template = facing_outwards(first, correspondence.template)
    frame, provenance = _frame(first, template, units, up, front)
    if template is not correspondence.template:
        log.info("Polygons: turned, because those of the first mesh face inwards.")
        provenance += ", polygons turned to face outwards"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as scratch:
            names: list[str] = []
            for file in tqdm(files, unit="mesh", disable=None):
                faces = correspondence.read(file)
                names += [file.name if len(faces) == 1 else f"face {i} of {file.name}" for i in range(len(faces))]
                for start in range(0, len(faces), BLOCK):
                    block = faces[start : start + BLOCK].astype(np.float64) @ frame.T
                    # float32 has no digits left for the shape of a head that is far from the origin.
                    centre = block[:, used].mean(axis=1, keepdims=True)
                    if align:
                        block -= centre
                    elif np.abs(centre).max() > FAR * np.ptp(block[0, used], axis=0).max():
                        raise LwaeError(f"{file} is too far from the origin to stay there; leave out --no-align.")
                    scratch.write(np.ascontiguousarray(block, np.float32).data)
            count = len(names)
            if count < FEWEST:
                raise LwaeError(
                    f"{source} has {count} meshes; a model needs at least {FEWEST}, better hundreds."
                )
            scratch.flush()
            faces = np.memmap(scratch, np.float32, "r", shape=(count, *first.shape))
            mean = upright(_mean(faces, split_faces(count, seed)[0], used, names), template) if align else faces[0]
            _warn_of_sizes(correspondence.sizes, names)
            _warn_of_coinciding(mean[used])
            astray = _astray(_blocks(faces, mean, used, align), mean, used)
            if not template.polygon_material.any():
                template.polygon_material[eye_polygons(mean, template)] = 1
            dataset = write_dataset(
                path,
                _blocks(faces, mean, used, align, astray),
                count,
                template,
                name=name or source.stem,
                licence=licence,
                provenance=f"{count} meshes of {source.name}, {provenance}{', aligned rigidly' if align else ''}",
                command=f"python -m trainer prepare meshes {shlex.join([source.name, *options])} --out DATA",
                seed=seed,
            )
        _warn_of_copies(dataset.vertices, names, used)
        return dataset
    except OSError as error:
        raise LwaeError(
            f"Cannot write beside {path}: {error.strerror or error}; choose another folder, or free some space."
        ) from error


def _find(source: Path) -> tuple[list[Path], Path | None]:
    """The meshes in natural order, and the file of polygons only if there is one."""
    if source.is_file():
        return [source], None
    if not source.is_dir():
        raise LwaeError(f"There is no folder {source}; name the folder that holds the meshes.")
    files = [file for file in source.iterdir() if not (file.is_dir() or file.name.startswith("."))]
    for file in files:
        if not file.is_file():
            raise LwaeError(f"{file} is no file, or a link to one that is gone; mend or remove it.")
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
    stems: dict[str, Path] = {}
    for file in meshes:
        if (other := stems.setdefault(file.stem, file)) is not file:
            raise LwaeError(f"{other} and {file} are one mesh in two formats, and would count twice; remove one.")
    return meshes, templates[0] if templates and kinds == {False} else None


def _natural(file: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", file.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], file.name


def _frame(first: np.ndarray, template: Template, units: str, up: str, front: str) -> tuple[np.ndarray, str]:
    """The matrix [3, 3] from a file's coordinates to the model's (mm, Z up, face along -Y), and a note of it."""
    used = np.unique(template.polygon_vertices)
    extents = np.ptp(first[used], axis=0)
    if units == "auto":
        fitting = [unit for unit in GUESSED_UNITS if HEAD_MM[0] <= UNITS[unit] * extents.max() <= HEAD_MM[1]]
        if not fitting:
            raise LwaeError(
                f"The first mesh is {extents.max():.3g} units large, which is no head in mm, cm or m; "
                f"say with --units which it is all the same, one of {', '.join(UNITS)}, or scale the meshes."
            )
        units = fitting[0]
        log.info("Units: %s, because the first mesh is %.3g %s large then.", units, extents.max(), units)
    if units not in UNITS:
        raise LwaeError(f"There is no unit {units!r}; use one of auto, {', '.join(UNITS)}.")
    if not ANY_HEAD_MM[0] < (size := UNITS[units] * extents.max()) < ANY_HEAD_MM[1]:
        log.warning("In %s the first mesh is %.3g mm large, which is no head; look at --units again.", units, size)
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
    return frame_matrix(UNITS[units], up, front), f"in {units}, {up.upper()} up, looking along {front.upper()}"


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


def _mean(faces: np.ndarray, train: np.ndarray, used: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Procrustes mean of the training faces, float64 [N, 3], centred, turned as these are on average.

    Faces that stand otherwise than the first one, whose axes count, have no say in how the mean is turned; how many
    they are is told.
    """
    mean = mean_shape(faces, train, used=used)
    centred = (face - face[used].mean(axis=0, dtype=np.float64) for face in faces)
    rotations = nearest_rotation(np.stack([mean[used].T @ face[used] for face in centred]))
    turned = np.array([angle(rotation @ rotations[0].T) for rotation in rotations])
    astray = np.flatnonzero(turned > ASTRAY)
    if len(astray):
        log.warning(
            "%d of %d meshes stand otherwise than the first one, such as %s, turned by %.0f degrees; all are made to "
            "stand as the first one does.",
            *(len(astray), len(faces), names[astray[0]], turned[astray[0]]),
        )
    alike = np.setdiff1d(train, astray)
    alike = alike if len(alike) else [0]
    pose = np.zeros(mean.shape)
    for index in alike:
        pose += faces[index] - faces[index, used].mean(axis=0, dtype=np.float64)
    return align_rigidly(mean[None], pose / len(alike), used=used)[0].astype(np.float64)


def _warn_of_sizes(sizes: Sequence[float], names: Sequence[str]) -> None:
    """Name a face that may be in another unit: a little larger or smaller than the first one is a person's own."""
    odd = [index for index, size in enumerate(sizes) if not 1 / ODD_SIZE < size < ODD_SIZE]
    if odd:
        log.warning(
            "%d of %d meshes are much larger or smaller than the first one, such as %s, %.3g times as large; if these "
            "are no such people, bring all to the same units and prepare again.",
            *(len(odd), len(sizes), names[odd[0]], sizes[odd[0]]),
        )


def _warn_of_coinciding(vertices: np.ndarray) -> None:
    """Exporters split vertices where UVs or hard edges part, and the pieces then come apart as parts do."""
    twice = len(vertices) - len(np.unique(vertices.round(4), axis=0))
    if twice:
        log.warning(
            "%d vertices lie on others. If the mesh was split along UVs or hard edges, merge them by distance in all "
            "meshes and prepare again: parts may tear there.",
            twice,
        )


def _warn_of_copies(vertices: np.ndarray, names: list[str], used: np.ndarray) -> None:
    """Name a face that is another once more, however it was turned and rounded before it was aligned.

    A few random projections find pairs that may be equal, so that no more than these are compared.

    Args:
        vertices: float32 [S, N, 3] mm, memory-mapped.
        used: the vertices that count.
    """
    origin = vertices[0, used]
    equal = EQUAL * np.ptp(origin, axis=0).max()
    axes = np.random.default_rng(0).normal(size=(origin.size, PROJECTIONS)).astype(np.float32)
    axes /= np.sqrt(origin.size)  # As long as a difference is its root mean square, each projection's usual size.
    blocks = (vertices[start : start + BLOCK, used] - origin for start in range(0, len(vertices), BLOCK))
    points = np.concatenate([block.reshape(len(block), -1) @ axes for block in blocks])
    pairs = cKDTree(points).query_pairs(equal * np.sqrt(PROJECTIONS), output_type="ndarray")
    copies: dict[int, int] = {}
    for one, other in pairs[np.lexsort(pairs.T[::-1])][: MOST_PAIRS * len(vertices)]:
        if one not in copies and other not in copies:
            if np.abs(vertices[one, used] - vertices[other, used]).max() < equal:
                copies[other] = one
    if copies:
        first = min(copies)
        log.warning(
            "Copies of other faces: %d, such as %s of %s; remove them, else models are tested on faces "
            "that they were trained on.",
            *(len(copies), names[first], names[copies[first]]),
        )


def _blocks(
    faces: np.ndarray, mean: np.ndarray, used: np.ndarray, align: bool, astray: Sequence[int] | np.ndarray = ()
) -> Iterator[np.ndarray]:
    """The faces, moved onto the mean if asked; vertices that are `astray` lie in its middle."""
    for start in range(0, len(faces), BLOCK):
        block = faces[start : start + BLOCK]
        block = align_rigidly(block, mean, used=used) if align else np.array(block)
        block[:, list(astray)] = mean[used].mean(axis=0)
        yield block


def _astray(blocks: Iterable[np.ndarray], mean: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Numbers of vertices that no polygon names and that are no place on a head; says how many there are."""
    loose = np.setdiff1d(np.arange(len(mean)), used)
    if not len(loose):
        return loose
    middle, size = mean[used].mean(axis=0), np.ptp(mean[used], axis=0).max()
    count, farthest, sums, squares = 0, np.zeros(len(loose)), np.zeros(mean.shape), np.zeros(mean.shape)
    for block in blocks:
        moved = block.astype(np.float64) - middle
        farthest = np.maximum(farthest, np.linalg.norm(moved[:, loose], axis=2).max(axis=0))
        count, sums, squares = count + len(block), sums + moved.sum(axis=0), squares + (moved**2).sum(axis=0)
    spread = np.maximum(squares / count - (sums / count) ** 2, 0).sum(axis=1)
    found = loose[(farthest > 2 * size) | (spread[loose] > 4 * spread[used].max())]
    if len(found):
        log.warning(
            "%d vertices belong to no polygon and are far from the head, or move as no place on it does; they are put "
            "in its middle, and no part moves them.",
            len(found),
        )
    return found
