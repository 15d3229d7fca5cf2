# SPDX-License-Identifier: GPL-3.0-or-later
"""A face on a mesh: its sliders as a code, whether it may be written, and the artist's edit that it carries.

`mesh.lwae` is the only truth (`shape` reads it). Nothing here writes vertices (see `sync`).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import bpy
import numpy as np

from . import animation, models, shape, writer
from .backend.controls import part_controls, read_whole, split_code
from .backend.errors import LwaeError
from .backend.model import MM_PER_METRE, WHOLE, FaceModel
from .backend.similarity import Similarity, exact_map

# The artist's own edit, kept on top of what the sliders say: metres, by vertex.
OFFSET = "lwae_offset"

ONE_REDRAW = 0.05  # seconds


class Trouble(NamedTuple):
    """Why a face is not written now: MODEL, SLIDERS, MODE, TOPOLOGY or EDITED, and the sentence for it.

    `applied` is the edit when the whole mesh was moved, turned or scaled evenly: what the object's transform could do.
    """

    kind: str
    sentence: str
    applied: Similarity | None = None


# What `trouble_seen` found: when, and what, by the mesh's session number.
_seen: dict[int, tuple[float, Trouble | None]] = {}


def is_face(mesh: bpy.types.ID | None) -> bool:
    return isinstance(mesh, bpy.types.Mesh) and mesh.lwae.is_face


def model_of(mesh: bpy.types.Mesh) -> FaceModel:
    """The model that a face was made with.

    Raises:
        LwaeError: when it is not installed or damaged.
    """
    return models.by_hash(mesh.lwae.model_hash, mesh.lwae.model_name, mesh.lwae.sliders)


def make_face(mesh: bpy.types.Mesh, model: FaceModel) -> None:
    """Give a mesh of the model's mean face its sliders, all at zero. The caller then calls `sync.write`."""
    state = mesh.lwae
    state.is_face = True
    state.model_name = model.name
    state.model_hash = model.hash
    state.sliders = models.tools(model).sliders
    state.rest = ""
    state.parts.clear()
    for index, name in enumerate(model.part_names):
        part = state.parts.add()
        part.name = name
        for control in part_controls(model, index):
            part.controls.add().name = model.controls[control].name
    state.whole.clear()
    for control in part_controls(model, WHOLE):
        state.whole.add().name = model.controls[control].name


def free_parts(mesh: bpy.types.Mesh) -> list[int]:
    """Numbers of the parts that are not locked."""
    return [index for index, part in enumerate(mesh.lwae.parts) if not part.locked]


def locked_parts(mesh: bpy.types.Mesh) -> list[int]:
    """Numbers of the parts that are locked."""
    return [index for index, part in enumerate(mesh.lwae.parts) if part.locked]


def whole_values(state: bpy.types.PropertyGroup) -> np.ndarray:
    """Values of the sliders of the whole face, float32 [W]."""
    values = np.array([control.value for control in state.whole], dtype=np.float32)
    values[np.isnan(values)] = 0  # as `shape.read_values`
    return values


def whole_kept(state: bpy.types.PropertyGroup) -> np.ndarray:
    """Which sliders of the whole face are to be kept, bool [W]."""
    return np.array([control.locked for control in state.whole], dtype=bool)


def shown_whole(mesh: bpy.types.Mesh, model: FaceModel, code: np.ndarray) -> np.ndarray:
    """What sliders of the whole face say honestly of a code [D], float32 [W]; kept ones stay."""
    return np.where(whole_kept(mesh.lwae), whole_values(mesh.lwae), read_whole(model, code)).astype(np.float32)


