# SPDX-License-Identifier: GPL-3.0-or-later
"""Which shape keys may follow a drag late: those that nothing shows, while a slider is under the mouse.

A face with many shape keys takes longer to move its keys than itself. What is seen is the reference key and, of keys
that are on, how they differ from the key that they are relative to; all other keys may wait. What they have yet to do
is kept on the mesh (`writer.write_positions`), and `sync` lets them do it before they can be seen or read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import bpy
import numpy as np

NONE: frozenset[str] = frozenset()
_held = 0


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keys may wait during this, also without a window; the caller then calls `sync.settle_all`, or see
    `sync.dragging`."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1


def is_held() -> bool:
    return _held > 0


def may_wait(mesh: bpy.types.Mesh) -> frozenset[str]:
    """Names of shape keys that need not follow a slider that has just moved.

    A script's sliders are none that are dragged: it may read its keys in the next line.
    """
    if mesh.shape_keys is None or not (_held or _is_under_the_mouse(mesh)):
        return NONE
    return unseen(mesh)


def _is_under_the_mouse(mesh: bpy.types.Mesh) -> bool:
    """Whether a field of the mesh is being used, as far as Blender tells."""
    if bpy.app.background:
        return False
    field = getattr(bpy.context, "property", None)
    return field is not None and field[0] == mesh


def unseen(mesh: bpy.types.Mesh) -> frozenset[str]:
    """Names of shape keys that change nothing of what is seen, and that no mode or modifier uses.

    Keys with animation of any kind never count, because it may switch them on in the next evaluation.
    """
    keys = mesh.shape_keys
    if keys is None or not keys.use_relative or keys.animation_data or mesh.library or mesh.override_library:
        return NONE
    blocks = keys.key_blocks
    seen = {keys.reference_key.name}
    values = np.empty(len(blocks), dtype=np.float32)
    blocks.foreach_get("value", values)
    for number in np.flatnonzero(values):  # Muted ones too: they come back without a new value.
        seen.update((blocks[number].name, blocks[number].relative_key.name))
    for item in bpy.data.objects:
        if item.data != mesh:
            continue
        if item.mode != "OBJECT":
            return NONE
        if item.active_shape_key is not None:  # What a pinned key, edit mode and sculpting show.
            seen.add(item.active_shape_key.name)
        for modifier in item.modifiers:
            if modifier.type == "CLOTH" and modifier.settings.rest_shape_key is not None:
                seen.add(modifier.settings.rest_shape_key.name)
    return frozenset(block.name for block in blocks) - seen
