# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders under animation: which ones are, and keying them when Auto Keying is on."""

from __future__ import annotations

import bpy


def animated_paths(mesh: bpy.types.Mesh) -> set[str]:
    """Data paths on a mesh that keyframes or drivers decide."""
    data = mesh.animation_data
    if data is None:
        return set()
    paths = {driver.data_path for driver in data.drivers}
    return paths.union(curve.data_path for curve in _curves(data))


def remove_animation(mesh: bpy.types.Mesh, prefix: str) -> None:
    """Remove keyframes and drivers of all data paths that start with `prefix`."""
    data = mesh.animation_data
    if data is None:
        return
    for driver in [driver for driver in data.drivers if driver.data_path.startswith(prefix)]:
        data.drivers.remove(driver)
    for path in {curve.data_path for curve in _curves(data) if curve.data_path.startswith(prefix)}:
        curves = _curves(data)
        curves.remove(next(curve for curve in curves if curve.data_path == path))


def auto_key(context: bpy.types.Context, mesh: bpy.types.Mesh, paths: list[str]) -> int:
    """Key data paths on the current frame if Auto Keying is on.

    Returns:
        How many were keyed.
    """
    if not context.scene.tool_settings.use_keyframe_insert_auto:
        return 0
    if context.preferences.edit.use_keyframe_insert_available:
        animated = animated_paths(mesh)
        paths = [path for path in paths if path in animated]
    return sum(mesh.keyframe_insert(path, group="Face") for path in paths)


def _curves(data: bpy.types.AnimData):
    action = data.action
    if action is None:
        return ()
    if bpy.app.version < (4, 4, 0):
        return action.fcurves
    slot = data.action_slot
    for layer in action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(slot) if slot else None
            if bag is not None:
                return bag.fcurves
    return ()
