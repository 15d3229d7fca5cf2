# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a Blender with a window (`window_steps`): Show Parts, and Bake Animation with its dialog, Esc and undo.

A picture of the parts goes to the file that LWAE_TEST names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from window_steps import add_face, empty_scene, event, in_view, install, main, picture, view, window  # noqa: E402

BAKE_BUTTON = (-56, -134)  # From the mouse, where the dialog opens, to its button Bake, pixels.


def press_bake():
    """Open the dialog and press its button."""
    event("MOUSEMOVE", "NOTHING", 500, 500)
    yield 0.3
    with in_view():
        bpy.ops.lwae.bake_animation("INVOKE_DEFAULT")
    yield 0.7
    x, y = 500 + BAKE_BUTTON[0], 500 + BAKE_BUTTON[1]
    event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.3
    event("LEFTMOUSE", "PRESS", x, y)
    yield 0.3
    event("LEFTMOUSE", "RELEASE", x, y)
    yield 0.3


def steps():
    from helpers import evaluated_positions, positions, slider_path

    install()
    yield from empty_scene()
    yield from add_face()

    mesh, shading, screen = bpy.context.object.data, view().spaces[0].shading, window().screen
    for kind, colours in (("SOLID", "OBJECT"), ("WIREFRAME", "MATERIAL")):
        shading.type = "SOLID"
        shading.color_type, shading.type = colours, kind
        with in_view():
            assert bpy.ops.lwae.show_parts() == {"FINISHED"}
        yield 0.7
        assert (shading.type, shading.color_type) == ("SOLID", "VERTEX")
        assert [attribute.name for attribute in mesh.color_attributes] == ["Face Parts"]
        if kind == "SOLID":
            picture()
        with in_view():
            assert bpy.ops.lwae.show_parts() == {"FINISHED"}
        assert shading.type == kind
        shading.type = "SOLID"
        assert shading.color_type == colours
        assert not len(mesh.color_attributes) and "lwae_shown_parts" not in screen
    print("showed parts and hid them", flush=True)

    scene = bpy.context.scene
    for frame, value in ((1, -2), (40, 2)):
        mesh.lwae.parts[0].controls[0].value = value
        mesh.keyframe_insert(slider_path(), frame=frame)
    scene.frame_start, scene.frame_end = 1, 2000
    scene.frame_set(7)
    shown = positions(mesh)
    yield from press_bake()
    for _ in range(60):
        if scene.frame_current != 7:
            break
        yield 0.2
    assert scene.frame_current != 7, "the work has not begun"
    event("ESC", "PRESS", 500, 500)
    for _ in range(30):
        if scene.frame_current == 7:
            break
        yield 0.2
    assert scene.frame_current == 7 and len(bpy.data.objects) == 1 and bpy.context.object.visible_get()
    assert np.array_equal(positions(mesh), shown)

    scene.frame_end = 40
    with in_view():
        bpy.ops.ed.undo_push(message="Animated")
    yield from press_bake()
    for _ in range(100):
        if len(bpy.data.objects) == 2 and bpy.data.objects["Face"].hide_render:
            break
        yield 0.3
    copy = bpy.data.objects["Face Baked"]
    assert bpy.context.object == copy and scene.frame_current == 7
    assert abs(evaluated_positions(copy) - shown).max() < 1e-7
    yield 0.5
    with in_view():
        bpy.ops.ed.undo()
    yield 0.5
    assert [item.name for item in bpy.data.objects] == ["Face"], "undo did not take the bake back in one step"
    assert bpy.data.objects["Face"].data.lwae.is_face and not bpy.data.objects["Face"].hide_render
    print("stopped a bake, baked, undone", flush=True)


if __name__ == "__main__":
    main(steps)
