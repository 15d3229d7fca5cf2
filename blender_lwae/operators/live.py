# SPDX-License-Identifier: GPL-3.0-or-later
"""The modal operators that run now. Blender only drops them when their class goes, and never calls their `cancel`."""

from __future__ import annotations

import bpy

_live: list[tuple[bpy.types.Operator, bpy.types.Window]] = []


def begin(operator: bpy.types.Operator, context: bpy.types.Context) -> None:
    """To be called by `invoke`; the operator calls `end` however it ends."""
    _live.append((operator, context.window))


def end(operator: bpy.types.Operator) -> None:
    _live[:] = [pair for pair in _live if pair[0] is not operator]


def is_live(idname: str) -> bool:
    """Whether an operator of that `bl_idname` runs."""
    return any(type(operator).bl_idname == idname for operator, _ in _live)


def cancel_all() -> None:
    """On disabling the add-on: each ends as by Esc, so that no timer, text or cursor of it stays."""
    for operator, window in reversed(_live[:]):
        end(operator)
        with bpy.context.temp_override(window=window):
            operator.cancel(bpy.context)
