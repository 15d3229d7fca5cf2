# SPDX-License-Identifier: GPL-3.0-or-later
"""Make parts of different people fit one another, at a price that is shown."""

from __future__ import annotations

import math
import threading
from functools import partial

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty

from .. import analysis, face, mix, models, shape, sync
from ..backend.errors import LwaeError
from ..backend.mix import kinship, share_kept
from ..backend.plausibility import Plausibility
from ..backend.variations import with_traits
from . import modals
from .common import active_face, change, poll_unlocked_face


def parts_alike(mesh: bpy.types.Mesh, by: str) -> np.ndarray:
    """How far parts come from the same people, [K, K]: as mixed for "DONORS" where donors give, else not at all."""
    amounts = mix.read_amounts(mesh.lwae)
    return kinship(amounts) if by == "DONORS" and amounts.any() else np.eye(len(mesh.lwae.parts))


def harmonise_face(mesh: bpy.types.Mesh, amount: float, by: str) -> tuple[list[str], float, float, float]:
    """Pull the parts that are not locked to where they fit one another and the locked ones; the mix becomes the face's
    own. Kept traits of the whole face stay as they show, its other sliders are set to what the face shows then.

    It stops where the face gets no more like a person's: harmonised again and again, it would be blown up.

    Returns:
        Data paths that were set (none when all is locked); the price, see `backend.mix.share_kept`; and how far it
        went, at most `amount`.

    Raises:
        LwaeError: when the model cannot be harmonised.
    """
    model = face.model_of(mesh)
    free, kept = face.free_parts(mesh), face.whole_kept(mesh.lwae)
    own, mixed = shape.own_code(mesh, model), shape.read_code(mesh, model)
    moved = analysis.of(model).harmoniser(mixed[None], amount, parts_alike(mesh, by), face.locked_parts(mesh))[0]
    if free and kept.any():
        moved = with_traits(model, moved, mixed, free, kept)
    reached = most_plausible(analysis.of(model).plausibility, mixed, moved)
    moved = mixed + np.float32(reached) * (moved - mixed)
    price = share_kept(models.decoder(model), own, mixed, moved)
    with sync.paused():
        paths = face.store_code(mesh, model, moved, free, face.shown_whole(mesh, model, moved)) if free else []
    return paths, *price, reached * amount


def most_plausible(plausibility: Plausibility, start: np.ndarray, end: np.ndarray) -> float:
    """Which share of the way from code to code leads to the most plausible face."""
    if np.allclose(start, end, atol=1e-6):
        return 1.0
    steps = np.array([0, 0.5, 1])
    distances, _ = plausibility(start + steps[:, None].astype(np.float32) * (end - start))
    bend, slope, _ = np.polyfit(steps, distances**2, 2)  # exact: squared distances are quadratic in the code
    if bend <= 0:
        return float(slope + bend < 0)
    return float(np.clip(-slope / (2 * bend), 0, 1))


class _Preparation(threading.Thread):
    """Makes a model ready for a pattern of donors. It outlives an operator that was cancelled, so it knows none."""

    def __init__(self, of_model: analysis.Analysis, alike: np.ndarray | None, held: list[int]):
        super().__init__(name="lwae harmonise", daemon=True)
        self._of_model, self._alike, self._held = of_model, alike, held
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._of_model.harmoniser.prepare(self._alike, self._held)
            _ = self._of_model.plausibility
        except (LwaeError, np.linalg.LinAlgError, MemoryError) as error:
            self.error = error


