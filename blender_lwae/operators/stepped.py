# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work in small steps: with progress and Esc in a window, straight through in a script."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..backend.errors import LwaeError
from . import modals

# What can go wrong with files and faces, told as a sentence.
EXPECTED = (LwaeError, OSError, RuntimeError)
SLICE = 0.04  # Seconds of work between two redraws of the window.


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"Cannot use {error.filename}: {error.strerror}. Choose another folder."
    return str(error)


class Stepped:
    """An operator whose work is the generator `steps`, which yields the share that is done.

    Whatever `steps` made must be undone in its `finally` or `except GeneratorExit` when it is stopped; what it keeps is
    made after its last yield.
    """

    running: Iterator[float] | None = None

    def steps(self, context) -> Iterator[float]:
        raise NotImplementedError

    def execute(self, context):
        context.window_manager.progress_begin(0, 1)
        try:
            for share in self.steps(context):
                context.window_manager.progress_update(share)
        except EXPECTED as error:
            self.report({"ERROR"}, _sentence(error))
            return {"CANCELLED"}
        finally:
            context.window_manager.progress_end()
        return {"FINISHED"}

    def start(self, context) -> set[str]:
        """What `invoke` returns to run in the window."""
        if context.window is None:
            return self.execute(context)
        self.running = self.steps(context)
        self.timer = context.window_manager.event_timer_add(0.001, window=context.window)
        modals.begin(self, context)
        context.window_manager.progress_begin(0, 1)
        return {"RUNNING_MODAL"}

    @modals.guarded
    def modal(self, context, event):
        if event.type == "ESC" and event.value == "PRESS":
            self.cancel(context)
            self.report({"INFO"}, "Stopped; nothing was changed")
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"RUNNING_MODAL"}  # What is read must not change meanwhile.
        stop = time.monotonic() + SLICE
        finished = False
        try:
            while time.monotonic() < stop:
                share = next(self.running, None)
                if share is None:
                    finished = True
                    break
                context.window_manager.progress_update(share)
                context.workspace.status_text_set(f"{self.bl_label}: {share:.0%}  (Esc stops)")
        except EXPECTED as error:
            self.cancel(context)
            self.report({"ERROR"}, _sentence(error))
            return {"CANCELLED"}
        if not finished:
            return {"RUNNING_MODAL"}
        self.cancel(context)
        return {"FINISHED"}

    def cancel(self, context):
        if self.running is None:  # Of a dialog, before the work began.
            return
        modals.end(self)
        self.running.close()
        self.running = None
        context.window_manager.event_timer_remove(self.timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)