def store_code(
    mesh: bpy.types.Mesh, model: FaceModel, code: np.ndarray, parts: Iterable[int], whole: np.ndarray | None = None
) -> list[str]:
    """Make some parts what a code says; call with `sync` paused, then `sync.follow`.

    Donors give nothing more to these parts: else the face would not show the code.

    Args:
        code: float32 [D].
        parts: numbers of the parts to take from it; the others stay exactly as they are.
        whole: values for the sliders of the whole face, float32 [W]. When left out, they show what the code says
            (`shown_whole`) if it is taken for all parts, and else stay where they are.

    Returns:
        Data paths of the sliders and the donors' amounts that were set.

    Raises:
        LwaeError: when the code is not finite, as from a strength that is no number; nothing is set then.
    """
    if not np.isfinite(code).all():
        raise LwaeError(f"{mesh.name} stays as it is: what it should become is not finite; use smaller numbers.")
    state = mesh.lwae
    chosen = set(parts)
    others = [index for index in range(model.part_count) if index not in chosen]
    before = whole_values(state)
    if whole is None:
        whole = before if others else shown_whole(mesh, model, code)
    was = shape.own_code(mesh, model) if others and (whole != before).any() else None
    values, new_rest = split_code(model, code, whole)
    rest = shape.read_rest(state, model).copy()
    paths, first = [], 0
    for index, control in enumerate(state.whole if (whole != before).any() else ()):
        control.value = whole[index]
        if not control.locked:
            paths.append(f"lwae.whole[{index}].value")
    for index, part in enumerate(state.parts):
        if index in chosen:
            rest[model.part_slice(index)] = new_rest[model.part_slice(index)]
            for number, control in enumerate(part.controls):
                control.value = values[first + number]
                paths.append(f"lwae.parts[{index}].controls[{number}].value")
        first += len(part.controls)
    state.rest = shape.encode_numbers(rest) if rest.any() else ""
    if was is not None:  # The parts that stay do not follow the whole face's sliders.
        keep_code(mesh, model, was, others)
    for donor_number, donor in enumerate(state.donors):
        for index in sorted(chosen):
            donor.amounts[index].value = 0
            paths.append(f"lwae.donors[{donor_number}].amounts[{index}].value")
    return paths


def keep_code(mesh: bpy.types.Mesh, model: FaceModel, was: np.ndarray, parts: list[int]) -> None:
    """Let some parts have the own code that they had before the sliders of the whole face were set, but for rounding.

    Args:
        was: float32 [D], see `shape.own_code`.
    """
    rest = shape.read_rest(mesh.lwae, model).copy()
    for _ in range(2):  # The second time what the first one's rounding left.
        off = was - shape.own_code(mesh, model)
        for index in parts:
            rest[model.part_slice(index)] += off[model.part_slice(index)]
        mesh.lwae.rest = shape.encode_numbers(rest) if rest.any() else ""


def clear_settings(mesh: bpy.types.Mesh) -> bool:
    """Set what acts beside the code (symmetry) to 0, with its animation; for a code that has what it did.

    Returns:
        Whether there was something.
    """
    paths = {name: f"lwae.{name}" for name in shape.SETTINGS}
    animated = animation.animated_paths(mesh).intersection(paths.values())
    found = bool(animated) or any(getattr(mesh.lwae, name) for name in paths)
    for name, path in paths.items():
        animation.remove_animation(mesh, path)
        setattr(mesh.lwae, name, 0.0)
    return found


def signature(state: bpy.types.PropertyGroup, values: np.ndarray) -> str:
    """What a face with these values shows, as text. Needs no model, so that opening a file is quick."""
    held = (state.keep_lids, state.keep_neck and state.neck_edge, state.keep_neck, state.asymmetry_seed)
    base = zlib.crc32(repr((state.model_hash, state.rest, [donor.code for donor in state.donors], held)).encode())
    return f"{base:08x}:{shape.encode_numbers(values)}"


def applied_values(state: bpy.types.PropertyGroup) -> np.ndarray:
    """The values (`shape.read_values`) that the vertices were last written for, float32; none in a damaged file."""
    return shape.sound_numbers(state.applied.partition(":")[2])


def trouble(mesh: bpy.types.Mesh) -> Trouble | None:
    """Why the face must not or cannot be written now; None when it can."""
    state = mesh.lwae
    try:
        model = model_of(mesh)
    except LwaeError as error:
        return Trouble("MODEL", str(error))
    if mesh.is_editmode or _is_sculpted(mesh):
        return Trouble("MODE", "Switch to Object Mode to shape this face.")
    if not writer.topology_matches(mesh, model.polygon_sizes, model.polygon_vertices, model.vertex_count):
        have, want = len(mesh.vertices), model.vertex_count
        if have != want:
            said = f"{have:,} vertices instead of {want:,}. Undo that edit, or apply it to keep a plain mesh."
        else:
            said = "other polygons than the model, as Object > Apply makes of a mirrored object, and Triangulate of "
            said += "any. Undo that edit, or press Apply Face, then Make Editable Face for new sliders."
        return Trouble("TOPOLOGY", f"This mesh was edited and has {said}")
    if not is_complete(state, model):
        return Trouble("SLIDERS", "This face has sliders of an older model. Update them: the face keeps its shape.")
    if state.stamp and writer.stamp(mesh) != state.stamp:
        return _edited(mesh, model)
    return None


