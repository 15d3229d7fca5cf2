# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces of AFLW2000-3D and 300W-LP (Zhu et al. 2016, 3DDFA, arXiv 1511.07212): parameters of the Basel Face Model.

Each image has a MATLAB file with `Shape_Para` a and `Exp_Para` e of its face, x = mu_shape + mu_exp + w a + w_exp e,
in micrometres, Y up. The face's pose in the image (`Pose_Para`) is left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.errors import LwaeError

from .alignment import frame_matrix
from .dataset import Dataset, Template, write_dataset
from .linear_model import LinearModel
from .mat_files import read_mat
from .outward import facing_outwards

LARGEST = 10.0  # times the mean face's extent: a vertex farther out is no face's


def prepare_aflw2000(
    source: Path, bfm: Path, exp: Path, path: Path, *, neutral: bool = False, seed: int = 0
) -> Dataset:
    """Write the faces of all images as a data set, in the order of the files' names; labels are the parameters.

    Centroids without expressions are moved to the origin; the Basel Face Model's scans are aligned already.
    Any number of vertices and of shapes will do.

    Args:
        source: folder of one MATLAB file for each image; other kinds of files are ignored.
        bfm: `Model_Shape.mat` with mu_shape [3N, 1], w [3N, I] and tri [3, T], which counts from 1.
        exp: `Model_Exp.mat` with mu_exp [3N, 1] and w_exp [3N, E].
        neutral: leave out w_exp e, so that all have the mean expression.
        seed: of the split into training and test faces.

    Raises:
        LwaeError: a file is missing, damaged, lacks what it should hold or does not fit the others, or the folder
            `path` exists or cannot be written.
    """
    source, bfm, exp, path = Path(source), Path(bfm), Path(exp), Path(path)
    if path.exists():
        raise LwaeError(f"{path} exists already; choose another folder or delete it first.")
    files = _find(source, bfm, exp)
    model, template = _read_model(bfm, exp)
    # Shapes, their file and their parameters' name, in the order of the labels.
    kinds = [(model.identity, bfm, "Shape_Para"), (model.expression, exp, "Exp_Para")]
    formula, options = "mu_shape + mu_exp + w a + w_exp e", []
    if neutral:
        model.expression, kinds = model.expression[:0], kinds[:1]
        formula, options = "mu_shape + mu_exp + w a", ["--neutral"]
    parameters = np.stack([_read_parameters(file, kinds) for file in tqdm(files, unit="file", disable=None)])
    split = len(model.identity)
    options = ["--aflw", source.name, "--bfm", bfm.name, "--exp", exp.name, *options, f"--seed={seed}"]
    return write_dataset(
        path,
        _faces(model, parameters[:, :split], parameters[:, split:], files),
        len(files),
        template,
        name="Basel Face Model, parameters of images",
        licence="research only, non-commercial: see the Basel Face Model's licence",
        provenance=f"{len(files)} faces of {source.name}, {formula} of {bfm.name} and {exp.name}, without pose",
        command=f"python -m trainer prepare aflw2000 {shlex.join(options)} --out DATA",
        seed=seed,
        label_names=[f"{name}[{i}]" for basis, _, name in kinds for i in range(len(basis))],
        labels=parameters,
    )


def _find(source: Path, *model: Path) -> list[Path]:
    if not source.is_dir():
        raise LwaeError(f"There is no folder {source}; name the folder of the images' .mat files.")
    others = {file.resolve() for file in model}
    files = [file for file in source.glob("*.mat") if file.name[0] != "." and file.resolve() not in others]
    if len(files) < 2:
        raise LwaeError(f"{source} has .mat files of {len(files)} faces; a data set needs two, a model hundreds.")
    return sorted(files)


def _read_model(bfm: Path, exp: Path) -> tuple[LinearModel, Template]:
    mean_shape, w, tri = read_mat(bfm, ("mu_shape", "w", "tri"))
    mean_expression, w_exp = read_mat(exp, ("mu_exp", "w_exp"))
    size = mean_shape.size
    for file, name, numbers in ((bfm, "w", len(w)), (exp, "mu_exp", mean_expression.size), (exp, "w_exp", len(w_exp))):
        if numbers != size or size % 3:
            raise LwaeError(
                f"{name} of {file} has {numbers} rows but mu_shape of {bfm} {size}, three for each vertex; "
                "get both files from the same source."
            )
    frame = frame_matrix(1e-3, "y", "z")
    mean = (mean_shape.astype(np.float64).reshape(-1, 3) + mean_expression.reshape(-1, 3)) @ frame.T
    model = LinearModel(mean, *(_shapes(basis, frame) for basis in (w, w_exp)))
    triangles = tri.T if len(tri) == 3 else tri
    if triangles.shape[1] != 3 or (triangles % 1).any() or triangles.min() < 1 or triangles.max() > len(mean):
        raise LwaeError(f"tri of {bfm} does not list triangles of vertices 1 to {len(mean)}; get the original file.")
    template = Template(
        polygon_sizes=np.full(len(triangles), 3),
        polygon_vertices=triangles.astype(np.int64).ravel() - 1,
        uv=np.zeros((0, 2)),
        polygon_material=np.zeros(len(triangles), np.uint8),
    )
    return model, facing_outwards(model.mean, template)


def _shapes(basis: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Columns of a basis [3N, M] as shapes float32 [M, N, 3]."""
    rows = np.ascontiguousarray(basis.T, dtype=np.float32).reshape(basis.shape[1], -1, 3)
    return rows @ frame.T.astype(np.float32)


def _read_parameters(file: Path, kinds: list[tuple[np.ndarray, Path, str]]) -> np.ndarray:
    values = read_mat(file, tuple(name for _, _, name in kinds))
    for value, (basis, model, name) in zip(values, kinds, strict=True):
        if value.size != len(basis):
            raise LwaeError(
                f"{name} of {file} has {value.size} numbers but {model} has {len(basis)} shapes; "
                "use the model that the faces were fitted with."
            )
    return np.concatenate([value.ravel() for value in values])


def _faces(model: LinearModel, identity: np.ndarray, expression: np.ndarray, files: list[Path]) -> Iterator[np.ndarray]:
    """Blocks of faces; a damaged parameter shows in a face of impossible size."""
    largest, done = LARGEST * np.ptp(model.mean, axis=0).max(), 0
    with np.errstate(over="ignore", invalid="ignore"):
        for block in model.faces(identity, expression, rotate=False):
            possible = (np.abs(block) <= largest).all(axis=(1, 2))
            if not possible.all():
                file = files[done + int(np.flatnonzero(~possible)[0])]
                raise LwaeError(
                    f"{file} gives a face more than {LARGEST:g} times as large as the mean face, so it is damaged or "
                    "for another model; remove it or get it again."
                )
            yield block
            done += len(block)
