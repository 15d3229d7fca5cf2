# SPDX-License-Identifier: GPL-3.0-or-later
"""The preferences' list of face models."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from . import model_list, model_pictures

MOST_SHOWN = 40
# Metrics of a model that say something to people, and how.
METRICS = (
    ("reconstruction", "Reconstruction {:.2f} mm"),
    ("responsiveness", "Parts follow {:.0%}"),
    ("leak", "Leak {:.1%}"),
)


def _folder_changed(_self, _context) -> None:
    model_list.clear()


class ModelPreferences:
    models_folder: StringProperty(
        name="Folder",
        description="Where your face models (.lwae files) are. Empty means the add-on's own folder",
        subtype="DIR_PATH",
        update=_folder_changed,
    )
    default_model: StringProperty(
        name="Default Model",
        description="The model that new faces get: its file in the folder, or empty for the one that came with it",
        options={"HIDDEN"},
    )


def draw(settings: bpy.types.AddonPreferences, layout: bpy.types.UILayout, _context) -> None:
    row = layout.row()
    row.label(text="Face Models", icon="USER")
    row.operator("lwae.install_model", icon="IMPORT")
    row.operator("lwae.refresh_models", text="", icon="FILE_REFRESH")
    row = layout.row(align=True)
    row.use_property_split = True
    row.prop(settings, "models_folder")
    row.operator("lwae.open_models_folder", text="", icon="FILEBROWSER")
    found = model_list.model_list()
    column = layout.column()
    for item in found[:MOST_SHOWN]:
        draw_model(column, item, item.key == model_list.default_key())
    if len(found) > MOST_SHOWN:
        column.label(text=f"And {len(found) - MOST_SHOWN} more", icon="BLANK1")


def draw_model(layout: bpy.types.UILayout, item: model_list.ModelFile, is_default: bool) -> None:
    row = layout.box().row()
    if item.facts is None:
        text = row.column()
        text.scale_y = 0.85
        text.label(text=item.path.name, icon="ERROR")
        text.label(text=item.error)
        if item.key and item.key != model_list.BUNDLED:
            row.operator("lwae.remove_model", text="", icon="TRASH", emboss=False).model = item.key
        return
    icon = model_pictures.icon(item)
    row = row.split(factor=0.16)
    picture = row.column()
    row = row.row()
    if icon:
        picture.template_icon(icon, scale=4.5)
    else:
        picture.label(text="", icon="USER")
    text = row.column()
    text.scale_y = 0.8
    bundled = item.key == model_list.BUNDLED
    text.label(text=f"{item.name}, came with the add-on" if bundled else f"{item.name} ({item.key})")
    facts = item.facts
    text.label(text=f"{model_list.describe(facts)}: {', '.join(facts.parts)}")
    values = [form.format(facts.metrics[name]) for name, form in METRICS if name in facts.metrics]
    text.label(text=" \u00b7 ".join(values) or "Not measured")
    text.label(text=f"Licence: {facts.licence or 'not stated'}")
    if facts.provenance:
        text.label(text=f"Made from: {facts.provenance}")
    buttons = row.column()
    star = "SOLO_ON" if is_default else "SOLO_OFF"
    buttons.operator("lwae.default_model", text="", icon=star, emboss=False).model = item.key
    if not bundled:
        buttons.operator("lwae.remove_model", text="", icon="TRASH", emboss=False).model = item.key
