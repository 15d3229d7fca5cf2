# SPDX-License-Identifier: GPL-3.0-or-later
"""How like a real person the face is, and which parts went wild."""

from __future__ import annotations

from typing import NamedTuple

import bpy

from .. import analysis, face, shape
from ..backend.errors import LwaeError
from ..backend.plausibility import FACE_LIMITS, grade
from ..operators.common import active_face
from .common import ActiveFaceTab

WORDS = ("Like a real person", "Unusual", "Unlikely", "Like nobody")
KEPT_VERDICTS = 32


class Verdict(NamedTuple):
    """Of a face: its distance in standard deviations, and the numbers of the parts that do not go with the others."""

    distance: float
    odd: list[int]


# By what a face's vertices show, which is text on the mesh, so that redrawing costs a look-up.
_verdicts: dict[str, Verdict] = {}


def verdict(mesh: bpy.types.Mesh) -> Verdict | None:
    """Of what the vertices show, an edit by hand apart; None while it is not known.

    The parts may come a moment later.
    """
    shown = mesh.lwae.applied
    if shown in _verdicts:
        return _verdicts[shown]
    try:
        model = face.model_of(mesh)
        known = analysis.ready(model)
        if known is None or not shown:
            return None
        code = shape.seen_code(mesh, model, face.applied_values(mesh.lwae))
        distance = float(known.plausibility(code)[0][0])
        odd, missing = known.plausibility.odd_parts(code, wait=False)
    except (LwaeError, ValueError):  # ValueError: written by a version with other sliders; the panel says so.
        return None
    if missing is not None:
        known.look_at(missing)
        return Verdict(distance, odd)
    while len(_verdicts) >= KEPT_VERDICTS:
        _verdicts.pop(next(iter(_verdicts)))
    _verdicts[shown] = Verdict(distance, odd)
    return _verdicts[shown]


def draw_mark(layout: bpy.types.UILayout, mesh: bpy.types.Mesh, part: int) -> None:
    """A warning sign on a part that does not go with the others."""
    found = verdict(mesh)
    if found is not None and part in found.odd:
        layout.label(text="", icon="ERROR")


class LWAE_PT_plausibility(ActiveFaceTab, bpy.types.Panel):
    bl_idname = "LWAE_PT_plausibility"
    bl_label = "Plausibility"
    bl_parent_id = "LWAE_PT_face"
    bl_options = {"HIDE_HEADER"}

    def draw(self, context):
        mesh = active_face(context)
        found = verdict(mesh)
        column = self.layout.column(align=True)
        waiting = "Measuring" if face.trouble_seen(mesh) is None else "Not known"
        text, factor = bpy.app.translations.pgettext_iface(waiting), 0.0
        if found is not None:
            text = bpy.app.translations.pgettext_iface(WORDS[grade(found.distance)])
            factor = min(1.0, FACE_LIMITS[0] / max(found.distance, 1e-6))
        column.progress(factor=factor, text=text)
        column.operator("lwae.harmonise", icon="MOD_SMOOTH")


def register() -> None:
    bpy.utils.register_class(LWAE_PT_plausibility)


def unregister() -> None:
    bpy.utils.unregister_class(LWAE_PT_plausibility)
    _verdicts.clear()
