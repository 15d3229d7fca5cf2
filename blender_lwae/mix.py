# SPDX-License-Identifier: GPL-3.0-or-later
"""Donors of a face: adding, refreshing, removing them, and who gives which part.

Nothing here writes vertices: call `sync.follow` afterwards.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Container, Iterator

import bpy
import numpy as np

from . import animation, face, shape, sync
from .backend.errors import LwaeError
from .backend.mix import OWN, shuffled
from .backend.synthesis import SHUFFLE, face_rng

HERE = "this file"


def origin_of(item: bpy.types.Object) -> str:
    """The file that an object comes from: objects of one name may be linked from several."""
    return item.library.name if item.library else HERE


def _long_name(item: bpy.types.Object) -> str:
    return f"{item.name} ({origin_of(item).removesuffix('.blend')})"


def _is_called(item: bpy.types.Object, name: str) -> bool:
    return name in (item.name, _long_name(item))


def find_donor(state: bpy.types.PropertyGroup, item: bpy.types.Object) -> int:
    """Number of the donor that an object is already, or -1."""
    origins = ("", origin_of(item))
    for number, donor in enumerate(state.donors):
        if donor.source:
            if donor.source == _identity(item) and item in _originals(donor):
                return number
        elif _is_called(item, donor.name) and donor.origin in origins:
            return number
    return -1


def _identity(item: bpy.types.Object) -> str:
    return item.data.lwae.identity if face.is_face(item.data) else ""


def _originals(donor: bpy.types.PropertyGroup) -> list[bpy.types.Object]:
    """Objects of the face that a donor is a copy of. Where faces were copied with what they are known by, those of the
    donor's name; none of that name left, all.
    """
    same = [item for item in bpy.data.objects if _identity(item) == donor.source]
    named = [item for item in same if _is_called(item, donor.name)]
    return named or same


def donor_name(state: bpy.types.PropertyGroup, item: bpy.types.Object) -> str:
    """What an object is called as a donor: with its file, or a number, where another donor has its name."""
    number = find_donor(state, item)
    if number >= 0:
        return state.donors[number].name
    names = itertools.chain((item.name, _long_name(item)), (f"{item.name}.{i:03d}" for i in itertools.count(1)))
    return next(name for name in names if name not in state.donors)


def find_object(name: str, origin: str = "") -> bpy.types.Object | None:
    """The object of a name: from its file, else of this one; from any where no file is given."""
    return _from(origin, [item for item in bpy.data.objects if _is_called(item, name)])


def find_original(donor: bpy.types.PropertyGroup) -> bpy.types.Object | None:
    """The object that a donor is a copy of, whatever its name is now; None when it is gone.

    Raises:
        LwaeError: when it was renamed and copied, so that nobody knows which one is meant.
    """
    if not donor.source:  # Of an older file, or of a linked face.
        return find_object(donor.name, donor.origin)
    found = _originals(donor)
    if len({item.data for item in found}) > 1 and not _is_called(found[0], donor.name):
        names = " and ".join(item.name for item in found[:2])
        raise LwaeError(f"No object is called {donor.name!r} any more, and {names} are copies of it; add one again.")
    return _from(donor.origin, found) or (found[0] if found else None)


def _from(origin: str, items: list[bpy.types.Object]) -> bpy.types.Object | None:
    for wanted in (origin, HERE):
        for item in items:
            if origin_of(item) == wanted:
                return item
    return items[0] if items and not origin else None


def amount_path(donor: int, part: int) -> str:
    return f"lwae.donors[{donor}].amounts[{part}].value"


def read_amounts(state: bpy.types.PropertyGroup) -> np.ndarray:
    """float32 [donors, K]."""
    result = np.zeros((len(state.donors), len(state.parts)), dtype=np.float32)
    for donor, row in zip(state.donors, result, strict=True):
        given = [amount.value for amount in donor.amounts][: len(row)]  # fewer in a damaged file
        row[: len(given)] = given
    result[np.isnan(result)] = 0  # as `shape.read_values`
    return result


def add_donor(mesh: bpy.types.Mesh, name: str, code: np.ndarray) -> int:
    """Add a donor, or make the donor of that name what the code says; its amounts start at 0 or stay.

    Locked parts that it gives become the face's own, so that they stay, unless their amounts are animated.

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
    elif not np.array_equal(shape.sound_numbers(state.donors[index].code), code):
        _keep_locked(mesh, index, but=animation.animated_paths(mesh))
    state.donors[index].code = shape.encode_numbers(code)
    return index


def _keep_locked(mesh: bpy.types.Mesh, donor: int, but: Container[str] = ()) -> None:
    """Make locked parts that a donor gives the face's own, as they show; call before what it gives changes.

    Args:
        but: data paths of amounts whose parts are left alone.
    """
    given = read_amounts(mesh.lwae)[donor]
    parts = [part for part in face.locked_parts(mesh) if given[part] and amount_path(donor, part) not in but]
    if parts:
        model = face.model_of(mesh)
        with sync.paused():
            face.store_code(mesh, model, shape.read_code(mesh, model), parts)


def donor_faces(context: bpy.types.Context, mesh: bpy.types.Mesh) -> Iterator[bpy.types.Object]:
    """Objects of the scene that can give parts to a face: each other face mesh of its model once."""
    seen = {mesh}
    for item in context.scene.objects:
        data = item.data
        if face.is_face(data) and data not in seen and data.lwae.model_hash == mesh.lwae.model_hash:
            seen.add(data)
            yield item


def add_face(mesh: bpy.types.Mesh, item: bpy.types.Object, name: str = "") -> int:
    """Add or refresh an object with a face as a donor, as it looks now (an edit by hand apart).

    Args:
        name: of the donor that it becomes; the one that it is, or the object's, when left out.

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
    name = name or donor_name(mesh.lwae, item)
    number = add_donor(mesh, name, shape.seen_code(data, model, values))
    if not data.library and not data.lwae.identity:
        data.lwae.identity = uuid.uuid4().hex
    mesh.lwae.donors[number].origin, mesh.lwae.donors[number].source = origin_of(item), data.lwae.identity
    return number


def remove_donor(mesh: bpy.types.Mesh, index: int) -> int:
    """Remove a donor with the animation of its amounts; animation and readers of later donors move along with them.

    Locked parts that it gives become the face's own, so that they stay.

    Returns:
        How many drivers read the donor that is gone.
    """
    _keep_locked(mesh, index)
    state = mesh.lwae
    moved: dict[str, str | None] = {}
    for number, donor in enumerate(state.donors):
        for part in range(len(donor.amounts)) if number >= index else ():
            moved[amount_path(number, part)] = amount_path(number - 1, part) if number > index else None
    animation.move_animation(mesh, moved)
    state.donors.remove(index)
    readers = animation.move_readers((mesh,), moved)
    state.donor_index = max(0, min(state.donor_index, len(state.donors) - 1))
    return readers


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


