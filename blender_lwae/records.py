# SPDX-License-Identifier: GPL-3.0-or-later
"""A face's properties as a record by names (`backend.face_file`) and back: for files, and for another model.

Properties that are plain values go along whatever they are called: a new one needs nothing here.
"""

from __future__ import annotations

import bpy
import numpy as np

from . import face, mix, models, shape, sync
from .backend.carry_over import Carried, carry_over
from .backend.errors import LwaeError
from .backend.face_file import SHAPE, DonorRecord, FaceRecord, PartRecord, join_parts, own_code, split_parts
from .backend.model import FaceModel

# What a record holds in another way, or what belongs to the vertices.
OWN = {"name", "is_face", "model_name", "model_hash", "sliders", "rest", "applied", "stamp"}
OF_PART = {"name"}
OF_WHOLE = {"name", "value"}
OF_DONOR = {"name", "code"}
# Texts of the face that `shape.encode_numbers` writes and that mean something on another mesh of its model.
ARRAYS = ("neck_edge",)
PLAIN = {"BOOLEAN": bool, "INT": int, "FLOAT": (int, float), "STRING": str, "ENUM": str}


def read_record(mesh: bpy.types.Mesh, name: str) -> FaceRecord:
    """What a face's properties say. A damaged array (the neck's edge) counts as not set, as it does for the shape.

    Args:
        name: that the face goes by.

    Raises:
        LwaeError: when its model is not installed.
    """
    model, state = face.model_of(mesh), mesh.lwae
    rest = shape.read_rest(state, model)
    parts = {}
    for k, part in enumerate(state.parts):
        numbers = rest[model.part_slice(k)]
        sliders = {control.name: _number(control.value) for control in part.controls}
        parts[part.name] = PartRecord(sliders, numbers.tolist() if numbers.any() else [], _plain(part, OF_PART))
    donors = []
    for donor in state.donors:
        amounts = {amount.name: _number(amount.value) for amount in donor.amounts}
        code = split_parts(model, shape.decode_numbers(donor.code))
        donors.append(DonorRecord(donor.name, code, amounts, _plain(donor, OF_DONOR)))
    return FaceRecord(
        name,
        model.name,
        model.hash,
        model.topology_hash,
        parts,
        {control.name: _number(control.value) for control in state.whole},
        donors,
        _plain(state, OWN),
        {control.name: _plain(control, OF_WHOLE) for control in state.whole},
        {name: shape.sound_numbers(getattr(state, name)).tolist() for name in ARRAYS},
        state.sliders,
    )


def add_shape(record: FaceRecord, mesh: bpy.types.Mesh) -> None:
    """Let the record of a face hold its shape too, donors included, but neither its settings nor what is held."""
    model = face.model_of(mesh)
    code = shape.read_code(mesh, model)
    record.arrays[SHAPE] = np.round(models.decoder(model).decode(code[None])[0], 2).ravel().tolist()


def model_of(record: FaceRecord) -> FaceModel:
    """The model that a record is in words of: as for a face, of several files of its hash that with its sliders.

    Raises:
        LwaeError: when it is not installed or damaged.
    """
    return models.by_hash(record.model_hash, record.model_name, record.sliders)


def carried_to(record: FaceRecord, model: FaceModel) -> Carried:
    """A record in words of another model, by way of its own where that is installed."""
    try:
        source = models.decoder(model_of(record))
    except LwaeError:
        source = None
    return carry_over(record, source, models.decoder(model))


def write_record(mesh: bpy.types.Mesh, model: FaceModel, record: FaceRecord) -> list[str]:
    """Make a face's properties say what a record does; where parts are locked, only the other parts.

    Locked parts keep their code, their donors and the sliders of the whole face, and with these the face's settings.
    Call `sync.follow` or `sync.write` after it. Where all donors are replaced, their animation is left to the caller.

    Args:
        mesh: a face of the model.
        record: fits the model (`face_file.fits`).

    Returns:
        Data paths of the sliders that were set.
    """
    state = mesh.lwae
    locked = {part.name for part in state.parts if part.locked}
    with sync.paused():
        if locked:
            return _write_free_parts(mesh, model, record, locked)
        return _write_all(state, model, record)