def _edited(mesh: bpy.types.Mesh, model: FaceModel) -> Trouble:
    how = _whole_edit(mesh, model)
    if isinstance(how, Similarity):
        said = "This whole mesh was moved, turned or scaled, as Object > Apply does. Put that back on the object, or "
        return Trouble("EDITED", f"{said}overwrite it.", how)
    if how is not None:
        said = "This mesh was scaled unevenly or mirrored, as Object > Apply does. Undo that, keep it as an offset, or "
        return Trouble("EDITED", f"{said}overwrite it.")
    return Trouble("EDITED", "This mesh was edited by hand. Keep that edit as an offset, or overwrite it.")


def _whole_edit(mesh: bpy.types.Mesh, model: FaceModel) -> np.ndarray | Similarity | None:
    """How all vertices were moved together since they were written, see `exact_map`."""
    values, found = applied_values(mesh.lwae), writer.read_positions(mesh)
    if values.size != shape.read_values(mesh.lwae).size or not np.isfinite(found).all():
        return None
    written = shape.shape(mesh, model, values) / np.float32(MM_PER_METRE)
    offset = read_offset(mesh)
    return exact_map(written if offset is None else written + offset, found)


def _is_sculpted(mesh: bpy.types.Mesh) -> bool:
    """Whether Sculpt Mode has the mesh: its undo steps are strokes alone, and undoing one would lose slider moves."""
    layers = [window.view_layer for manager in bpy.data.window_managers for window in manager.windows]
    active = [layer.objects.active for layer in layers or [bpy.context.view_layer] if layer]
    return any(item is not None and item.mode == "SCULPT" and item.data == mesh for item in active)


def trouble_seen(mesh: bpy.types.Mesh) -> Trouble | None:
    """`trouble`, for what is drawn: a dozen panels and buttons ask it in one redraw, and one answer serves them all.

    Nothing may be written because of it. Without a window, where scripts ask right after what they did, it is exact.
    """
    if bpy.app.background or not bpy.context.window_manager.windows:
        return trouble(mesh)
    found = _seen.get(mesh.session_uid)
    if found is None or not 0 <= time.monotonic() - found[0] < ONE_REDRAW:
        _seen.clear()
        found = _seen[mesh.session_uid] = time.monotonic(), trouble(mesh)
    return found[1]


def forget_seen() -> None:
    """Some mesh has changed."""
    _seen.clear()


def is_complete(state: bpy.types.PropertyGroup, model: FaceModel) -> bool:
    """Whether a face has all that the model asks for: its sliders, and codes that can be read."""
    if state.sliders != models.tools(model).sliders:
        return False
    sliders = sum(len(part.controls) for part in state.parts) + len(state.whole)
    codes = [donor.code for donor in state.donors] + ([state.rest] if state.rest else [])
    return (
        sliders == len(model.controls)
        and all(shape.holds_numbers(code, model.code_size) for code in codes)
        and all(len(donor.amounts) == model.part_count for donor in state.donors)
    )


def read_offset(mesh: bpy.types.Mesh) -> np.ndarray | None:
    """The artist's kept edit, float32 [N, 3] in metres, or None."""
    attribute = mesh.attributes.get(OFFSET)
    if attribute is None or attribute.domain != "POINT" or attribute.data_type != "FLOAT_VECTOR":
        return None
    offset = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    attribute.data.foreach_get("vector", offset)
    offset[~np.isfinite(offset)] = 0  # No place to be.
    return offset.reshape(-1, 3)


def store_offset(mesh: bpy.types.Mesh, offset: np.ndarray | None) -> None:
    """Keep an edit, float32 [N, 3] in metres, on top of what the sliders say; None forgets it."""
    attribute = mesh.attributes.get(OFFSET)
    if attribute is not None:
        mesh.attributes.remove(attribute)
    if offset is not None:
        attribute = mesh.attributes.new(OFFSET, "FLOAT_VECTOR", "POINT")
        attribute.data.foreach_set("vector", np.ascontiguousarray(offset, dtype=np.float32).ravel())


def store_stamp(mesh: bpy.types.Mesh, applied: str) -> None:
    """Note on the mesh what it shows and where its vertices are, so that an artist's edit is told from ours."""
    mesh.lwae.applied = applied
    mesh.lwae.stamp = writer.stamp(mesh)
    forget_seen()