class LWAE_OT_harmonise(bpy.types.Operator):
    """Make the parts of this face fit one another"""

    bl_idname = "lwae.harmonise"
    bl_label = "Harmonise"
    bl_description = (
        "Make the parts of this face fit one another as those of one person do. Locked parts stay, and the others fit "
        "to them; kept sliders of the whole face stay too. The mix becomes the face's own, with sliders as before"
    )
    bl_options = {"REGISTER", "UNDO"}

    amount: FloatProperty(
        name="Amount",
        description="How far towards real people: 0 changes nothing, 1 is all the way and costs most of the donors",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        precision=2,
    )
    by: EnumProperty(
        name="Parts",
        items=(
            ("DONORS", "As Mixed", "Parts of one donor belong together already; everybody in the mix gives way alike"),
            ("SINGLE", "Each by Itself", "Every part counts as somebody else's"),
        ),
        description="Which parts count as one person's",
        options={"SKIP_SAVE"},
    )
    moved: FloatProperty(options={"HIDDEN", "SKIP_SAVE"})
    kept: FloatProperty(default=-1.0, options={"HIDDEN", "SKIP_SAVE"})
    reached: FloatProperty(default=1.0, options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        if not poll_unlocked_face(cls, context):
            return False
        if face.model_of(active_face(context)).preset != "local":
            cls.poll_message_set("Faces of this model cannot be harmonised: it has no linear parts.")
            return False
        return True

    def draw(self, _context):
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "amount")
        layout.prop(self, "by")
        for line in self.price():
            layout.label(text=line, translate=False)

    def price(self) -> list[str]:
        translate = bpy.app.translations.pgettext_iface
        lines = [translate("Moved {:.2f} mm on average").format(self.moved)]
        if self.kept >= 0:
            lines.append(translate("{:.0%} of what the donors gave stays").format(self.kept))
        if self.reached < self.amount - 0.005:
            line = translate("Went as far as {:.2f}: beyond, the face is less like a person's")
            lines.append(line.format(self.reached))
        return lines

    def invoke(self, context, _event):
        if context.window is None:
            return self.execute(context)
        mesh = active_face(context)
        of_model, alike = analysis.of(face.model_of(mesh)), parts_alike(mesh, self.by)
        self._thread = _Preparation(of_model, alike, face.locked_parts(mesh))
        self._thread.start()
        # Nothing to wait for once these donors were harmonised before.
        self._thread.join(0.02)
        if not self._thread.is_alive():
            return self._finish(context)
        self._timer = context.window_manager.event_timer_add(0.05, window=context.window)
        modals.begin(self, context)
        context.window.cursor_modal_set("WAIT")
        context.workspace.status_text_set("Harmonise: looking how real people's parts go together. Esc cancels.")
        return {"RUNNING_MODAL"}

    @modals.guarded
    def modal(self, context, event):
        if event.type == "ESC":
            self._stop_waiting(context)
            return {"CANCELLED"}
        if event.type != "TIMER" or self._thread.is_alive():
            return {"RUNNING_MODAL"}
        self._stop_waiting(context)
        return self._finish(context)

    def cancel(self, context):
        self._stop_waiting(context)

    def _stop_waiting(self, context) -> None:
        modals.end(self)
        context.window_manager.event_timer_remove(self._timer)
        if context.window is not None:
            context.window.cursor_modal_restore()
            context.workspace.status_text_set(None)

    def _finish(self, context):
        if self._thread.error is not None:
            self.report({"ERROR"}, f"This face cannot be harmonised: {self._thread.error}")
            return {"CANCELLED"}
        if not self.poll(context):
            return {"CANCELLED"}
        # What the redo panel may ask for next.
        mesh = active_face(context)
        _Preparation(analysis.of(face.model_of(mesh)), None, face.locked_parts(mesh)).start()
        return self.execute(context)

    def execute(self, context):
        mesh = active_face(context)
        result = change(self, context, mesh, partial(self._harmonise, mesh))
        if result == {"FINISHED"}:
            self.report({"INFO"}, ", ".join(self.price()))
        return result

    def _harmonise(self, mesh) -> list[str]:
        paths, self.moved, kept, self.reached = harmonise_face(mesh, self.amount, self.by)
        self.kept = -1.0 if math.isnan(kept) else kept
        return paths


register, unregister = bpy.utils.register_classes_factory((LWAE_OT_harmonise,))
