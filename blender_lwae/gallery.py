# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of *More Like This* and what each stands for.

They are for looking at only: nothing here is saved, and a picture that is gone can be drawn again from its seed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import bpy
import bpy.utils.previews
import numpy as np

from .backend.model import FaceModel
from .backend.thumbnail import Portraits, blender_pixels

SIZE = 128  # Pixels of a picture in the sidebar.
KEPT = 4  # Faces whose galleries are remembered.
ORIGINAL = -1  # Seed of the face that the others resemble.


@dataclass
class Gallery:
    """Faces like one face.

    Attributes:
        mesh: session_uid of the face's mesh.
        model_hash: of the model it had.
        original: float32 [D], its code as it was seen when the gallery was drawn.
        own: float32 [D], the same before donors are mixed in.
        donors: their codes, as the face holds them.
        amounts: float32 [donors, K], what donors gave then.
        difference: see `backend.variations.vary`.
        seeds: of the faces, in order.
        icons: icon numbers of those whose picture is there, by seed, and of the face itself (`ORIGINAL`).
        shown: what the face's properties say while it is one of them (`face.signature`), by seed.
        running: whether pictures are still being drawn.
        names: of its previews.
        before: the gallery that comes back when nothing of this one is drawn.
    """

    mesh: int
    model_hash: str
    original: np.ndarray
    own: np.ndarray
    donors: list[str]
    amounts: np.ndarray
    difference: float
    seeds: list[int]
    icons: dict[int, int] = field(default_factory=dict)
    shown: dict[int, str] = field(default_factory=dict)
    running: bool = False
    names: list[str] = field(default_factory=list)
    before: Gallery | None = None


_galleries: dict[int, Gallery] = {}
_portraits: dict[str, Portraits] = {}
_previews = None
_numbers = itertools.count()


def portraits(model: FaceModel) -> Portraits:
    """The one studio for pictures of a model's faces."""
    return _portraits.setdefault(model.hash, Portraits(model))


def forget(model: FaceModel) -> None:
    """Drop the studio of a model that was removed or replaced; pictures that are drawn stay."""
    _portraits.pop(model.hash, None)


def of(mesh: bpy.types.Mesh) -> Gallery | None:
    """The gallery of a face, if one was drawn with the model that it has."""
    found = _galleries.get(mesh.session_uid)
    return found if found is not None and found.model_hash == mesh.lwae.model_hash else None


def begin(gallery: Gallery) -> None:
    """Show this gallery from now on. `end` then forgets an earlier one of the same face."""
    gallery.running = True
    before = _galleries.pop(gallery.mesh, None)
    if before is not None and not before.icons:  # Another press before anything was drawn.
        before.before, before = None, before.before
    gallery.before = before
    while len(_galleries) >= KEPT:
        remove(next(iter(_galleries)))
    _galleries[gallery.mesh] = gallery


def is_current(gallery: Gallery) -> bool:
    """Whether it is still the one that is shown of its face."""
    return _galleries.get(gallery.mesh) is gallery


def add_picture(gallery: Gallery, seed: int, picture: np.ndarray) -> None:
    """Show the picture of one face, uint8 [SIZE, SIZE, 4]."""
    global _previews
    if _previews is None:
        _previews = bpy.utils.previews.new()
    gallery.names.append(str(next(_numbers)))
    preview = _previews.new(gallery.names[-1])
    preview.image_size = picture.shape[:2]
    preview.image_pixels_float.foreach_set(blender_pixels(picture))
    gallery.icons[seed] = preview.icon_id


def end(gallery: Gallery) -> None:
    """No more pictures come: keep what there is, or the gallery before this one."""
    before, gallery.before, gallery.running = gallery.before, None, False
    gallery.seeds = [seed for seed in gallery.seeds if seed in gallery.icons]
    if is_current(gallery) and not gallery.seeds:
        remove(gallery.mesh)
        if before is not None:
            _galleries[gallery.mesh] = before
    elif before is not None:
        _free(before)


def remove(mesh: int) -> None:
    """Forget the gallery of the mesh with that session_uid, and its pictures."""
    gallery = _galleries.pop(mesh, None)
    if gallery is not None:
        _free(gallery)
        if gallery.before is not None:
            _free(gallery.before)
            gallery.before = None


def _free(gallery: Gallery) -> None:
    if _previews is not None:
        for name in gallery.names:
            del _previews[name]
    gallery.names.clear()


def register() -> None:
    pass


def unregister() -> None:
    global _previews
    _galleries.clear()
    _portraits.clear()
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
        _previews = None
