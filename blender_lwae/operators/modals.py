# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that run in a window. Blender drops those of an add-on that is switched off without a word to them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import bpy

_running: list[tuple[bpy.types.Operator, bpy.types.Window]] = []


def begin(operator: bpy.types.Operator, context: bpy.types.Context) -> None:
    """Give an operator its events from now on; it calls `end` however it ends."""
    context.window_manager.modal_handler_add(operator)
    _running.append((operator, context.window))


def end(operator: bpy.types.Operator) -> None:
    _running[:] = [pair for pair in _running if pair[0] is not operator]


def guarded(modal: Callable) -> Callable:
    """Decorates `modal` of an operator that `begin` is told of: whatever it raises, the operator ends as by Esc.

    Blender only prints the error and forgets the operator; its timer, text and cursor would stay, and `is_running`.
    """

    @functools.wraps(modal)
    def run(self, context, event):
        try:
            return modal(self, context, event)
        except BaseException:
            if any(operator is self for operator, _ in _running):
                try:
                    self.cancel(context)
                finally:
                    end(self)  # What broke `modal` may break `cancel` too.
            raise

    return run


def is_running(idname: str) -> bool:
    """Whether an operator of that `bl_idname` runs."""
    return any(type(operator).bl_idname == idname for operator, _ in _running)


def cancel_all() -> None:
    """On disabling the add-on: each ends as by Esc, so that no timer, text or cursor of it stays."""
    for operator, window in reversed(_running[:]):
        end(operator)
        with bpy.context.temp_override(window=window):
            operator.cancel(bpy.context)
