# SPDX-License-Identifier: GPL-3.0-or-later
"""A face made with one model becomes a face of another one.

Where both models have the same vertices, what is seen is encoded again, so that the shape stays; elsewhere sliders of
the same part and name are carried over to a new mesh. Keyframes and drivers follow their sliders by name.
"""

from __future__ import annotations

from typing import NamedTuple

import bpy
import numpy as np

from . import animation, face, mesh_build, mix, models, records, shape, sync, writer
from .backend.carry_over import Carried
from .backend.errors import LwaeError
from .backend.face_file import FaceRecord, PartRecord
from .backend.model import MM_PER_METRE, FaceModel
from .new_objects import link_beside


class Switched(NamedTuple):
    """The mesh that has the new model, what happened, and what was lost on the way."""

    mesh: bpy.types.Mesh
    sentence: str
    lost: list[str]


def keeps_vertices(mesh: bpy.types.Mesh, model: FaceModel) -> bool:
    """Whether the mesh has the vertices and polygons of a model."""
    return writer.topology_matches(mesh, model.polygon_sizes, model.polygon_vertices, model.vertex_count)


def switch(mesh: bpy.types.Mesh, model: FaceModel, keep_offset: bool) -> Switched:
    """Make a mesh of this file a face of another model.

    Args:
        mesh: a face, not in edit mode. It is changed itself where it has the model's vertices; elsewhere a new mesh
            takes its place for all its users, with the same name, materials and animation.
        keep_offset: keep what the new model cannot show of the shape as an offset, where the vertices are the same.

    Raises:
        LwaeError: when the mesh cannot be written.
    """
    sync.settle(mesh)
    had_keys = bool(mesh.shape_keys)
    places = slider_places(mesh.lwae)
    if keeps_vertices(mesh, model):
        sentence, lost = _encode(mesh, model, keep_offset)
        target = mesh
    else:
        carried = _carried_by_names(mesh, model)
        target = _rebuilt(mesh, model)
        face.make_face(target, model)
        records.write_record(target, model, carried.record)
        sentence = f"Sliders of the same name were carried over to the model {model.name}"
        lost = [*carried.left, *_lost_with_mesh(mesh)]
    moved = new_paths(places, slider_places(target.lwae))
    animated = animation.move_animation(target, moved)
    if animated:
        lost.append(f"the animation of {animated} sliders")
    readers = animation.move_readers((mesh, target), moved)
    if readers:
        lost.append(f"drivers that read its sliders ({readers})")
    with sync.paused():  # What was animated shows its current values.
        sync.write(target)
    if target is not mesh:
        _replace(mesh, target)
        if had_keys:  # Without them it takes the modifier again.
            mesh_build.restore_modifier(target)
    return Switched(target, sentence, lost)


def copy_face(source: bpy.types.Object) -> bpy.types.Object:
    """A copy of a face beside it, with a mesh of its own, linked where the face is."""
    copy = source.copy()
    copy.data = source.data.copy()
    link_beside(copy, source)
    for block in (copy, copy.data):  # A copy of an override is one too.
        if block.override_library:
            block.make_local()
    copy.location.x += 1.2 * source.dimensions.x
    return copy


def _encode(mesh: bpy.types.Mesh, model: FaceModel, keep_offset: bool) -> tuple[str, list[str]]:
    """The same vertices."""
    trouble = face.trouble(mesh)
    edited = trouble is not None  # By hand, or it cannot be told because the old model is missing.
    offset = face.read_offset(mesh)
    before = writer.read_positions(mesh)
    lost = []
    carried = None
    if edited:
        # The mesh itself is all there is: an edit goes along as far as the model can show it, and stays as offset.
        seen = before if offset is None else before - offset
        code = shape.encode_held(mesh.lwae, model, seen * np.float32(MM_PER_METRE))
        lost = ["its donors"] if len(mesh.lwae.donors) else []
        locked, kept, seeds = _locks(mesh)
        mix.remove_donors(mesh)
        face.make_face(mesh, model)
        with sync.paused():
            if face.clear_settings(mesh):
                lost.append("the symmetry settings")
            face.store_code(mesh, model, code, range(model.part_count))
            for part in mesh.lwae.parts:
                part.locked, part.seed = part.name in locked, seeds.get(part.name, 0)
            for control in mesh.lwae.whole:
                control.locked = control.name in kept
    else:
        _note_average_edge(mesh, model)
        carried = records.carried_to(records.read_record(mesh, mesh.name), model)
        face.make_face(mesh, model)
        records.write_record(mesh, model, carried.record)
        lost = carried.left
    with sync.paused():
        sync.write(mesh)
    difference = before - writer.read_positions(mesh)
    errors = np.linalg.norm(difference, axis=1) * MM_PER_METRE
    error = f"{errors.mean():.2f} mm on average, {errors.max():.2f} at most"
    if keep_offset or edited:
        face.store_offset(mesh, difference if offset is None else difference + offset)
        return f"The face has the model {model.name} and the same shape; an offset holds {error}", lost
    return f"The face was encoded for the model {model.name}; its shape changed by {error}", lost


