# SPDX-License-Identifier: GPL-3.0-or-later
"""*More Like This*: a gallery of faces that resemble the active one, drawn while the user works on."""

from __future__ import annotations

import random
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import bpy
import numpy as np

from .. import face, gallery, mix, shape, sync, viewport
from ..backend.variations import COUNT, vary
from ..properties import MAX_SEED, difference_property, seed_property
from . import modals
from .common import active_face, change, poll_any_face, poll_unlocked_face

TICK = 0.03  # Seconds between looks at what the thread has done.


def _find_mesh(uid: int) -> bpy.types.Mesh | None:
    # Undo and redo make references stale.
    return next((mesh for mesh in bpy.data.meshes if mesh.session_uid == uid), None)


class Drawing:
    """Draws the pictures of a gallery, first the face itself: NumPy in a thread, all that touches Blender in `step`."""

    def __init__(self, mesh: bpy.types.Mesh, seed: int, difference: float):
        self.model = face.model_of(mesh)
        seeds = [(seed + index) % MAX_SEED for index in range(COUNT)]
        self.gallery = gallery.Gallery(
            mesh.session_uid,
            mesh.lwae.model_hash,
            shape.read_code(mesh, self.model),
            shape.own_code(mesh, self.model),
            [donor.code for donor in mesh.lwae.donors],
            mix.read_amounts(mesh.lwae),
            difference,
            seeds,
        )
        gallery.begin(self.gallery)
        self.free, self.kept = face.free_parts(mesh), face.whole_kept(mesh.lwae)
        self.portraits = gallery.portraits(self.model)
        self.thread = ThreadPoolExecutor(1, "face pictures")
        self.codes = self.thread.submit(self._vary, [gallery.ORIGINAL, *seeds])
        self.pictures: dict[int, Future] = {}  # By seed, in the order in which they are made.

    @property
    def done(self) -> int:
        return len(self.gallery.icons)

    def step(self) -> bool:
        """Go on with what is ready. True as long as there is more to do."""
        if not gallery.is_current(self.gallery):
            return False
        if not self.codes.done():
            return True
        codes = self.codes.result()
        if len(self.pictures) < len(codes):  # One at a time: a large mesh takes some milliseconds.
            mesh = _find_mesh(self.gallery.mesh)
            if mesh is None or mesh.lwae.model_hash != self.gallery.model_hash or face.trouble(mesh) is not None:
                return False
            seed = list(codes)[len(self.pictures)]
            vertices = self.shown(mesh, codes[seed])
            self.pictures[seed] = self.thread.submit(self.portraits.picture, vertices, gallery.SIZE)
        for seed, picture in self.pictures.items():
            if picture.done() and seed not in self.gallery.icons:
                gallery.add_picture(self.gallery, seed, picture.result())
        return self.done < len(codes)

    def wait(self) -> None:
        """Until `step` has something to do."""
        waiting = [picture for seed, picture in self.pictures.items() if seed not in self.gallery.icons]
        (waiting[0] if waiting else self.codes).exception()

    def _vary(self, seeds: list[int]) -> dict[int, np.ndarray]:
        shown = self.gallery
        return {
            seed: vary(self.model, shown.original, self.free, max(seed, 0), shown.difference * (seed >= 0), self.kept)
            for seed in seeds
        }

    def shown(self, mesh: bpy.types.Mesh, code: np.ndarray) -> np.ndarray:
        """Vertices of a variation as the face would show it: donors give to the locked parts alone."""
        own, values = code.copy(), shape.read_values(mesh.lwae)
        locked = np.ones(self.model.part_count, dtype=bool)
        locked[self.free] = False
        for part in np.flatnonzero(locked):
            own[self.model.part_slice(part)] = self.gallery.own[self.model.part_slice(part)]
        first = len(self.model.controls)
        for start in range(first, first + locked.size * len(mesh.lwae.donors), locked.size):
            values[start : start + locked.size] *= locked
        return shape.shape(mesh, self.model, values, own)

    def end(self) -> None:
        """Stop; what is drawn stays."""
        self.thread.shutdown(wait=False, cancel_futures=True)
        gallery.end(self.gallery)