def _write_all(state: bpy.types.PropertyGroup, model: FaceModel, record: FaceRecord) -> list[str]:
    paths, rest = [], np.zeros(model.code_size, dtype=np.float32)
    for index, (part, said) in enumerate(zip(state.parts, record.parts.values(), strict=True)):
        for number, (control, value) in enumerate(zip(part.controls, said.sliders.values(), strict=True)):
            control.value = value
            paths.append(f"lwae.parts[{index}].controls[{number}].value")
        if said.rest:
            rest[model.part_slice(index)] = said.rest
        _set_plain(part, said.settings, OF_PART)
    for number, (control, value) in enumerate(zip(state.whole, record.whole.values(), strict=True)):
        control.value = value
        paths.append(f"lwae.whole[{number}].value")
        _set_plain(control, record.whole_settings.get(control.name, {}), OF_WHOLE)
    for name in ARRAYS:
        numbers = record.arrays.get(name)
        setattr(state, name, shape.encode_numbers(np.array(numbers, dtype=np.float32)) if numbers else "")
    state.rest = shape.encode_numbers(rest) if rest.any() else ""
    state.donors.clear()
    for donor in record.donors:
        paths += _add_donor(state, model, donor, locked=set())
    _set_plain(state, record.settings, OWN)
    return paths


def _write_free_parts(
    mesh: bpy.types.Mesh, model: FaceModel, record: FaceRecord, locked: set[str]
) -> list[str]:
    state = mesh.lwae
    free = [index for index, name in enumerate(model.part_names) if name not in locked]
    if not free:
        return []
    gave = [any(amount.value for amount in donor.amounts) for donor in state.donors]
    paths = face.store_code(mesh, model, own_code(record, model), free)
    paths = [path for path in paths if not path.startswith("lwae.donors")]
    for index in reversed(range(len(state.donors))):
        if gave[index] and not any(amount.value for amount in state.donors[index].amounts):
            mix.remove_donor(mesh, index)
    for donor in record.donors:
        if any(amount for name, amount in donor.amounts.items() if name not in locked):
            paths += _add_donor(state, model, donor, locked)
    return paths


def _add_donor(state: bpy.types.PropertyGroup, model: FaceModel, said: DonorRecord, locked: set[str]) -> list[str]:
    donor = state.donors.add()
    donor.name = said.name
    donor.code = shape.encode_numbers(join_parts(model, said.code))
    for name in model.part_names:
        amount = donor.amounts.add()
        amount.name = name
        amount.value = 0.0 if name in locked else said.amounts.get(name, 0.0)
    _set_plain(donor, said.settings, OF_DONOR)
    place = len(state.donors) - 1
    return [f"lwae.donors[{place}].amounts[{number}].value" for number in range(len(donor.amounts))]


def _plain_properties(group: bpy.types.PropertyGroup, skip: set[str]):
    for item in group.bl_rna.properties:
        if item.identifier in skip or item.is_readonly or item.is_skip_save or item.type not in PLAIN:
            continue
        if item.type == "STRING" and item.is_hidden:
            continue  # No settings: see `ARRAYS`, or what belongs to this mesh alone.
        yield item


def _plain(group: bpy.types.PropertyGroup, skip: set[str]) -> dict:
    result = {}
    for item in _plain_properties(group, skip):
        value = getattr(group, item.identifier)
        is_many = getattr(item, "is_array", False) or getattr(item, "is_enum_flag", False)
        result[item.identifier] = list(value) if is_many else _number(value) if item.type == "FLOAT" else value
    return result


def _number(value: float) -> float:
    """NaN, as a script may leave it, counts as 0, as it does for the shape."""
    return 0.0 if value != value else value


def _set_plain(group: bpy.types.PropertyGroup, settings: dict, skip: set[str]) -> None:
    """Set what exists here and may have that value; Blender keeps numbers within their limits."""
    for item in _plain_properties(group, skip):
        value = settings.get(item.identifier)
        kinds = PLAIN[item.type]
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, kinds) and (item.type == "BOOLEAN" or not isinstance(one, bool)) for one in values):
            continue
        if getattr(item, "is_enum_flag", False):
            value = set(values)
        elif item.type == "INT" and not isinstance(value, list):
            value = min(max(value, item.hard_min), item.hard_max)
        elif getattr(item, "is_array", False) != isinstance(value, list):
            continue
        try:
            setattr(group, item.identifier, value)
        except (TypeError, ValueError):
            continue  # An enum's item or an array's length of another version.