def _note_average_edge(mesh: bpy.types.Mesh, model: FaceModel) -> None:
    """A neck that is kept where its model has it on average stays there, also with a model of another average."""
    edge, other = (models.tools(one).neck.mean_edge for one in (face.model_of(mesh), model))
    if mesh.lwae.keep_neck and not mesh.lwae.neck_edge and not np.array_equal(edge, other):
        mesh.lwae.neck_edge = shape.encode_numbers(edge.ravel())


def _carried_by_names(mesh: bpy.types.Mesh, model: FaceModel) -> Carried:
    state = mesh.lwae
    try:
        record = records.read_record(mesh, mesh.name)
    except (LwaeError, ValueError, IndexError):  # Its model is missing, or its sliders are another version's.
        parts = {
            part.name: PartRecord(
                {control.name: control.value for control in part.controls},
                [0.0],  # Whether there was more is not known: say that it is left out.
                {"locked": part.locked, "seed": part.seed},
            )
            for part in state.parts
        }
        record = FaceRecord(mesh.name, state.model_name, state.model_hash, parts=parts, sliders=state.sliders)
        record.whole = {control.name: control.value for control in state.whole}
    return records.carried_to(record, model)


def _locks(mesh: bpy.types.Mesh) -> tuple[set[str], set[str], dict[str, int]]:
    """Names of locked parts and of kept sliders of the whole face; seeds by part."""
    locked, kept = ({item.name for item in items if item.locked} for items in (mesh.lwae.parts, mesh.lwae.whole))
    return locked, kept, {part.name: part.seed for part in mesh.lwae.parts}


def _rebuilt(mesh: bpy.types.Mesh, model: FaceModel) -> bpy.types.Mesh:
    """A copy of a mesh, so that its animation and properties come along, with the vertices of the model."""
    copy = mesh.copy()
    if copy.shape_keys:
        holder = bpy.data.objects.new(copy.name, copy)
        holder.shape_key_clear()
        bpy.data.objects.remove(holder)
    copy.clear_geometry()
    mesh_build.fill_face_mesh(copy, model)
    return copy


def _lost_with_mesh(mesh: bpy.types.Mesh) -> list[str]:
    lost = []
    trouble = face.trouble(mesh)
    if mesh.shape_keys:
        lost.append("shape keys")
    if face.OFFSET in mesh.attributes or (trouble is not None and trouble.kind in {"EDITED", "TOPOLOGY"}):
        lost.append("your own edit of the mesh")
    if any(len(vertex.groups) for vertex in mesh.vertices):
        lost.append("weights of vertex groups")
    return lost


def _replace(old: bpy.types.Mesh, new: bpy.types.Mesh) -> None:
    name = old.name
    old.user_remap(new)
    if not old.users:
        bpy.data.meshes.remove(old)
    else:  # Somebody gave it a fake user.
        old.name = f"{name}.before"
    new.name = name


def slider_places(state: bpy.types.PropertyGroup) -> dict[tuple, str]:
    """Data paths of what can be animated, by name."""
    places = {}
    for index, part in enumerate(state.parts):
        for number, control in enumerate(part.controls):
            places["part", part.name, control.name] = f"lwae.parts[{index}].controls[{number}].value"
    for number, control in enumerate(state.whole):
        places["whole", control.name] = f"lwae.whole[{number}].value"
    for index, donor in enumerate(state.donors):
        for number, amount in enumerate(donor.amounts):
            places["donor", donor.name, amount.name] = f"lwae.donors[{index}].amounts[{number}].value"
    return places


def new_paths(before: dict[tuple, str], after: dict[tuple, str]) -> dict[str, str | None]:
    """Data paths of `slider_places` by what they were before, None for what is gone, as `animation` moves them."""
    return {path: after.get(place) for place, path in before.items()}
