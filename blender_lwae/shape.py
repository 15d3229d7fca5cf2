# SPDX-License-Identifier: GPL-3.0-or-later
"""What the properties of a face say: numbers, from them a code, from that vertices.

    values  = sliders, donors' amounts, settings         (`read_values`: all that can be animated)
    own     = rest + C sliders                           (`own_code`)
    code_k  = own_k + sum_j amount_jk (donor_j,k - own_k)  (`read_code`)
    vertices = decoder(code), then what acts on them (`shape`)

Nothing here writes; see `sync`.
"""

from __future__ import annotations

import base64

import bpy
import numpy as np

from . import models, sides
from .backend.decoder import checked_batch
from .backend.map_fit import fit_code
from .backend.model import FaceModel
from .backend.similarity import Similarity

# Numbers of the face itself, beside its sliders, that shape it: names of float properties of `mesh.lwae`.
SETTINGS: tuple[str, ...] = sides.SETTINGS

UNMOVED = Similarity(1.0, np.eye(3), np.zeros(3))


def read_values(state: bpy.types.PropertyGroup) -> np.ndarray:
    """All numbers of a face that can be animated, float32: sliders (parts, then the whole face, as in the model),
    amounts (donor after donor, each part after part), settings.

    Args:
        state: `mesh.lwae`, of the evaluated mesh where animation and drivers count.
    """
    pieces = []
    for numbers in (*(part.controls for part in state.parts), state.whole, *(d.amounts for d in state.donors)):
        values = np.zeros(len(numbers), dtype=np.float32)
        numbers.foreach_get("value", values)
        pieces.append(values)
    pieces.append(np.array([getattr(state, name) for name in SETTINGS], dtype=np.float32))
    values = np.concatenate(pieces)
    values[np.isnan(values)] = 0  # as scripts and drivers may leave them
    return values


def _sliders(model: FaceModel, values: np.ndarray) -> np.ndarray:
    return values[: len(model.controls)]


def _amounts(model: FaceModel, values: np.ndarray) -> np.ndarray:
    """float32 [donors, K]."""
    return values[len(model.controls) : len(values) - len(SETTINGS)].reshape(-1, model.part_count)


def settings(values: np.ndarray) -> dict[str, float]:
    """Settings by name."""
    return dict(zip(SETTINGS, values[len(values) - len(SETTINGS) :].tolist(), strict=True))


def encode_numbers(numbers: np.ndarray) -> str:
    """float32 numbers as text, little endian in base64 (Blender's vector properties stop at 32)."""
    return base64.b64encode(np.asarray(numbers).astype("<f4").tobytes()).decode()


def decode_numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def sound_numbers(text: str) -> np.ndarray:
    """Numbers of a text, float32; none when it is damaged or holds something that is not finite."""
    try:
        numbers = decode_numbers(text)
    except ValueError:
        return np.empty(0, dtype=np.float32)
    return numbers if np.isfinite(numbers).all() else numbers[:0]


def holds_numbers(text: str, size: int) -> bool:
    """Whether a text is that of so many finite numbers, and not damaged."""
    return sound_numbers(text).size == size


def read_rest(state: bpy.types.PropertyGroup, model: FaceModel) -> np.ndarray:
    """The part of the code that no slider holds, float32 [D]."""
    return decode_numbers(state.rest) if state.rest else np.zeros(model.code_size, dtype=np.float32)


def own_code(mesh: bpy.types.Mesh, model: FaceModel, values: np.ndarray | None = None) -> np.ndarray:
    """The code of a face before donors are mixed in, float32 [D], from its own values or from the given ones."""
    if values is None:
        values = read_values(mesh.lwae)
    return read_rest(mesh.lwae, model) + models.tools(model).controls @ _sliders(model, values)


def read_code(
    mesh: bpy.types.Mesh, model: FaceModel, values: np.ndarray | None = None, own: np.ndarray | None = None
) -> np.ndarray:
    """The code of a face as it is seen, float32 [D], from its own values and own code or from the given ones."""
    if values is None:
        values = read_values(mesh.lwae)
    if own is None:
        own = own_code(mesh, model, values)
    if not len(mesh.lwae.donors):
        return own
    amounts = np.repeat(_amounts(model, values), model.code_sizes, axis=1)
    donors = np.stack([decode_numbers(donor.code) for donor in mesh.lwae.donors])
    return own + (amounts * (donors - own)).sum(axis=0, dtype=np.float32)


def seen_code(mesh: bpy.types.Mesh, model: FaceModel, values: np.ndarray) -> np.ndarray:
    """A code that shows what values stand for, symmetry included, to hundredths of a mm: float32 [D]."""
    return sides.seen_code(model, read_code(mesh, model, values), settings(values), mesh.lwae.asymmetry_seed)


def shape(
    mesh: bpy.types.Mesh, model: FaceModel, values: np.ndarray, own: np.ndarray | None = None
) -> np.ndarray:
    """Vertices that values stand for, float32 [N, 3] in mm, without the artist's kept edit.

    Args:
        own: another code to show in place of the face's own, under its donors and settings.
    """
    return hold(mesh.lwae, model, free_shape(mesh, model, values, own))


def free_shape(
    mesh: bpy.types.Mesh, model: FaceModel, values: np.ndarray, own: np.ndarray | None = None
) -> np.ndarray:
    """The same before anything is held in place."""
    decoded = models.decoder(model).decode_one(read_code(mesh, model, values, own))
    return sides.apply(model, decoded, settings(values), mesh.lwae.asymmetry_seed)


def hold(state: bpy.types.PropertyGroup, model: FaceModel, vertices: np.ndarray) -> np.ndarray:
    """Vertices, float32 [N, 3] in mm, with what a face holds in place: its lids, the edge of its neck."""
    tools = models.tools(model)
    if state.keep_lids:
        vertices = tools.lids.drape(vertices)
    if state.keep_neck and len(tools.neck.edge):
        vertices = tools.neck.hold(vertices, read_neck_edge(state, model))
    return vertices


def encode_held(state: bpy.types.PropertyGroup, model: FaceModel, vertices: np.ndarray) -> np.ndarray:
    """The code of a face from its vertices, float32 [N, 3] in mm: float32 [D].

    Vertices that are moved to keep the edge of the neck say nothing about the face; they become what the prior expects
    beside the others.

    Raises:
        LwaeError: when vertices are not finite.
    """
    decoder, neck = models.decoder(model), models.tools(model).neck
    vertices = checked_batch(model, vertices[None], "vertices")
    if not (state.keep_neck and len(neck.edge)):
        return decoder.encode(vertices)[0]
    free = np.ones(model.vertex_count)
    free[neck.edge] = free[neck.moved] = 0
    return fit_code(decoder, vertices[0].astype(np.float64), free, UNMOVED, fit_scale=False, robust=False)[0]


def read_neck_edge(state: bpy.types.PropertyGroup, model: FaceModel) -> np.ndarray:
    """Where the edge of the neck is kept, float32 [R, 3] in mm."""
    mean = models.tools(model).neck.mean_edge
    return decode_numbers(state.neck_edge).reshape(-1, 3) if holds_numbers(state.neck_edge, mean.size) else mean
