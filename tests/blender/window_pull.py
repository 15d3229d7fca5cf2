# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a Blender with a window (`window_steps`): pulls a nose with the mouse, cancels, undoes, changes the radius.

Pictures of the window before and after, side by side, go where LWAE_TEST says.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from window_steps import (  # noqa: E402
    SETTINGS,
    add_face,
    empty_scene,
    event,
    in_view,
    install,
    main,
    open_panel,
    picture,
    region,
    view,
)


def picture_of(moment: str) -> None:
    """Taken before and after; then both side by side."""
    pictures = {name: str(Path(bpy.app.tempdir, f"{name}.png")) for name in ("before", "after")}
    picture(pictures[moment])
    if moment == "after" and Path(pictures[moment]).is_file() and shutil.which("convert"):
        subprocess.run(["convert", *pictures.values(), "+append", SETTINGS["screenshot"]], check=True)


def on_screen(place) -> tuple[float, float]:
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    area = region("WINDOW")
    spot = location_3d_to_region_2d(area, view().spaces[0].region_3d, place)
    return area.x + spot.x, area.y + spot.y


def steps():
    from helpers import expected, positions, values

    install()
    from bl_ext.user_default.blender_lwae.panels.pull import LWAE_PT_pull

    open_panel(LWAE_PT_pull)
    yield from empty_scene()
    yield from add_face("RIGHT")
    with in_view():
        bpy.ops.wm.tool_set_by_id(name="lwae.pull_tool")
    yield 0.3

    mesh = bpy.context.object.data
    before = positions(mesh)
    tip = int(before[:, 1].argmin())
    ears = before[:, 1] > 0.02
    x, y = on_screen(before[tip] + (0, 0.004, 0))
    millimetre = abs(on_screen((0, 0.1, 0))[0] - on_screen((0, 0, 0))[0]) / 100
    event("MOUSEMOVE", "NOTHING", x + 3, y)
    yield 0.1
    event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.3
    picture_of("before")

    def press_and_drag(distance, steps=10):
        event("MOUSEMOVE", "NOTHING", x, y)
        yield 0.1
        event("LEFTMOUSE", "PRESS", x, y)
        yield 0.6
        for step in range(1, steps + 1):
            event("MOUSEMOVE", "NOTHING", x - distance * millimetre * step / steps, y)
            yield 0.05
        yield 0.3

    def release(distance):
        event("LEFTMOUSE", "RELEASE", x - distance * millimetre, y)
        yield 0.3

    # Cancelled: to the last bit.
    yield from press_and_drag(10)
    mesh = bpy.context.object.data
    assert (before - positions(mesh))[tip, 1] > 0.007, "the pull does nothing"
    event("ESC", "PRESS", x, y)
    yield 0.3
    assert np.array_equal(positions(mesh), before) and not any(values(mesh)), "Esc left a trace"
    yield from release(10)
    assert np.array_equal(positions(mesh), before)

    # Released: the point is where the mouse is, the ears are where they were.
    yield from press_and_drag(10)
    yield from release(10)
    mesh = bpy.context.object.data
    moved = (positions(mesh) - before) * 1000
    operator = bpy.context.window_manager.operators[-1]
    assert operator.bl_idname == "LWAE_OT_pull" and operator.move.length > 0.008, "the redo panel knows the move"
    properties = {name: getattr(operator, name) for name in ("radius", "mirror", "part_only")}
    properties |= {name: tuple(getattr(operator, name)) for name in ("place", "move")}
    pressed = int(np.linalg.norm(before - operator.place, axis=1).argmin())
    far = np.linalg.norm(moved[ears], axis=1).mean()
    print(f"pulled {moved[pressed].round(2)} mm, the tip {moved[tip].round(2)}, beyond the ears {far:.2f}", flush=True)
    assert np.linalg.norm(moved[pressed] - (0, -10, 0)) < 1, "the point did not follow the mouse"
    assert np.linalg.norm(moved[ears], axis=1).mean() < 1
    assert np.abs(positions(mesh) - expected(mesh)).max() < 1e-6
    yield 0.3
    picture_of("after")

    with in_view():
        bpy.ops.ed.undo()
    yield 0.5
    mesh = bpy.context.object.data
    assert np.array_equal(positions(mesh), before), "undo did not take the pull back in one step"

    # The redo panel does the same once more.
    with in_view():
        assert bpy.ops.lwae.pull("EXEC_DEFAULT", **properties) == {"FINISHED"}
        again = (positions(mesh) - before) * 1000
        assert np.abs(again - moved).max() < 0.1, np.abs(again - moved).max()
        bpy.ops.lwae.reset_face()
        bpy.ops.ed.undo_push(message="Reset")
    yield 0.3
    mesh = bpy.context.object.data
    assert np.array_equal(positions(mesh), before)

    # The wheel and the keys of the drag.
    settings = bpy.context.scene.lwae_pull
    radius = settings.radius
    yield from press_and_drag(4)
    narrow = positions(mesh)
    for _ in range(6):
        event("WHEELUPMOUSE", "PRESS", x - 4 * millimetre, y)
        yield 0.1
    assert settings.radius > 1.8 * radius, settings.radius
    assert np.abs(positions(mesh) - narrow).max() > 1e-4, "the radius did nothing"
    event("X", "PRESS", x - 4 * millimetre, y)
    yield 0.1
    assert settings.mirror
    yield from release(4)
    with in_view():
        bpy.ops.ed.undo()
    settings = bpy.context.scene.lwae_pull
    settings.mirror, settings.radius = False, radius
    yield 0.3

    # With Ctrl nothing but the nose.
    mesh = bpy.context.object.data
    event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.1
    event("LEFTMOUSE", "PRESS", x, y, ctrl=True)
    yield 0.3
    for step in range(1, 6):
        event("MOUSEMOVE", "NOTHING", x - step * millimetre, y, ctrl=True)
        yield 0.05
    event("LEFTMOUSE", "RELEASE", x - 5 * millimetre, y, ctrl=True)
    yield 0.3
    mesh = bpy.context.object.data
    parts = [part.name for part in mesh.lwae.parts if any(control.value for control in part.controls)]
    assert parts == ["nose"], parts

    # Beside the face a click selects, as with other tools.
    event("MOUSEMOVE", "NOTHING", x - 60 * millimetre, y)
    yield 0.1
    event("LEFTMOUSE", "PRESS", x - 60 * millimetre, y)
    yield 0.1
    event("LEFTMOUSE", "RELEASE", x - 60 * millimetre, y)
    yield 0.5
    assert not bpy.context.selected_objects, "a click on nothing deselects"

    # Nor does any drag that the tool does not take move the object.
    with in_view():
        bpy.ops.lwae.reset_face()
        bpy.ops.object.select_all(action="SELECT")
    item, settings = bpy.context.object, bpy.context.scene.lwae_pull
    parts = item.data.lwae.parts

    def stays(where, **keys):
        place = positions(item.data)
        item.select_set(True)
        event("MOUSEMOVE", "NOTHING", *where, **keys)
        yield 0.2
        event("LEFTMOUSE", "PRESS", *where, **keys)
        yield 0.2
        for step in range(1, 7):
            event("MOUSEMOVE", "NOTHING", where[0] - 10 * step, where[1], **keys)
            yield 0.05
        travelled = item.matrix_world.translation.length
        event("LEFTMOUSE", "RELEASE", where[0] - 60, where[1], **keys)
        yield 0.3
        event("ESC", "PRESS", where[0] - 60, where[1])  # Closes the sentence beside the mouse.
        yield 0.3
        assert travelled == item.matrix_world.translation.length == 0, "the object travelled"
        assert np.array_equal(positions(item.data), place)

    parts["nose"].locked = True
    yield from stays((x, y), ctrl=True)
    assert item.select_get(), "a refused press is swallowed"
    settings.part_only = True
    yield from stays((x, y))
    assert item.select_get()
    settings.part_only = False
    for part in parts:
        part.locked = True
    yield from stays((x, y))
    assert item.select_get()
    for part in parts:
        part.locked = False
    for keys in ({}, {"ctrl": True}, {"shift": True}):
        yield from stays((x - 60 * millimetre, y), **keys)
    item.data.vertices[5].co.z += 0.002
    item.data.update()
    yield from stays((x, y))
    assert item.select_get()

    # What is before a face that cannot be pulled can be selected.
    place = positions(item.data)[tip] + (0.3, 0.004, 0)
    bpy.ops.mesh.primitive_cube_add(size=0.02, location=place)
    cube = bpy.context.object
    cube.select_set(False)
    bpy.context.view_layer.objects.active = item
    yield 0.2
    event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.1
    event("LEFTMOUSE", "PRESS", x, y)
    yield 0.1
    event("LEFTMOUSE", "RELEASE", x, y)
    yield 0.5
    assert bpy.context.object == cube and cube.select_get(), "a click on another object selects it"
    print("cancelled, undone, wheel, mirror, part only, click beside, refused", flush=True)


if __name__ == "__main__":
    main(steps)
