# SPDX-License-Identifier: GPL-3.0-or-later
"""A face with sliders from a mesh: one of the model's own topology, or any other mesh of a head."""

from __future__ import annotations

import hashlib

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, PointerProperty, StringProperty

from .. import analysis, face, model_list, models, scan, viewport
from ..backend.encode_mesh import EncodedMesh, encode_mesh
from ..backend.errors import LwaeError
from ..backend.fit_doubt import fit_doubt
from ..backend.fit_mesh import Landmark, MeshFit, Progress, fit_mesh
from ..backend.landmarks import landmarks_of
from ..backend.model import FaceModel
from ..backend.polygons import have_edges
from ..background_job import Job
from . import modals
from .common import poll_or_redo, refuses

# Beginnings of the types of events that change the view alone.
LOOKING = ("MIDDLEMOUSE", "WHEEL", "MOUSEMOVE", "INBETWEEN", "NUMPAD", "TRACKPAD", "NDOF", "WINDOW")
FAR = 2.5  # mm; what is farther was hardly found.
TICK = 0.05  # Seconds between looks at the thread.
OFFSET_TOOLTIP = (
    "Keep what the model has no sliders for as an offset on top of them, so that the face has the shape of the mesh. "
    "Mesh > Remove Kept Edit takes it away again"
)


class LwaeSource(bpy.types.PropertyGroup):
    """What a face was made from, and how near it came; kept on its mesh."""

    name: StringProperty(name="Made From", description="The object that this face was made from", options=set())
    error: FloatProperty(
        name="Sliders",
        description="Mean distance in mm between the mesh and the face as the sliders made it",
        precision=2,
        options=set(),
    )
    largest: FloatProperty(
        name="95 %", description="95 of 100 vertices were nearer than this, in mm", precision=2, options=set()
    )
    with_offset: FloatProperty(
        name="With Offset",
        description="Mean distance in mm with what is kept on top of the sliders",
        precision=2,
        options=set(),
    )
    has_offset: BoolProperty(options={"HIDDEN"})


# The job that runs now, for the panel; None mostly.
running: Job | None = None


def poll_source(cls, context) -> bool:
    if running is not None:
        cls.poll_message_set("A face is being made from a mesh. Wait for it, or press Esc to stop it.")
        return False
    if modals.is_running("lwae.pick_landmarks"):
        cls.poll_message_set("Landmarks are being picked. Press Enter when they are enough, or Esc.")
        return False
    if context.mode != "OBJECT":
        cls.poll_message_set("Switch to Object Mode to make a face from a mesh.")
        return False
    item = context.object
    if item is None or item.type != "MESH":
        cls.poll_message_set("Select a mesh of a head first.")
        return False
    if face.is_face(item.data):
        cls.poll_message_set("This is a face with sliders already. Select another mesh.")
        return False
    if not len(item.data.polygons):
        cls.poll_message_set("This mesh has no faces. Select a mesh with a surface.")
        return False
    return True


def find_object(session_uid: int) -> bpy.types.Object | None:
    """The object of a number that undo, which makes all objects anew, keeps; None when it was removed."""
    return next((item for item in bpy.data.objects if item.session_uid == session_uid), None)


def model_for(mesh: bpy.types.Mesh) -> FaceModel:
    """The model whose vertices a mesh has, the one for new faces first.

    Other programs order polygons by their materials, or split them: their edges must be there, and no others.

    Raises:
        LwaeError: when no installed model has it.
    """
    count, first, damaged = len(mesh.vertices), model_list.default_key(), None
    edges = np.empty(2 * len(mesh.edges), dtype=np.int32)
    mesh.edges.foreach_get("vertices", edges)
    likely = [item for item in model_list.model_list() if item.facts and item.facts.vertex_count == count]
    for item in sorted(likely, key=lambda item: item.key != first):
        try:
            model = models.load(item.path)
        except LwaeError as error:
            damaged = damaged or error
            continue
        if have_edges(model.polygon_sizes, model.polygon_vertices, edges.reshape(-1, 2)):
            return model
    if damaged is not None:
        raise damaged
    default = models.default()
    why = f"has {count:,} vertices, and {default.name} has {default.vertex_count:,}"
    if likely:
        why = f"connects its vertices otherwise than {likely[0].facts.name} does"
    raise LwaeError(f"{mesh.name} {why}. Use Fit to Mesh, which takes any mesh of a head.")


