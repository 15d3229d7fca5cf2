# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that were made with other sliders of the same model: a file saved before the model was exported again."""

from __future__ import annotations

import hashlib
import logging

import bpy
import numpy as np

from . import animation, face, mix, shape, switch, sync, writer
from .backend.errors import LwaeError
from .backend.model import MM_PER_METRE, FaceModel

log = logging.getLogger(__name__)

# Until models had sliders of the whole face, `mesh.lwae.sliders` was this long.
OLD_LENGTH = 8


def renew_sliders(mesh: bpy.types.Mesh) -> int:
    """Give a face today's sliders of its model; it keeps its shape, and its locks, seeds and kept edit.

    An edit by hand that was not kept yet is kept as an offset. Sliders show the face as it was seen, symmetry included,
    so the settings of that go to 0, without their animation. Donors that can be read stay, with amounts of 0 and
    without their animation. Keyframes and drivers of sliders follow them by name.

    Returns:
        How many drivers read sliders that are gone.

    Raises:
        LwaeError: when the mesh cannot be read or written.
    """
    state, model = mesh.lwae, face.model_of(mesh)
    edited = bool(state.stamp) and state.stamp not in (writer.stamp(mesh), _old_stamp(mesh))
    offset = face.read_offset(mesh)
    seen = writer.read_positions(mesh)
    own = seen if offset is None else seen - offset
    code = shape.encode_held(state, model, own * np.float32(MM_PER_METRE))
    with sync.paused():
        memory = {part.name: (part.locked, part.seed) for part in state.parts}
        kept = {control.name for control in state.whole if control.locked}
        name = state.model_name
        _renew_donors(mesh, model)
        places = switch.slider_places(state)
        face.make_face(mesh, model)
        state.model_name = name
        for part in state.parts:
            if part.name in memory:
                part.locked, part.seed = memory[part.name]
        face.clear_settings(mesh)
        face.store_code(mesh, model, code, range(model.part_count))
        for control in state.whole:  # Only now: kept ones would have stayed at 0.
            control.locked = control.name in kept
    moved = switch.new_paths(places, switch.slider_places(state))
    animation.move_animation(mesh, moved)
    readers = animation.move_readers((mesh,), moved)
    if edited:
        shown = shape.shape(mesh, model, shape.read_values(state)) / np.float32(MM_PER_METRE)
        face.store_offset(mesh, seen - shown)
    sync.write(mesh)
    return readers


def _renew_donors(mesh: bpy.types.Mesh, model: FaceModel) -> None:
    animation.remove_animation(mesh, "lwae.donors[")
    for index in reversed(range(len(mesh.lwae.donors))):
        donor = mesh.lwae.donors[index]
        if not shape.holds_numbers(donor.code, model.code_size):
            mix.remove_donor(mesh, index)
            continue
        donor.amounts.clear()
        for name in model.part_names:
            donor.amounts.add().name = name


def _old_stamp(mesh: bpy.types.Mesh) -> str:
    """What `writer.stamp` was when models had no sliders of the whole face."""
    return hashlib.blake2b(writer.read_positions(mesh), digest_size=8).hexdigest()


def renew_old_faces() -> None:
    """Renew the sliders of all faces of this file that were saved by an older version."""
    for mesh in bpy.data.meshes:
        if mesh.library or mesh.override_library or not mesh.lwae.is_face or len(mesh.lwae.sliders) != OLD_LENGTH:
            continue
        trouble = face.trouble(mesh)
        if trouble is None or trouble.kind != "SLIDERS":
            continue
        try:
            renew_sliders(mesh)
        except LwaeError as error:
            log.warning("%s", error)
