# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a Blender with a window, as window_drag.py: drags a slider of a face with shape keys, which wait, follow when
the mouse is let go, and follow after an undo and a redo too."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from window_drag import FIRST_SLIDER, below_top  # noqa: E402
from window_steps import empty_scene, event, install, main, region, view, window  # noqa: E402


def points(key) -> np.ndarray:
    result = np.empty(len(key.points) * 3, dtype=np.float32)
    key.points.foreach_get("co", result)
    return result


def steps():
    install()
    yield from empty_scene()
    in_view = {"window": window(), "area": view(), "region": region("WINDOW")}
    with bpy.context.temp_override(**in_view):
        assert bpy.ops.lwae.add_face("INVOKE_DEFAULT") == {"FINISHED"}
        item = bpy.context.object
        item.shape_key_add(name="Basis", from_mix=False)
        for name in ("late", "on"):
            item.shape_key_add(name=name, from_mix=False).value = float(name == "on")
        item.active_shape_key_index = 0
        bpy.ops.ed.undo_push(message="Add Face")
    yield 1.0

    def mesh():
        return bpy.context.object.data

    def distance(name) -> float:
        keys = mesh().shape_keys.key_blocks
        return float(np.abs(points(keys[name]) - points(keys["Basis"])).max())

    x, y = region("UI").x + (region("UI").width - 20) * 0.45, below_top(FIRST_SLIDER)
    start = points(mesh().shape_keys.reference_key)
    event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.1
    event("LEFTMOUSE", "PRESS", x, y)
    yield 0.1
    waited = 0
    for step in range(1, 9):
        event("MOUSEMOVE", "NOTHING", x + 8 * step, y)
        yield 0.02
        waited += bool(mesh().lwae.waiting) and distance("late") > 0
        assert distance("on") < 1e-6, "a key that is on lags behind"
    event("LEFTMOUSE", "RELEASE", x + 64, y)
    yield 0.1
    end = points(mesh().shape_keys.reference_key)
    assert np.abs(end - start).max() > 1e-4, "no slider moved"
    print("waited in", waited, "of 8 steps", flush=True)
    assert waited, "no key waited"
    yield 1.0
    assert not mesh().lwae.waiting, "keys wait for ever"
    assert distance("late") < 1e-6 and distance("on") < 1e-6
    for action, expected in ((bpy.ops.ed.undo, start), (bpy.ops.ed.redo, end)):
        with bpy.context.temp_override(**in_view):
            action()
        yield 0.5
        assert np.abs(points(mesh().shape_keys.reference_key) - expected).max() < 1e-6
        assert not mesh().lwae.waiting and distance("late") < 1e-6 and distance("on") < 1e-6

    # The mouse is still over the slider, but a script moves it.
    bpy.context.object.data.lwae.whole[0].value += 0.5
    assert not mesh().lwae.waiting and distance("late") < 1e-6
    print("keys followed", flush=True)


if __name__ == "__main__":
    main(steps)
