# SPDX-License-Identifier: GPL-3.0-or-later
"""Positions of faces over frames: read from the scene, and put on plain copies that play them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

from . import animation, bake, writer
from .backend.files import file_stem


class Reader:
    """Reads what a face's object shows before its modifiers, on the frame that the scene is at.

    Shape keys are mixed in. Use it as a context: for that time a helper object shows the mesh, without modifiers, and
    lets Blender evaluate it where the face itself is disabled.
    """

    def __init__(self, context: bpy.types.Context, item: bpy.types.Object):
        self.context, self.item, self.helper = context, item, None

    def __enter__(self) -> Reader:
        self.helper = bpy.data.objects.new("Face Reader", self.item.data)
        self.helper.hide_render = True
        self.context.scene.collection.objects.link(self.helper)
        return self

    def __exit__(self, *_error) -> None:
        bpy.data.objects.remove(self.helper)

    def positions(self) -> np.ndarray:
        """float32 [N, 3] in metres, in the object's space."""
        if not self.item.data.shape_keys:
            return writer.read_positions(self.item.data)
        mesh = self.helper.evaluated_get(self.context.evaluated_depsgraph_get()).data
        result = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
        mesh.vertices.foreach_get("co", result)
        return result.reshape(-1, 3)


@contextlib.contextmanager
def kept_frame(scene: bpy.types.Scene) -> Iterator[None]:
    """The scene is on the same frame afterwards."""
    frame, subframe = scene.frame_current, scene.frame_subframe
    try:
        yield
    finally:
        scene.frame_set(frame, subframe=subframe)


def copy_at_first_frame(item: bpy.types.Object, positions: np.ndarray) -> bpy.types.Object:
    """A plain copy without shape keys, at positions float32 [N, 3] in metres."""
    copy = bake.plain_copy(item, f"{item.name} Baked", keys=False)
    copy.data.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(positions).ravel())
    if writer.STALE_BOUNDS:
        copy.data.vertices[0].co = copy.data.vertices[0].co
    copy.data.update()
    return copy


def play_by_keys(copy: bpy.types.Object, frames: list[int], samples: list[np.ndarray]) -> Iterator[int]:
    """Give a copy at the first sample a keyed shape key for each other one; yields how many are made.

    On a sample's frame its key alone is on; between two samples vertices go straight.
    """
    for number in range(1, len(frames)):
        key = bake.add_key(copy, f"Frame {frames[number]}", samples[number])
        for near in range(number - 1, min(number + 2, len(frames))):
            key.value = float(near == number)
            key.keyframe_insert("value", frame=frames[near])
        yield number
    if copy.data.shape_keys:
        for curve in animation.curves_of(copy.data.shape_keys.animation_data):
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"


def play_by_cache(copy: bpy.types.Object, path: Path, start: int, step: int) -> None:
    """Let a Mesh Cache modifier, before all others, play a PC2 file on a copy."""
    modifier = copy.modifiers.new("Face Animation", "MESH_CACHE")
    modifier.cache_format = "PC2"
    modifier.filepath = str(path)
    if bpy.data.filepath:
        with contextlib.suppress(ValueError):  # Windows has no relative path to another drive.
            modifier.filepath = bpy.path.relpath(str(path))
    modifier.interpolation = "LINEAR"
    modifier.frame_scale = 1 / step
    modifier.frame_start = start / step  # Taken off after scaling.
    copy.modifiers.move(len(copy.modifiers) - 1, 0)


def remove(items: list[bpy.types.Object]) -> None:
    """Remove plain copies with their meshes and key animation."""
    for item in items:
        mesh = item.data
        keys = mesh.shape_keys
        action = keys.animation_data.action if keys and keys.animation_data else None
        bpy.data.objects.remove(item)
        bpy.data.meshes.remove(mesh)
        if action is not None and not action.users:
            bpy.data.actions.remove(action)


def free_paths(folder: Path, names: list[str], suffix: str) -> list[Path]:
    """A file in a folder for each name, which does not exist yet: what played before goes on playing."""
    paths: dict[str, Path] = {}  # By what tells them apart where case does not.
    for name in names:
        stem = file_stem(name) or "Face"
        path, number = folder / f"{stem}{suffix}", 2
        while path.exists() or path.name.casefold() in paths:
            path, number = folder / f"{stem}-{number}{suffix}", number + 1
        paths[path.name.casefold()] = path
    return list(paths.values())
