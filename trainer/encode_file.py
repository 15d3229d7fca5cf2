# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh file to the code of a model: `python -m trainer encode MODEL.lwae MESH --out FACE.json`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.encode_mesh import encode_mesh
from backend.errors import LwaeError
from backend.lwae_file import load_model
from backend.numpy_decoder import NumpyDecoder

from .datasets.mesh_files import SUFFIXES, read_mesh
from .face_facts import write_facts


def encode_file(
    model_path: Path, mesh_path: Path, out: Path, scale: str | float = "units", robust: bool = False
) -> str:
    """Write the code, slider values, pose and error of a mesh as JSON; vertices at NaN are taken for missing.

    Args:
        scale, robust: as in `backend.encode_mesh.encode_mesh`.

    Returns:
        A line that says how near the face is.

    Raises:
        LwaeError: as `load_model`, `read_mesh` and `encode_mesh` do, or when the file cannot be written.
    """
    model = load_model(model_path)
    if mesh_path.suffix.lower() not in SUFFIXES:
        raise LwaeError(f"{mesh_path} is of an unknown kind; export it as OBJ, PLY or npz.")
    faces = read_mesh(mesh_path)[0]
    if len(faces) != 1:
        raise LwaeError(f"{mesh_path} holds {len(faces)} faces; save the one to encode in a file of its own.")
    there = np.isfinite(faces[0]).all(axis=1)
    face = encode_mesh(NumpyDecoder(model), faces[0], there.astype(float), scale, robust)
    measures = {"mean_error_mm": face.mean_error, "max_error_mm": face.max_error}
    write_facts(out, model, measures, face.pose, face.code)
    missing = f", {len(there) - there.sum()} vertices missing" if not there.all() else ""
    return (
        f"{out}: {face.mean_error:.3f} mm mean, {face.max_error:.2f} mm max, "
        f"with {face.pose.scale:g} mm per unit{missing}"
    )