def _set_running(job: Job | None) -> None:
    global running
    running = job
    viewport.redraw_sidebars()


def _digest(*arrays: np.ndarray) -> bytes:
    """Tells meshes apart."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(np.ascontiguousarray(array))
    return found.digest()


class FromMesh:
    """What both operators do: work in a thread with progress and Esc, then add the face; a script waits for it.

    Subclasses have `steps` and `add`.
    """

    hide_original: BoolProperty(
        name="Hide Original",
        description="Hide the mesh that the face is made from. It is kept as it is",
        default=True,
    )
    keep_offset: BoolProperty(name="Keep Offset", description=OFFSET_TOOLTIP, default=True)

    # The last result, so that the panel of the last operation need not work again: (of what, result).
    _last: tuple = ()

    @classmethod
    def poll(cls, context):
        return poll_or_redo(cls, context, poll_source)

    def draw(self, _context):
        self.layout.use_property_split = True
        self.layout.prop(self, "keep_offset")
        self.layout.prop(self, "hide_original")

    def invoke(self, context, _event):
        if context.window is None:
            return self.execute(context)
        if refuses(self, context, poll_source):
            return {"CANCELLED"}
        try:
            self._key, steps = self.steps(context, context.object)
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self._job = Job(steps)
        self._uid, self._said = context.object.session_uid, None
        self._job.start()
        _set_running(self._job)
        self._timer = context.window_manager.event_timer_add(TICK, window=context.window)
        modals.begin(self, context)
        context.window_manager.progress_begin(0, 100)
        self._say(context)
        return {"RUNNING_MODAL"}

    @modals.guarded
    def modal(self, context, event):
        if event.type == "ESC" and event.value == "PRESS":
            self.cancel(context)
            self.report({"INFO"}, "Stopped; nothing was changed")
            return {"CANCELLED"}
        if event.type != "TIMER":
            # Looking around is free; what would change the scene has to wait.
            return {"PASS_THROUGH"} if event.type.startswith(LOOKING) else {"RUNNING_MODAL"}
        if self._job.running:
            self._say(context)
            return {"RUNNING_MODAL"}
        self._end(context)
        if isinstance(self._job.error, LwaeError):
            self.report({"ERROR"}, str(self._job.error))
            return {"CANCELLED"}
        if self._job.error is not None:
            raise self._job.error
        return self._finish(context, find_object(self._uid), self._job.result)

    def execute(self, context):
        if refuses(self, context, poll_source):
            return {"CANCELLED"}
        item = context.object  # Also when it is repeated: undo brought back what was active.
        try:
            self._key, steps = self.steps(context, item)
            if type(self)._last and type(self)._last[0] == self._key:
                result = type(self)._last[1]
            else:
                job = Job(steps)
                job.run()
                result = job.result
        except LwaeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return self._finish(context, item, result)

    def cancel(self, context):
        self._job.cancel()
        self._end(context)

    def _end(self, context) -> None:
        modals.end(self)
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        _set_running(None)
        if context.workspace is not None:
            context.workspace.status_text_set(None)

    def _say(self, context) -> None:
        progress = self._job.progress
        if progress is self._said:  # Each change of the text draws the window again.
            return
        self._said = progress
        context.window_manager.progress_update(int(100 * progress.share))
        if context.workspace is not None:
            text = f"{progress.what or self.bl_label}: {100 * progress.share:.0f} %     Esc: Cancel"
            context.workspace.status_text_set(text)
        viewport.redraw_sidebars()

    def _finish(self, context, item, result):
        if item is None:
            self.report({"ERROR"}, "The mesh was removed meanwhile")
            return {"CANCELLED"}
        type(self)._last = (self._key, result)
        made = self.add(context, item, result)
        made.data.lwae_source.name = item.name
        if self.hide_original:
            item.hide_set(True)
        return {"FINISHED"}


class LWAE_OT_make_editable(FromMesh, bpy.types.Operator):
    """Make a face with sliders from a mesh that has the topology of the model, at the same place. The mesh is kept"""

    bl_idname = "lwae.make_editable"
    bl_label = "Make Editable Face"
    bl_options = {"REGISTER", "UNDO"}

    def steps(self, context, item):
        if item.matrix_world.determinant() < 0:
            raise LwaeError(
                f"{item.name} mirrors its mesh (negative scale). Make its scale positive, or use Fit to Mesh."
            )
        model = model_for(item.data)
        vertices = scan.read_vertices(context, item)
        decoder = models.tools(model).decoder

        def run():
            yield Progress(0.1, "Finding the sliders")
            try:
                yield encode_mesh(decoder, vertices, scale="any")
            except LwaeError as error:
                if not np.isfinite(vertices).all():
                    raise
                raise LwaeError(f"{error} Or use Fit to Mesh, which takes any mesh of a head.") from error

        return (item.session_uid, model.hash, _digest(vertices)), run()

    def add(self, context, item, result: EncodedMesh):
        model = model_for(item.data)
        goal = result.pose.apply(scan.read_vertices(context, item)) if self.keep_offset else None
        made = scan.new_face(context, model, result.code, goal, result.pose, item)
        note = made.data.lwae_source
        note.error, note.largest = result.mean_error, float(np.nanpercentile(result.errors, 95))
        note.has_offset = self.keep_offset
        kept = "; the rest is kept as an offset" if self.keep_offset else ""
        self.report({"INFO"}, f"The sliders hold it to {note.error:.2f} mm (95 %: {note.largest:.2f} mm){kept}")
        return made


class LWAE_OT_fit_to_mesh(FromMesh, bpy.types.Operator):
    """Fit a face with sliders to any mesh of a head: a scan, another topology, a bust or a mask. The mesh is kept.
    Landmarks that were picked on it help; without them the head is found by its shape"""

    bl_idname = "lwae.fit_to_mesh"
    bl_label = "Fit to Mesh"
    bl_options = {"REGISTER", "UNDO"}

    size: EnumProperty(
        name="Size",
        description="What the size of the mesh means",
        items=(
            ("units", "True Size", "The mesh has the size of a head in mm, cm, inches, dm or m where that is possible, "
             "and a large head becomes a large face"),
            ("free", "Any Size", "The size of the mesh means nothing: the face has the size that suits its shape, and "
             "the object is scaled"),
        ),
    )  # fmt: skip

    def steps(self, context, item):
        model = models.default()
        vertices, triangles = scan.read_triangles(context, item)
        matrix = np.array(item.matrix_world)
        known = landmarks_of(model)
        picked = [
            Landmark(known[mark.name], matrix[:3, :3] @ np.array(mark.place) + matrix[:3, 3])
            for mark in item.lwae_landmarks
            if mark.name in known
        ]
        marks = tuple((mark.vertex, *mark.point) for mark in picked)
        # The offset is always found, so that it can be switched on and off afterwards.
        steps = fit_mesh(
            models.tools(model).decoder, vertices, triangles, scan.make_closest, picked, self.size, with_offset=True
        )
        return (item.session_uid, model.hash, self.size, _digest(vertices, triangles), marks), steps

    def add(self, context, item, result: MeshFit):
        model = models.default()
        goal = result.face + result.offset if self.keep_offset else None
        made = scan.new_face(context, model, result.code, goal, result.pose, item)
        note = made.data.lwae_source
        note.error, note.with_offset = result.distance.chamfer, result.distance_with_offset.chamfer
        note.has_offset = self.keep_offset
        kept = f", {note.with_offset:.2f} mm with the offset" if self.keep_offset else ""
        part = "" if result.distance.coverage > 0.6 else f"; the mesh has {100 * result.distance.coverage:.0f} % of it"
        advice = "Check the landmarks" if len(item.lwae_landmarks) else "Pick landmarks on the mesh and fit again"
        if note.error > FAR:
            self.report({"WARNING"}, f"The face is {note.error:.1f} mm from the mesh, which is far. {advice}")
        elif doubt := fit_doubt(analysis.of(model).plausibility, result, self.size):
            self.report({"WARNING"}, f"Look at this face before you trust it: {doubt}. {advice}")
        else:
            self.report({"INFO"}, f"The sliders come as near as {note.error:.2f} mm (Chamfer){kept}{part}")
        return made

    def draw(self, context):
        super().draw(context)
        self.layout.prop(self, "size")


CLASSES = (LwaeSource, LWAE_OT_make_editable, LWAE_OT_fit_to_mesh)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Mesh.lwae_source = PointerProperty(type=LwaeSource)


def unregister() -> None:
    del bpy.types.Mesh.lwae_source
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    for cls in (LWAE_OT_make_editable, LWAE_OT_fit_to_mesh):
        cls._last = ()