class LWAE_OT_more_like_this(bpy.types.Operator):
    """Draw eight faces that resemble this one, to choose from. Locked parts stay; Esc stops the drawing"""

    bl_idname = "lwae.more_like_this"
    bl_label = "Faces Like This"
    bl_options = {"REGISTER"}

    seed: seed_property("The same seed gives the same faces", options={"SKIP_SAVE"})
    difference: difference_property(
        "How much the faces differ from this one: 0 not at all, 1 as much as two people do", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context):
        return poll_unlocked_face(cls, context)

    def draw_new(self, context) -> Drawing:
        mesh = active_face(context)
        with sync.paused():
            mesh.lwae.gallery_seed = self.seed
            mesh.lwae.difference = self.difference
        return Drawing(mesh, self.seed, self.difference)

    def invoke(self, context, _event):
        if not self.properties.is_property_set("seed"):
            self.seed = random.randrange(100_000)
        if not self.properties.is_property_set("difference"):
            self.difference = active_face(context).lwae.difference
        if context.window is None:
            return self.execute(context)
        self.drawing = self.draw_new(context)
        self.timer = context.window_manager.event_timer_add(TICK, window=context.window)
        modals.begin(self, context)
        self.tell(context)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        drawing = self.draw_new(context)
        try:
            while drawing.step():
                drawing.wait()
        finally:
            drawing.end()
        return {"FINISHED"}

    @modals.guarded
    def modal(self, context, event):
        if event.type == "ESC" and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        done = self.drawing.done
        going_on = False
        try:
            going_on = self.drawing.step()
        finally:
            if not going_on:
                self.cancel(context)
        if not going_on:
            return {"FINISHED"}
        if self.drawing.done != done:
            self.tell(context)
        return {"PASS_THROUGH"}

    def cancel(self, context):
        modals.end(self)
        context.window_manager.event_timer_remove(self.timer)
        self.drawing.end()
        self.tell(context)

    def tell(self, context) -> None:
        """Show what is done in the sidebars and the status bar."""
        drawing = self.drawing
        text = f"Drawing faces: {drawing.done} of {COUNT + 1}  (Esc stops)" if drawing.gallery.running else None
        if context.workspace is not None:
            context.workspace.status_text_set(text)
        viewport.redraw_sidebars()


def use_variation(mesh: bpy.types.Mesh, seed: int, difference: float) -> list[str]:
    """Turn a face into one like the gallery's original, or like itself when it has no gallery.

    Donors are taken into the face, as for a random one; difference 0 brings the original back, with its donors where
    the face still has these.

    Returns:
        Data paths of the sliders and amounts that were set; none when all parts are locked.
    """
    model, found, free = face.model_of(mesh), gallery.of(mesh), face.free_parts(mesh)
    if not free:
        return []
    current = shape.read_code(mesh, model)
    code = current if found is None else found.original.copy()
    # Parts that were locked after the gallery was drawn count as they are now.
    for part in face.locked_parts(mesh):
        code[model.part_slice(part)] = current[model.part_slice(part)]
    back = not difference and found is not None and found.donors == [donor.code for donor in mesh.lwae.donors]
    with sync.paused():
        if back:
            paths = face.store_code(mesh, model, found.own, free)
            for donor, amounts in zip(mesh.lwae.donors, found.amounts, strict=True):
                for part in free:
                    donor.amounts[part].value = amounts[part]
        else:
            code = vary(model, code, free, seed, difference, face.whole_kept(mesh.lwae))
            paths = face.store_code(mesh, model, code, free, face.shown_whole(mesh, model, code))
    if found is not None and (difference == found.difference or not difference):
        shown = face.signature(mesh.lwae, shape.read_values(mesh.lwae))
        found.shown[seed if difference else gallery.ORIGINAL] = shown
    return paths


class LWAE_OT_use_variation(bpy.types.Operator):
    """Turn the face into this one. Locked parts stay. The last operation's panel makes it more or less different"""

    bl_idname = "lwae.use_variation"
    bl_label = "Use Face Like This"
    bl_options = {"REGISTER", "UNDO"}

    seed: seed_property("The same seed gives the same face", options={"SKIP_SAVE"})
    difference: difference_property(
        "How much the face differs from the one that the gallery was drawn for: 0 not at all, "
        "1 as much as two people do",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context):
        return poll_unlocked_face(cls, context)

    def execute(self, context):
        mesh = active_face(context)
        return change(self, context, mesh, partial(use_variation, mesh, self.seed, self.difference))


class LWAE_OT_close_gallery(bpy.types.Operator):
    """Put the pictures away. The face stays as it is"""

    bl_idname = "lwae.close_gallery"
    bl_label = "Close Gallery of Faces"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context):
        if not poll_any_face(cls, context):
            return False
        if gallery.of(active_face(context)) is None:
            cls.poll_message_set("There is no gallery of this face. Make one with More Like This.")
            return False
        return True

    def execute(self, context):
        gallery.remove(active_face(context).session_uid)
        return {"FINISHED"}


register, unregister = bpy.utils.register_classes_factory(
    (LWAE_OT_more_like_this, LWAE_OT_use_variation, LWAE_OT_close_gallery)
)
