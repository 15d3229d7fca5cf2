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
    rest = _addon("shape").read_rest(mesh.lwae, model)
    code = _addon("backend.controls").join_code(model, values, rest)
    decoded = _addon("backend.numpy_decoder").NumpyDecoder(model).decode(code[None])[0]
    return _addon("shape").hold(mesh.lwae, model, decoded) / 1000


def evaluated_positions(item: bpy.types.Object) -> np.ndarray:
    """Vertices as they are seen, after modifiers and shape keys."""
    return positions(item.evaluated_get(bpy.context.evaluated_depsgraph_get()).data)


def face_controls(mesh: bpy.types.Mesh) -> list:
    return [control for part in mesh.lwae.parts for control in part.controls] + list(mesh.lwae.whole)


def values(mesh: bpy.types.Mesh) -> list[float]:
    return [control.value for control in face_controls(mesh)]


def slide(mesh: bpy.types.Mesh, value: float, part: int = 0, control: int = 0) -> None:
    mesh.lwae.parts[part].controls[control].value = value


def slider_path(part: int = 0, control: int = 0) -> str:
    return f"lwae.parts[{part}].controls[{control}].value"


def camera_and_light() -> None:
    """A camera before the face; renders of 48 x 48 pixels."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0, -1, 0), (np.pi / 2, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("White")
    scene.render.resolution_x = scene.render.resolution_y = 48
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "PNG"


def cycles() -> None:
    """The same pixels each time, quickly."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = 4
    scene.cycles.use_denoising = False
    scene.cycles.seed = 0
    scene.render.threads_mode = "FIXED"
    scene.render.threads = 1


def exaggerate(face) -> None:
    """Keyframes large enough to be seen in few pixels."""
    for number, control in enumerate(face.data.lwae.parts[0].controls):
        for frame, value in ((1, -8), (11, 8)):
            control.value = value
            face.data.keyframe_insert(slider_path(0, number), frame=frame)


def pixels(path) -> np.ndarray:
    """A picture file as floats, row by row."""
    image = bpy.data.images.load(str(path))
    result = np.array(image.pixels[:])
    bpy.data.images.remove(image)
    return result
