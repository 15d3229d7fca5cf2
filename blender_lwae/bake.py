# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves the tool: plain copies of faces, and shape keys of positions."""

from __future__ import annotations

import bpy
import numpy as np

from . import animation, face, mesh_build, part_colours, shape, sync, writer
from .backend.controls import part_controls
from .backend.model import MM_PER_METRE, WHOLE, FaceModel
from .new_objects import link_beside


def make_plain(mesh: bpy.types.Mesh) -> None:
    """Turn a face into an ordinary mesh of the same shape: no sliders, no animation of them, no kept edit."""
    sync.settle(mesh)
    writer.catch_up(mesh, None)  # What waits for a missing model.
    part_colours.hide(mesh)
    animation.remove_animation(mesh, "lwae.")
    face.store_offset(mesh, None)
    mesh.property_unset("lwae")
    mesh_build.drop_modifier(mesh)


def plain_copy(item: bpy.types.Object, name: str, keys: bool = True) -> bpy.types.Object:
    """A copy of a face's object with an ordinary mesh, in the same collections and place.

    Args:
        name: of the new object and mesh.
        keys: whether shape keys come along.
    """
    copy = item.copy()
    copy.name = name
    copy.data = item.data.copy()
    copy.data.name = name
    if all(path.startswith("lwae.") for path in animation.animated_paths(copy.data)):
        copy.data.animation_data_clear()  # Leaves no action without users behind.
    if not keys and copy.data.shape_keys:
        copy.shape_key_clear()
    make_plain(copy.data)
    link_beside(copy, item)
    return copy


def select_only(context: bpy.types.Context, items: list[bpy.types.Object]) -> None:
    """Select objects and nothing else; the first becomes active."""
    for other in context.selected_objects:
        other.select_set(False)
    for item in items:
        item.select_set(True)
    context.view_layer.objects.active = items[0]


def hide(items: list[bpy.types.Object]) -> None:
    """Hide what the copies now show, in the viewport and in renders."""
    for item in items:
        item.hide_set(True)
        item.hide_render = True


def slider_path(model: FaceModel, index: int) -> str:
    """Data path of a control's slider on the mesh."""
    part = model.controls[index].part
    number = part_controls(model, part).index(index)
    return f"lwae.whole[{number}].value" if part == WHOLE else f"lwae.parts[{part}].controls[{number}].value"


def control_label(model: FaceModel, index: int) -> str:
    """What a control is called outside its part: "Nose Width"; those of the whole face by their own name."""
    control = model.controls[index]
    return control.name if control.part == WHOLE else f"{model.part_names[control.part].capitalize()} {control.name}"


def control_change(mesh: bpy.types.Mesh, model: FaceModel, index: int) -> tuple[np.ndarray, float]:
    """How a face changes with one control, linear around what it shows now.

    The slope is that of the chord from one unit below to one above; the face's own slider stays where it is.

    Returns:
        float32 [N, 3] in metres for one unit, and how far the face at three units either way is at most from three
        times that, in mm.
    """
    now = shape.read_values(mesh.lwae)

    def at(step: float) -> np.ndarray:
        values = now.copy()
        values[index] += step
        return shape.shape(mesh, model, values)

    change = (at(1) - at(-1)) / 2
    base = shape.shape(mesh, model, now)
    error = max(np.linalg.norm(at(step) - base - step * change, axis=1).max() for step in (-3, 3))
    return change / np.float32(MM_PER_METRE), float(error)


def add_key(item: bpy.types.Object, name: str, positions: np.ndarray) -> bpy.types.ShapeKey:
    """A shape key at positions, float32 [N, 3] in metres, relative to the basis, which is made when there is none."""
    if item.data.shape_keys is None:
        item.shape_key_add(name="Basis", from_mix=False)
    key = item.shape_key_add(name=name, from_mix=False)
    key.points.foreach_set("co", np.ascontiguousarray(positions, dtype=np.float32).ravel())
    return key


def add_control_key(item: bpy.types.Object, name: str, change: np.ndarray, reach: float = 3) -> bpy.types.ShapeKey:
    """A shape key that does what a control does.

    Args:
        change: float32 [N, 3] in metres for one unit.
        reach: how far its value goes, either way.
    """
    key = add_key(item, name, writer.read_positions(item.data) + change)
    key.slider_min, key.slider_max, key.value = -reach, reach, 0
    return key


def drive_by_property(item: bpy.types.Object, key: bpy.types.ShapeKey) -> None:
    """A custom property of the object, named as the key, drives it."""
    item[key.name] = 0.0
    item.id_properties_ui(key.name).update(
        default=0.0, min=key.slider_min, max=key.slider_max, description=f"Drives the shape key {key.name}"
    )
    item.property_overridable_library_set(f'["{bpy.utils.escape_identifier(key.name)}"]', True)
    _drive(key, "OBJECT", item, f'["{bpy.utils.escape_identifier(key.name)}"]', "value")


def drive_by_slider(key: bpy.types.ShapeKey, mesh: bpy.types.Mesh, path: str, start: float) -> None:
    """The slider of a face drives a key: 0 where the slider was when the key was made."""
    _drive(key, "MESH", mesh, path, f"value - {start:.9g}" if start else "value")


def _drive(key: bpy.types.ShapeKey, kind: str, source: bpy.types.ID, path: str, expression: str) -> None:
    # Expressions as plain as these run without Python, so also in files that may not run scripts.
    driver = key.driver_add("value").driver
    variable = driver.variables.new()
    variable.name = "value"
    variable.targets[0].id_type = kind
    variable.targets[0].id = source
    variable.targets[0].data_path = path
    driver.expression = expression
