# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders under animation: which ones are, and keying them when Auto Keying is on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy


def animated_paths(mesh: bpy.types.Mesh | bpy.types.Key) -> set[str]:
    """Data paths on a mesh, or on its shape keys, that keyframes, NLA strips or drivers decide."""
    data = mesh.animation_data
    if data is None:
        return set()
    paths = {driver.data_path for driver in data.drivers}
    return paths.union(curve.data_path for owner in owners(data) for curve in curves_of(owner))


def is_keyed_elsewhere(mesh: bpy.types.Mesh, frame: float) -> bool:
    """Whether the active action has keyframes of sliders on another frame."""
    data = mesh.animation_data
    curves = [curve for curve in curves_of(data) if curve.data_path.startswith("lwae.")] if data else []
    return any(abs(key.co.x - frame) > 1e-3 for curve in curves for key in curve.keyframe_points)


def remove_animation(mesh: bpy.types.Mesh, prefix: str) -> None:
    """Remove keyframes and drivers of all data paths that start with `prefix`, also in NLA strips.

    Actions that others use too stay as they are: the mesh gets copies. When no other animation is left, the mesh's
    animation data goes too.
    """
    data = mesh.animation_data
    if data is None:
        return
    for driver in [driver for driver in data.drivers if driver.data_path.startswith(prefix)]:
        data.drivers.remove(driver)
    for owner in owners(data):
        if any(curve.data_path.startswith(prefix) for curve in curves_of(owner)):
            make_action_single_user(owner)
        for path in {curve.data_path for curve in curves_of(owner) if curve.data_path.startswith(prefix)}:
            curves = curves_of(owner)
            curves.remove(next(curve for curve in curves if curve.data_path == path))
    if not animated_paths(mesh):
        mesh.animation_data_clear()


def move_animation(mesh: bpy.types.Mesh, new_paths: dict[str, str | None]) -> int:
    """Give keyframes and drivers new data paths, also in NLA strips.

    Actions that others use too stay as they are: the mesh gets copies.

    Args:
        new_paths: by old path, None for what loses its animation; paths that are not named stay.

    Returns:
        How many paths lost their animation.
    """
    lost = [path for path in animated_paths(mesh) if path in new_paths and new_paths[path] is None]
    for path in lost:
        remove_animation(mesh, path)
    data = mesh.animation_data
    if data is None:
        return len(lost)
    collections = [data.drivers]
    for owner in owners(data):
        if any(curve.data_path in new_paths for curve in curves_of(owner)):
            make_action_single_user(owner)
            collections.append(curves_of(owner))
    for curves in collections:
        moving = [(curve, curve.data_path) for curve in curves if curve.data_path in new_paths]
        for curve, path in moving:  # By way of paths that nothing has: sliders may swap places.
            curve.data_path = f"moving.{path}"
        for curve, path in moving:
            curve.data_path = new_paths[path]
    return len(lost)


def move_readers(meshes: Iterable[bpy.types.Mesh], new_paths: dict[str, str | None]) -> int:
    """Let drivers of this file that read properties of meshes read them at new data paths.

    Args:
        new_paths: as for `move_animation`; drivers of what is gone stay as they are.

    Returns:
        How many drivers read what is gone.
    """
    meshes = set(meshes)
    users = meshes.union(*bpy.data.user_map(subset=meshes).values())
    users.update([user.node_tree for user in users if getattr(user, "node_tree", None)])
    lost = 0
    for driver in [driver for user in users for driver in _own_drivers(user)]:
        targets = [target for variable in driver.driver.variables for target in variable.targets]
        read = [target for target in targets if target.id in meshes and target.data_path in new_paths]
        lost += any(new_paths[target.data_path] is None for target in read)
        for target in read:
            target.data_path = new_paths[target.data_path] or target.data_path
    return lost


def _own_drivers(item: bpy.types.ID) -> Iterable[bpy.types.FCurve]:
    data = getattr(item, "animation_data", None)
    return data.drivers if data and not item.library else ()


def auto_key(context: bpy.types.Context, mesh: bpy.types.Mesh | bpy.types.Key, paths: list[str]) -> int:
    """Key data paths on the current frame if Auto Keying is on.

    Returns:
        How many were keyed.
    """
    if not context.scene.tool_settings.use_keyframe_insert_auto:
        return 0
    if context.preferences.edit.use_keyframe_insert_available:
        data = mesh.animation_data
        keyed = {curve.data_path for curve in curves_of(data)} if data else set()
        paths = [path for path in paths if path in keyed]
    return sum(mesh.keyframe_insert(path, group="Face") for path in paths)


def owners(data: bpy.types.AnimData) -> list:
    """What has an action: the animation data itself and its NLA strips."""
    return [data, *(strip for track in data.nla_tracks for strip in _strips(track))]


def _strips(owner) -> Iterator[bpy.types.NlaStrip]:
    for strip in owner.strips:
        yield strip
        yield from _strips(strip)  # Meta strips hold strips.


def make_action_single_user(owner) -> None:
    """Give an AnimData or NLA strip a copy of its action where others or another file have that too."""
    action = owner.action
    if not action.library and action.users - action.use_fake_user < 2:
        return
    slot = None if bpy.app.version < (4, 4, 0) else owner.action_slot
    owner.action = action.copy()
    if slot is not None:
        owner.action_slot = owner.action.slots[slot.identifier]


def curves_of(owner):
    """Curves of an AnimData's or NLA strip's action."""
    action = owner.action
    if action is None:
        return ()
    if bpy.app.version < (4, 4, 0):
        return action.fcurves
    slot = owner.action_slot
    for layer in action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(slot) if slot else None
            if bag is not None:
                return bag.fcurves
    return ()
