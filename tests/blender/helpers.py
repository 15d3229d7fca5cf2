# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests inside Blender ask of a face again and again."""

from __future__ import annotations

import importlib

import bpy
import numpy as np


def _addon(name: str):
    return importlib.import_module(f"bl_ext.user_default.blender_lwae.{name}")


def positions(mesh: bpy.types.Mesh) -> np.ndarray:
    """Vertices as they are, float32 [N, 3] in metres."""
    result = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", result)
    return result.reshape(-1, 3)


def expected(mesh: bpy.types.Mesh, values: np.ndarray | None = None) -> np.ndarray:
    """Vertices as the sliders say, computed by the batch decoder from the properties alone."""
    model = _addon("models").default()
    if values is None:
        values = np.array([control.value for control in face_controls(mesh)], dtype=np.float32)
    rest = _addon("face").read_rest(mesh.lwae, model)
    code = _addon("backend.controls").join_code(model, values, rest)
    return _addon("backend.numpy_decoder").NumpyDecoder(model).decode(code[None])[0] / 1000


def evaluated_positions(item: bpy.types.Object) -> np.ndarray:
    """Vertices as they are seen, after modifiers and shape keys."""
    return positions(item.evaluated_get(bpy.context.evaluated_depsgraph_get()).data)


def face_controls(mesh: bpy.types.Mesh) -> list:
    return [control for part in mesh.lwae.parts for control in part.controls]


def values(mesh: bpy.types.Mesh) -> list[float]:
    return [control.value for control in face_controls(mesh)]


def slide(mesh: bpy.types.Mesh, value: float, part: int = 0, control: int = 0) -> None:
    mesh.lwae.parts[part].controls[control].value = value


def slider_path(part: int = 0, control: int = 0) -> str:
    return f"lwae.parts[{part}].controls[{control}].value"
