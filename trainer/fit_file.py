# SPDX-License-Identifier: GPL-3.0-or-later
"""Any mesh of a head to the code of a model: `python -m trainer fit MODEL.lwae MESH --out FACE.json`."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from backend.errors import LwaeError
from backend.fit_doubt import fit_doubt
from backend.fit_mesh import MeshFit, Progress, fit_mesh
from backend.lwae_file import load_model
from backend.mesh_files import PlyFormat
from backend.numpy_decoder import NumpyDecoder
from backend.plausibility import Plausibility
from backend.polygons import triangulate

from .datasets.mesh_files import SUFFIXES, read_mesh
from .face_facts import write_facts
from .mesh.near_points import make_closest

log = logging.getLogger(__name__)


def fit_file(model_path: Path, mesh_path: Path, out: Path, scale: str = "units", ply: Path | None = None) -> str:
    """Write the code, slider values, pose and distance of the face that is nearest to a mesh as JSON.

    Args:
        scale: "units" or "free", as in `backend.fit_mesh.fit_mesh`.
        ply: also write the face, laid on the mesh and where the mesh is, to this file.

    Returns:
        A line that says how near the face is.

    Raises:
        LwaeError: as `load_model`, `read_mesh` and `fit_mesh` do, or when a file cannot be written.
    """
    model = load_model(model_path)
    if mesh_path.suffix.lower() not in SUFFIXES:
        raise LwaeError(f"{mesh_path} is of an unknown kind; export it as OBJ, PLY, STL or npz.")
    faces, template = read_mesh(mesh_path)
    if len(faces) != 1 or template is None:
        raise LwaeError(f"{mesh_path} does not hold one mesh with polygons; save the one to fit in a file of its own.")
    triangles = triangulate(template.polygon_sizes, template.polygon_vertices)
    said = ""
    for step in fit_mesh(NumpyDecoder(model), faces[0], triangles, make_closest, (), scale, ply is not None):
        if isinstance(step, Progress):
            if step.what != said:
                said = step.what
                log.info("%3.0f %%  %s", 100 * step.share, said)
        else:
            fit = step
    if doubt := fit_doubt(Plausibility(model), fit, scale):
        log.warning("Look at this fit before you trust it: %s.", doubt)
    near = fit.distance
    measures = {
        "chamfer_mm": _finite(near.chamfer),
        "face_to_mesh_mm": _finite(near.to_mesh),
        "mesh_to_face_mm": _finite(near.to_face),
        "coverage": near.coverage,
    }
    write_facts(out, model, measures, fit.pose, fit.code)
    if ply is not None:
        _write_ply(ply, model, fit)
    return (
        f"{out}: {near.chamfer:.2f} mm (symmetric Chamfer), {100 * near.coverage:.0f} % of the face seen, "
        f"with {fit.pose.scale:g} mm per unit"
    )


def _finite(distance: float) -> float | None:
    """JSON has no infinity, which a distance is where nothing matches."""
    return distance if math.isfinite(distance) else None


def _write_ply(path: Path, model, fit: MeshFit) -> None:
    face = fit.face if fit.offset is None else fit.face + fit.offset
    PlyFormat(model.vertex_count, model.polygon_sizes, model.polygon_vertices).write(
        path, fit.pose.inverse().apply(face)
    )
