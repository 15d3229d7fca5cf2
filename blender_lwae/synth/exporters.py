# SPDX-License-Identifier: GPL-3.0-or-later
"""OBJ, STL and glTF through Blender's own exporters, checked and put in place only when complete."""

from __future__ import annotations

import os
from pathlib import Path

import addon_utils
import bpy
import numpy as np

from ..backend.errors import LwaeError
from ..backend.files import refusals
from ..backend.model import FaceModel
from .stage import Stage

UNIT_SCALE = {"m": 1.0, "mm": 1000.0}  # Blender's scene is in metres.


class Exporter:
    """Exports faces of one model, one after the other, through one object.

    OBJ and glTF have Y up, STL Z up, as Blender's menus export them; OBJ brings its materials in a .mtl file.
    """

    def __init__(self, kind: str, model: FaceModel, unit: str, scratch: Path):
        if kind == "glb":
            need_addon("io_scene_gltf2", "glTF files need")
        self._kind, self._scale, self._scratch = kind, UNIT_SCALE[unit], scratch
        self._vertex_count = model.vertex_count
        self._polygon_count = len(model.polygon_sizes)
        self._triangle_count = int((model.polygon_sizes - 2).sum())
        self._stage = Stage(model)

    def save(self, path: Path, vertices: np.ndarray) -> None:
        """Write a face.

        Args:
            vertices: float32 [N, 3] in mm.

        Raises:
            LwaeError: when the exporter fails or its file is not whole (disk full).
        """
        self._stage.show(vertices, path.stem)
        unfinished = self._scratch / path.name
        try:
            with self._stage.active():
                getattr(self, f"_export_{self._kind}")(str(unfinished))
        except RuntimeError as error:
            with refusals(path):
                raise OSError(last_line(error)) from error
        if not unfinished.is_file() or not getattr(self, f"_whole_{self._kind}")(unfinished):
            raise LwaeError(f"Cannot write {path}: Blender's exporter left it unfinished; is the disk full?")
        for extra in (unfinished.with_suffix(".mtl"), unfinished):
            if extra.is_file():
                put_in_place(extra, path.with_name(extra.name))

    def _export_obj(self, path: str) -> None:
        bpy.ops.wm.obj_export(filepath=path, export_selected_objects=True, global_scale=self._scale)

    def _whole_obj(self, path: Path) -> bool:
        text = path.read_bytes()
        counts = text.count(b"\nv "), text.count(b"\nf ")
        return counts == (self._vertex_count, self._polygon_count) and text.endswith(b"\n")

    def _export_stl(self, path: str) -> None:
        bpy.ops.wm.stl_export(filepath=path, export_selected_objects=True, global_scale=self._scale)

    def _whole_stl(self, path: Path) -> bool:
        return path.stat().st_size == 84 + 50 * self._triangle_count

    def _export_glb(self, path: str) -> None:
        bpy.ops.export_scene.gltf(
            filepath=path, export_format="GLB", use_selection=True, export_animations=False, export_morph=False
        )

    def _whole_glb(self, path: Path) -> bool:
        start = path.read_bytes()[:12]
        return start[:4] == b"glTF" and int.from_bytes(start[8:], "little") == path.stat().st_size


def need_addon(name: str, what: str) -> None:
    """Switch on one of Blender's own add-ons for this session, if it is off.

    Args:
        what: needs it: "glTF files need".

    Raises:
        LwaeError: when this Blender has none of that name.
    """
    if not addon_utils.check(name)[1] and addon_utils.enable(name) is None:
        raise LwaeError(f"{what} Blender's own add-on {name}, which does not start here.")


def last_line(error: RuntimeError) -> str:
    """What an operator's error comes down to; around it are a traceback and where it was caught."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("Location:")), "unknown error")


def put_in_place(unfinished: Path, path: Path) -> None:
    """Force a file that Blender wrote to disk and rename it to its name."""
    try:
        with open(unfinished, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise LwaeError(f"Cannot write {path}: {error.strerror or error}.") from error
