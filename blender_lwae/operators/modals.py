# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that run in a window. Blender drops those of an add-on that is switched off without a word to them."""

from __future__ import annotations

import bpy

_running: list[bpy.types.Operator] = []


def begin(operator: bpy.types.Operator, context: bpy.types.Context) -> None:
    """Give an operator its events from now on; it calls `end` when it is done or cancelled."""
    context.window_manager.modal_handler_add(operator)
    _running.append(operator)


def end(operator: bpy.types.Operator) -> None:
    _running[:] = [other for other in _running if other is not operator]


def cancel_all(context: bpy.types.Context) -> None:
    """Cancel what still runs, on disabling the add-on."""
    for operator in list(_running):
        operator.cancel(context)
        end(operator)
