# SPDX-License-Identifier: GPL-3.0-or-later
"""Many faces at once: all that `lwae synth` can do."""

import bpy

from .. import batch
from ..backend.errors import LwaeError
from ..layouts import whole_row
from .common import FacesTab, draw_message


class LWAE_PT_batch(FacesTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_batch"
    bl_label = "Batch"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout, settings = self.layout, context.scene.lwae_batch
        layout.use_property_split = True
        layout.use_property_decorate = False
        try:
            model = batch.model()
        except LwaeError as error:
            draw_message(layout, context, str(error), "ERROR")
            return
        column = layout.column()
        column.enabled = batch.running is None
        column.label(text=f"Model: {model.name}")
        self.draw_what(column, settings)
        self.draw_parts(column, settings, model)
        self.draw_files(column, settings)
        self.draw_computers(column, settings)
        column.prop(settings, "folder")
        whole_row(column).prop(settings, "opens_folder")
        if batch.running is not None:
            self.draw_progress(batch.running)
        else:
            self.draw_buttons(context, settings)

    def draw_what(self, layout, settings):
        row = whole_row(layout)
        row.prop(settings, "kind", expand=True)
        column = layout.column(align=True)
        if settings.kind == "RANDOM":
            column.prop(settings, "count")
        else:
            column.prop(settings, "sources")
            column.prop(settings, "targets")
        column = layout.column(align=True)
        column.prop(settings, "seed")
        column.prop(settings, "strength", slider=True)

    def draw_parts(self, layout, settings, model):
        header, body = layout.panel("lwae_batch_parts", default_closed=True)
        used = len(batch.chosen_parts(settings, model))
        text = "Parts" if used == model.part_count else f"Parts ({used} of {model.part_count})"
        header.label(text=text, translate=False)
        if body is not None:
            body.use_property_split = False
            grid = body.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
            for index, name in enumerate(model.part_names[: batch.MOST_PARTS]):
                grid.prop(settings, "parts", index=index, text=name.capitalize(), translate=False, toggle=True)

    def draw_files(self, layout, settings):
        column = layout.column(align=True)
        column.prop(settings, "format")
        row = column.row()
        row.enabled = settings.format != "glb"
        row.prop(settings, "unit")
        column = layout.column(align=True)
        whole_row(column).prop(settings, "portraits")
        if settings.portraits:
            column.prop(settings, "size")

    def draw_computers(self, layout, settings):
        header, body = layout.panel("lwae_batch_computers", default_closed=True)
        shared = f" ({settings.share} of {settings.shares})" if settings.shares > 1 else ""
        header.label(text="Processes and Computers" + shared)
        if body is not None:
            body.prop(settings, "jobs")
            column = body.column(align=True)
            column.prop(settings, "share")
            column.prop(settings, "shares")

    def draw_progress(self, run):
        progress, layout = run.progress, self.layout
        if run.stopped:
            text = "Stopping"
        elif progress.total:
            text = f"{progress.done:,} of {progress.total:,}"
        else:
            text = "Starting"
        row = layout.row(align=True)
        row.progress(factor=progress.factor, text=text)
        row.operator("lwae.batch_stop", text="", icon="X")
        if progress.total and not run.stopped:
            row = layout.row()
            row.alignment = "CENTER"
            row.label(text=progress.pace)

    def draw_buttons(self, context, settings):
        layout = self.layout
        row = layout.row(align=True)
        row.scale_y = 1.3
        text = f"Make {batch.face_count(settings):,} Faces"
        row.operator("lwae.batch_make", text=text, translate=False, icon="COMMUNITY")
        row.operator("lwae.batch_open", text="", icon="FILE_FOLDER")
        row = layout.row(align=True)
        row.operator("lwae.batch_resume", text="Resume", translate=False, icon="PLAY")
        row.operator("lwae.batch_afresh", text="Start Afresh", translate=False, icon="TRASH")
        said_of, sentence = batch.last
        if sentence:
            done = sentence.endswith(said_of)
            draw_message(layout, context, sentence, "CHECKMARK" if done else "INFO")


register, unregister = bpy.utils.register_classes_factory((LWAE_PT_batch,))
