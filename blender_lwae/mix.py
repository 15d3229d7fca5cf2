# SPDX-License-Identifier: GPL-3.0-or-later
"""Donors of a face: adding, refreshing, removing them, and who gives which part.

Nothing here writes vertices: call `sync.follow` afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np

from . import animation, face, shape, sync
from .backend.errors import LwaeError
from .backend.mix import OWN, shuffled
from .backend.synthesis import SHUFFLE, face_rng


def amount_path(donor: int, part: int) -> str:
    return f"lwae.donors[{donor}].amounts[{part}].value"


def read_amounts(state: bpy.types.PropertyGroup) -> np.ndarray:
    """float32 [donors, K]."""
    result = np.zeros((len(state.donors), len(state.parts)), dtype=np.float32)
    for donor, row in zip(state.donors, result, strict=True):
        given = [amount.value for amount in donor.amounts][: len(row)]  # fewer in a damaged file
        row[: len(given)] = given
    return result


def add_donor(mesh: bpy.types.Mesh, name: str, code: np.ndarray) -> int:
    """Add a donor, or make the donor of that name what the code says; its amounts start at 0 or stay.

    Args:
        code: float32 [D], of the face's own model.

    Returns:
        The donor's number.

    Raises:
        LwaeError: when the code belongs to another model.
    """
    state, model = mesh.lwae, face.model_of(mesh)
    code = np.asarray(code, dtype=np.float32)
    if code.shape != (model.code_size,) or not np.isfinite(code).all():
        raise LwaeError(f"{name} was made with another model than {mesh.name}, so their parts cannot be mixed.")
    index = state.donors.find(name)
    if index < 0:
        donor = state.donors.add()
        donor.name = name
        for part in state.parts:
            donor.amounts.add().name = part.name
        index = len(state.donors) - 1
    state.donors[index].code = shape.encode_numbers(code)
    return index


def donor_faces(context: bpy.types.Context, mesh: bpy.types.Mesh) -> Iterator[bpy.types.Object]:
    """Objects of the scene that can give parts to a face: each other face mesh of its model once."""
    seen = {mesh}
    for item in context.scene.objects:
        data = item.data
        if face.is_face(data) and data not in seen and data.lwae.model_hash == mesh.lwae.model_hash:
            seen.add(data)
            yield item


def add_face(mesh: bpy.types.Mesh, item: bpy.types.Object) -> int:
    """Add or refresh an object with a face as a donor, as it looks now (an edit by hand apart).

    Returns:
        The donor's number.

    Raises:
        LwaeError: when it shares the face's mesh, is no face, belongs to another model, or cannot be read now.
    """
    data = item.data
    if data == mesh:
        raise LwaeError(f"{item.name} is this face itself: it shares the mesh {mesh.name}.")
    if not face.is_face(data):
        raise LwaeError(f"{item.name} is not a face with part sliders.")
    if data.lwae.model_hash != mesh.lwae.model_hash:
        raise LwaeError(
            f"{item.name} was made with the model {data.lwae.model_name}, {mesh.name} with {mesh.lwae.model_name}: "
            "their parts cannot be mixed."
        )
    model = face.model_of(mesh)
    values = face.applied_values(data.lwae) if data.lwae.applied else shape.read_values(data.lwae)
    if not face.is_complete(data.lwae, model) or len(values) != len(shape.read_values(data.lwae)):
        trouble = face.trouble(data)
        why = trouble.sentence if trouble else "Move one of its sliders first."
        raise LwaeError(f"{item.name} cannot give parts now. {why}")
    return add_donor(mesh, item.name, shape.seen_code(data, model, values))


def remove_donor(mesh: bpy.types.Mesh, index: int) -> None:
    """Remove a donor with the animation of its amounts; the animation of later donors moves along with them."""
    state = mesh.lwae
    animation.remove_animation(mesh, f"lwae.donors[{index}].")
    state.donors.remove(index)
    for later in range(index, len(state.donors)):
        animation.rename_animation(mesh, f"lwae.donors[{later + 1}].", f"lwae.donors[{later}].")
    state.donor_index = max(0, min(state.donor_index, len(state.donors) - 1))


def remove_donors(mesh: bpy.types.Mesh) -> None:
    """Remove all donors with the animation of their amounts."""
    animation.remove_animation(mesh, "lwae.donors[")
    mesh.lwae.donors.clear()
    mesh.lwae.donor_index = 0


def give_part(mesh: bpy.types.Mesh, part: int, donor: int) -> list[str]:
    """Let one donor, or `OWN`, give a part, and nobody else.

    Returns:
        Data paths of the amounts that were set.
    """
    paths = []
    with sync.paused():
        for number, each in enumerate(mesh.lwae.donors):
            each.amounts[part].value = float(number == donor)
            paths.append(amount_path(number, part))
    return paths


def set_all(mesh: bpy.types.Mesh, donor: int, amount: float) -> list[str]:
    """Set all of a donor's amounts whose parts are not locked.

    Returns:
        Data paths of the amounts that were set.
    """
    paths = []
    with sync.paused():
        for number, part in enumerate(mesh.lwae.parts):
            if not part.locked:
                mesh.lwae.donors[donor].amounts[number].value = amount
                paths.append(amount_path(donor, number))
    return paths


def shuffle(mesh: bpy.types.Mesh, seed: int) -> list[str]:
    """Draw for each part that is not locked who gives it: the face itself or one of its donors.

    Returns:
        Data paths of the amounts that were set; none when all is locked or the face cannot be written.
    """
    state = mesh.lwae
    free = face.free_parts(mesh)
    if not free or not len(state.donors) or face.trouble(mesh) is not None:
        return []
    givers = shuffled(face_rng(seed, 0, SHUFFLE), [OWN, *range(len(state.donors))], len(state.parts))
    with sync.paused():
        state.mix_seed = seed
        # Drawn for all parts, so that a lock changes nothing of the others.
        paths = [path for part in free for path in give_part(mesh, part, int(givers[part]))]
    sync.follow(mesh)
    return paths


def bake(mesh: bpy.types.Mesh) -> list[str]:
    """Make what is seen the face's own, and forget the donors with their animation.

    Returns:
        Data paths of the sliders that were set.
    """
    model = face.model_of(mesh)
    with sync.paused():
        paths = face.store_code(mesh, model, shape.read_code(mesh, model), range(model.part_count))
        remove_donors(mesh)
    return [path for path in paths if ".donors[" not in path]


