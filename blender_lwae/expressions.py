# SPDX-License-Identifier: GPL-3.0-or-later
"""Facial actions of a model as shape keys of a face. `writer` lets them follow when the face changes."""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np

from . import face, mesh_build, models, sync, writer
from .backend.errors import LwaeError
from .backend.model import MM_PER_METRE

# Identifier, label, tooltip, and how names of its actions begin; the last takes what is left.
GROUPS = (
    ("BROWS", "Brows", "Brows down, up, and up inside", ("brow",)),
    ("LIDS", "Eyelids", "Blink, squint and wide eyes", ("eyeBlink", "eyeSquint", "eyeWide")),
    ("GAZE", "Gaze", "Eyes and lids that look up, down, in and out", ("eyeLook",)),
    ("CHEEKS", "Cheeks and Nose", "Puffed and raised cheeks, and a sneering nose", ("cheek", "nose")),
    ("JAW", "Jaw", "An open jaw, and one moved forward or aside", ("jaw",)),
    ("MOUTH", "Mouth", "Smile, frown, pucker, funnel and other shapes of the lips", ("mouth", "tongue")),
    ("OTHER", "Others", "Actions of other names", ("",)),
)


def group_of(name: str) -> str:
    """Identifier of the group that an action belongs to."""
    return next(identifier for identifier, _, _, starts in GROUPS if name.startswith(starts))


def key_blocks(mesh: bpy.types.Mesh) -> list[bpy.types.ShapeKey]:
    """Shape keys of a face that are named as an expression of its model.

    Raises:
        LwaeError: when the model is missing.
    """
    if not mesh.shape_keys:
        return []
    known = models.tools(face.model_of(mesh)).expressions.numbers
    return [key for key in mesh.shape_keys.key_blocks if key.name in known]


def add_keys(item: bpy.types.Object, names: Iterable[str], rebuild: bool = False) -> list[str]:
    """Add expressions as shape keys, 0 to 1, to the face as it is now.

    Args:
        item: an object with a face mesh in this file.
        names: of expressions of its model.
        rebuild: make keys that exist anew instead of leaving them as they are.

    Returns:
        Names of the keys that were made.

    Raises:
        LwaeError: when the model has no such expression, or the mesh's keys are absolute.
    """
    mesh = item.data
    follower = models.tools(face.model_of(mesh)).expressions
    names = list(names)
    unknown = [name for name in names if name not in follower.numbers]
    if unknown:
        raise LwaeError(f"{mesh.lwae.model_name} has no expression {unknown[0]!r}.")
    if mesh.shape_keys and not mesh.shape_keys.use_relative:
        raise LwaeError("The shape keys of this mesh are absolute; switch on Relative in the Data tab.")
    sync.settle(mesh)
    positions = writer.read_positions(mesh)
    if not mesh.shape_keys:
        item.shape_key_add(name="Basis", from_mix=False)
    mesh_build.drop_modifier(mesh)
    made = []
    for name in names:
        key = mesh.shape_keys.key_blocks.get(name)
        if key is not None and not rebuild:
            continue
        if key is None:
            key = item.shape_key_add(name=name, from_mix=False)
            key.slider_min, key.slider_max, key.value = 0.0, 1.0, 0.0
        vertices, deltas = follower.delta(follower.numbers[name], positions * np.float32(MM_PER_METRE))
        points = positions.copy()
        points[vertices] += deltas / np.float32(MM_PER_METRE)
        key.points.foreach_set("co", points.ravel())
        made.append(name)
    mesh.update()
    return made
