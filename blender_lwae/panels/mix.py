# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of other faces."""

import bpy

from .. import face, mix
from ..backend.mix import OWN, main_donors
from ..operators.common import active_face
from .common import ActiveFaceTab, is_narrow, pair


class LWAE_UL_donors(bpy.types.UIList):
    bl_idname = "LWAE_UL_donors"

    def draw_item(self, _context, layout, _data, item, _icon, _active_data, _active_property, _index=0, _flag=0):
        row = layout.row(align=True)
        row.prop(item, "name", text="", icon="USER", emboss=False, translate=False)
        used = sum(1 for amount in item.amounts if amount.value)
        side = row.row()
        side.alignment = "RIGHT"
        side.active = bool(used)
        side.label(text=str(used) if used else "–", translate=False)


class LWAE_MT_part_donor(bpy.types.Menu):
    """Which face this part comes from"""

    bl_idname = "LWAE_MT_part_donor"
    bl_label = "Take Part from"

    def draw(self, context):
        layout = self.layout
        mesh, part = active_face(context), getattr(context, "lwae_part", None)
        if mesh is None or part is None:  # Drawn by the menu search, for no part.
            return
        part = part.name
        index = mesh.lwae.parts.find(part)
        giver = int(main_donors(mix.read_amounts(mesh.lwae))[index])
        for number, donor in enumerate((None, *mesh.lwae.donors), start=OWN):
            icon = "RADIOBUT_ON" if number == giver else "RADIOBUT_OFF"
            text = donor.name if donor else "Own"
            self.item(layout, part, donor.name if donor else "", text, icon, translate=donor is None)
        others = [item for item in mix.donor_faces(context, mesh) if mix.find_donor(mesh.lwae, item) < 0]
        if others:
            layout.separator()
        for item in others[:20]:
            text = mix.donor_name(mesh.lwae, item)
            self.item(layout, part, item.name, text, "ADD", translate=False, origin=mix.origin_of(item))

    @staticmethod
    def item(layout, part, donor, text, icon, translate, origin=""):
        button = layout.operator("lwae.give_part", text=text, icon=icon, translate=translate)
        button.part, button.donor, button.origin = part, donor, origin


class LWAE_MT_add_donor(bpy.types.Menu):
    """Faces of this scene"""

    bl_idname = "LWAE_MT_add_donor"
    bl_label = "Add Donor"

    def draw(self, context):
        layout = self.layout
        mesh = active_face(context)
        if mesh is None:
            return
        faces = list(mix.donor_faces(context, mesh))
        layout.operator("lwae.add_donors", text="From Selection", translate=False, icon="RESTRICT_SELECT_OFF")
        layout.separator()
        for item in faces[:40]:
            icon = "FILE_REFRESH" if mix.find_donor(mesh.lwae, item) >= 0 else "ADD"
            text = mix.donor_name(mesh.lwae, item)
            button = layout.operator("lwae.add_donor", text=text, icon=icon, translate=False)
            button.name, button.origin = item.name, mix.origin_of(item)
        if not faces:
            layout.label(text="No other face of this model in the scene")


class LWAE_PT_mix(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_mix"
    bl_label = "Mix"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout, mesh = self.layout, active_face(context)
        state = mesh.lwae
        usable = face.trouble_seen(mesh) is None and not mesh.library
        self.draw_donors(layout, state)
        column = layout.column(align=True)
        column.operator("lwae.shuffle_parts", icon="FILE_REFRESH")
        seed = column.row(align=True)
        seed.enabled = usable and len(state.donors) > 0
        seed.prop(state, "mix_seed")
        if not len(state.donors):
            return
        layout.row().prop(state, "mix_view", expand=True)
        body = layout.column()
        body.enabled = usable
        if state.mix_view == "PARTS":
            amounts = mix.read_amounts(state)
            givers = main_donors(amounts).tolist()
            for part in range(len(state.parts)):
                self.draw_part(body, context, state, part, givers[part], amounts[:, part])
        elif 0 <= state.donor_index < len(state.donors):
            self.draw_donor(body, state, state.donors[state.donor_index])
        layout.operator("lwae.bake_mix", icon="CHECKMARK")

    @staticmethod
    def draw_donors(layout, state):
        if not len(state.donors):
            column = layout.column(align=True)
            column.operator("lwae.add_donors", icon="ADD")
            column.menu("LWAE_MT_add_donor", text="Add Donor from Scene", translate=False)
            return
        row = layout.row()
        row.template_list("LWAE_UL_donors", "", state, "donors", state, "donor_index", rows=3, maxrows=6)
        column = row.column(align=True)
        column.menu("LWAE_MT_add_donor", text="", icon="ADD")
        active = state.donors[state.donor_index].name if 0 <= state.donor_index < len(state.donors) else ""
        column.operator("lwae.remove_donor", text="", icon="REMOVE").donor = active
        column.separator()
        column.operator("lwae.refresh_donors", text="", icon="FILE_REFRESH")

    @staticmethod
    def draw_part(layout, context, state, part, giver, amounts):
        """Who gives a part, with a slider; where several do, a slider for each below."""
        split = layout.split(factor=0.38, align=True)
        name = split.row()
        name.label(text=state.parts[part].name.capitalize(), translate=False)
        if state.parts[part].locked:
            name.label(text="", icon="LOCKED")
        right = pair(split, context)
        right.context_pointer_set("lwae_part", state.parts[part])
        giving = [number for number, amount in enumerate(amounts) if amount]
        if not giving:
            right.menu("LWAE_MT_part_donor", text="Own", translate=False)
            return
        names = " + ".join(state.donors[number].name for number in giving)
        first = giver if giver != OWN else giving[0]
        right.menu("LWAE_MT_part_donor", text=state.donors[first].name if len(giving) == 1 else names, translate=False)
        if len(giving) == 1:
            right.prop(state.donors[first].amounts[part], "value", text="", slider=True)
            return
        below = layout.split(factor=0.1 if is_narrow(context) else 0.38, align=True)
        below.label()
        column = below.column(align=True)
        for number in giving:
            donor = state.donors[number]
            column.prop(donor.amounts[part], "value", text=donor.name, slider=True, translate=False)

    @staticmethod
    def draw_donor(layout, state, donor):
        """All sliders of one donor."""
        layout.prop(donor, "all_amounts", slider=True)
        column = layout.column(align=True)
        for part, amount in zip(state.parts, donor.amounts, strict=False):
            icon = "LOCKED" if part.locked else "NONE"
            column.prop(amount, "value", text=part.name.capitalize(), translate=False, slider=True, icon=icon)


register, unregister = bpy.utils.register_classes_factory(
    (LWAE_UL_donors, LWAE_MT_part_donor, LWAE_MT_add_donor, LWAE_PT_mix)
)
