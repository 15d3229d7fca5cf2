# SPDX-License-Identifier: GPL-3.0-or-later
"""Many faces, made by another process, so that the window stays alive."""

import os

import bpy
from bpy.props import BoolProperty

from .. import batch, viewport
from ..backend.errors import LwaeError
from ..synth.child import SynthProcess
from ..synth.folder import RUN_FILE
from . import modals

INTERVAL = 0.2  # Seconds between looks at the run.


def _poll_idle(cls) -> bool:
    if batch.running is not None:
        cls.poll_message_set("Faces are being made. Wait for them, or stop that first.")
        return False
    return True


class MakesFaces:
    """What both buttons do once the settings are right."""

    overwrites = resumes = False

    def execute(self, context):
        """Without a window: until all is done."""
        if not self._start(context):
            return {"CANCELLED"}
        batch.running.wait()
        batch.running.poll()
        return self._end(context)

    def invoke(self, context, _event):
        if not self._start(context):
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(INTERVAL, window=context.window)
        modals.begin(self, context)
        return {"RUNNING_MODAL"}

    @modals.guarded
    def modal(self, context, event):
        run = batch.running
        if event.type == "ESC" and event.value == "PRESS" and run is not None and not run.stopped:
            run.stop()
            viewport.redraw_sidebars()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if run is not None and not run.poll():
            viewport.redraw_sidebars()
            context.workspace.status_text_set(f"{_said(run)}     Esc: Stop")
            return {"PASS_THROUGH"}
        self._leave(context)
        return self._end(context) if run is not None else {"CANCELLED"}

    def cancel(self, context):
        """Another file is opened, or Blender ends."""
        batch.stop()
        self._leave(context)

    def _start(self, context) -> bool:
        settings = context.scene.lwae_batch
        try:
            asked = batch.take_arguments(settings) if self.resumes else None
            arguments = batch.arguments(settings, self.overwrites, asked)
            self._folder = str(batch.folder(settings))
            batch.running = SynthProcess(arguments)
        except (LwaeError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return False
        self._opens_folder = settings.opens_folder
        return True

    def _end(self, context) -> set[str]:
        run, batch.running = batch.running, None
        progress = run.progress
        if run.stopped:
            sentence = f"Stopped after {progress.done:,} of {progress.total:,} faces. Resume continues."
            self.report({"WARNING"}, sentence)
        elif progress.error:
            sentence = progress.error
            self.report({"ERROR"}, sentence)
        else:
            sentence = f"{progress.total:,} faces are in {self._folder}"
            self.report({"INFO"}, sentence)
        batch.last = self._folder, sentence
        viewport.redraw_sidebars()
        if run.stopped or progress.error:
            return {"CANCELLED"}
        if self._opens_folder and not bpy.app.background:
            bpy.ops.wm.path_open(filepath=self._folder)
        return {"FINISHED"}

    def _leave(self, context) -> None:
        modals.end(self)
        context.window_manager.event_timer_remove(self._timer)
        if context.workspace is not None:
            context.workspace.status_text_set(None)


class LWAE_OT_batch_make(MakesFaces, bpy.types.Operator):
    """Make the faces in another Blender process, and go on working. Esc stops it, and Resume continues"""

    bl_idname = "lwae.batch_make"
    bl_label = "Make Many Faces"

    overwrite: BoolProperty(
        name="Start Afresh",
        description="Remove the faces that an earlier run made in this folder, and nothing else",
        options={"SKIP_SAVE"},
    )

    @property
    def overwrites(self) -> bool:
        return self.overwrite

    @classmethod
    def poll(cls, context):
        return _poll_idle(cls)


class LWAE_OT_batch_afresh(bpy.types.Operator):
    """Remove the faces that an earlier run made in this folder, and nothing else, and make these"""

    bl_idname = "lwae.batch_afresh"
    bl_label = "Start Many Faces Afresh"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context):
        return _poll_idle(cls) and _poll_earlier_run(cls, context)

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        call = "EXEC_DEFAULT" if bpy.app.background else "INVOKE_DEFAULT"
        return {"FINISHED"} & bpy.ops.lwae.batch_make(call, overwrite=True) or {"CANCELLED"}


class LWAE_OT_batch_resume(MakesFaces, bpy.types.Operator):
    """Continue the run that was stopped in this folder, with its own settings. What is there is not made again"""

    bl_idname = "lwae.batch_resume"
    bl_label = "Resume Making Faces"

    resumes = True

    @classmethod
    def poll(cls, context):
        return _poll_idle(cls) and _poll_earlier_run(cls, context)


class LWAE_OT_batch_stop(bpy.types.Operator):
    """Stop making faces. What is there stays, and Resume continues"""

    bl_idname = "lwae.batch_stop"
    bl_label = "Stop Making Faces"

    @classmethod
    def poll(cls, context):
        if batch.running is None or batch.running.stopped:
            cls.poll_message_set("No faces are being made.")
            return False
        return True

    def execute(self, context):
        batch.running.stop()  # The operator that began it sees the end.
        return {"FINISHED"}


class LWAE_OT_batch_open(bpy.types.Operator):
    """Show the folder of the faces"""

    bl_idname = "lwae.batch_open"
    bl_label = "Open Folder of Faces"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context):
        return _poll_earlier_run(cls, context)

    def execute(self, context):
        return bpy.ops.wm.path_open(filepath=str(batch.folder(context.scene.lwae_batch)))


def _poll_earlier_run(cls, context) -> bool:
    try:
        path = os.path.join(batch.folder(context.scene.lwae_batch), RUN_FILE)
    except LwaeError as error:
        cls.poll_message_set(str(error))
        return False
    if not os.path.isfile(path):
        cls.poll_message_set("No faces were made in this folder yet.")
        return False
    return True


def _said(run: SynthProcess) -> str:
    progress = run.progress
    if run.stopped:
        return "Stopping after the face that is being written"
    if not progress.total:
        return "Starting another Blender"
    return f"{progress.done:,} of {progress.total:,} faces, {progress.pace}"


CLASSES = (LWAE_OT_batch_make, LWAE_OT_batch_afresh, LWAE_OT_batch_resume, LWAE_OT_batch_stop, LWAE_OT_batch_open)


def register() -> None:
    batch.register()
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    batch.unregister()
