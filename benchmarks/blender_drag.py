# SPDX-License-Identifier: GPL-3.0-or-later
"""Slider to screen in Blender: property set, positions written, depsgraph updated; and what faces cost others."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time

import numpy as np

from . import large_head
from .in_blender import addon, call
from .measure import Row, missing, row, value

SHAPE_KEYS = 52
FACES = 20
WINDOW_STEPS = 200
ROWS = (12.6, 12.2, 13.0, 13.4)  # from the sidebar's top to the first slider, one of the whole face


def run(quick: bool = False) -> list[Row]:
    steps = 40 if quick else 400
    large, bundled = str(large_head.large_model_file()), str(large_head.BUNDLED)
    rows = []
    try:
        for path in (bundled, large):
            rows += call("blender_drag:drag", path, steps)
        rows += call("blender_drag:unrelated", bundled, steps)
    except (RuntimeError, OSError) as error:
        return [*(Row(**entry) for entry in rows), missing("in Blender", f"not measured: {str(error)[-200:]}")]
    rows = [Row(**entry) for entry in rows]
    gui = os.environ.get("BLENDER_GUI")
    if not gui:
        return [*rows, missing("a drag in the window", "BLENDER_GUI names no Blender that can open one")]
    os.environ["BLENDER"] = gui
    for path in (bundled, large):
        rows += [Row(**entry) for entry in call("blender_drag:window_drag", path, WINDOW_STEPS, window=True)]
    return rows


def new_face(path: str, name: str = "Face"):
    """A face object of a model file, linked and active."""
    import bpy

    model = addon("models").load(path)
    mesh = addon("mesh_build").new_face_mesh(model, name)
    addon("face").make_face(mesh, model)
    addon("sync").write(mesh)
    item = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    bpy.context.view_layer.update()
    return item


def drag(path: str, steps: int) -> list[dict]:
    """In Blender: sliders set by a script, each followed by an update of the depsgraph."""
    import bpy

    item = new_face(path)
    controls = [control for part in item.data.lwae.parts for control in part.controls]
    size = f"{len(item.data.vertices):,} vertices"
    where = f"Blender {bpy.app.version_string}, no window"

    def times(count: int) -> list[float]:
        result = []
        for step in range(count + 5):
            control = controls[step // 10 % len(controls)]
            start = time.perf_counter()
            control.value = 0.05 + 0.1 * (step % 10)
            bpy.context.view_layer.update()
            result.append(time.perf_counter() - start)
        return result[5:]

    rows = [row(f"slider to depsgraph, {size}", times(steps), p95=12.0, note=where)]
    plain = []
    positions = addon("writer").read_positions(item.data).ravel()
    for _ in range(steps):
        start = time.perf_counter()
        item.data.attributes["position"].data.foreach_set("vector", positions)
        item.data.update()
        bpy.context.view_layer.update()
        plain.append(time.perf_counter() - start)
    rows.append(row(f"Blender's own share of it, {size}", plain, baseline=True))
    return [dataclasses.asdict(entry) for entry in [*rows, *_with_keys(item, steps, size)]]


def _with_keys(item, steps: int, size: str) -> list[Row]:
    """The same beside shape keys: the model's facial actions and keys of an artist, all off, as after adding them.

    A drag, a script's sliders and Blender alone take turns, each with a control of its own.
    """
    import bpy

    mesh, sync = item.data, addon("sync")
    names = addon("face").model_of(mesh).expressions.names[:SHAPE_KEYS]
    addon("expressions").add_keys(item, names)
    for number in range(SHAPE_KEYS - len(names)):
        item.shape_key_add(name=f"Scar {number}", from_mix=False).value = 0.0
    controls = [control for part in mesh.lwae.parts for control in part.controls]
    ways = {"drag": sync.dragging, "script": contextlib.nullcontext, "Blender": contextlib.nullcontext}
    times: dict[str, list[float]] = {name: [] for name in (*ways, "end")}
    turn = 0
    for _ in range(steps // 10):
        for name, way in ways.items():
            control = controls[turn % len(controls)]
            turn += 1
            with way():
                for step in range(10):
                    start = time.perf_counter()
                    if name == "Blender":
                        mesh.update()
                    else:
                        control.value = 0.05 + 0.1 * step
                    bpy.context.view_layer.update()
                    times[name].append(time.perf_counter() - start)
                start = time.perf_counter()
            if name == "drag":
                times["end"].append(time.perf_counter() - start)
    keys = f"{SHAPE_KEYS} shape keys, {size}"
    return [
        row(f"a drag, slider to depsgraph with {keys}", times["drag"], p95=12.0, note="they follow at its end"),
        row(f"the same moved by a script with {keys}", times["script"], note="they follow at each step"),
        row(f"Blender's own share of both with {keys}", times["Blender"], baseline=True),
        row(f"the end of a drag: {keys}", times["end"]),
    ]


def unrelated(path: str, steps: int) -> list[dict]:
    """In Blender: what moving an object costs beside 20 faces, with and without the add-on's handlers."""
    import bpy

    for number in range(FACES):
        new_face(path, f"Face {number}")
    other = bpy.data.objects.new("Other", bpy.data.meshes.new("Other"))
    bpy.context.scene.collection.objects.link(other)
    bpy.context.view_layer.update()
    handlers, ours = bpy.app.handlers.depsgraph_update_post, addon("sync").on_depsgraph_update
    times: dict[bool, list[float]] = {True: [], False: []}
    for step in range(2 * max(steps, 200)):
        with_handler = step % 2 == 0
        if with_handler != (ours in handlers):
            handlers.append(ours) if with_handler else handlers.remove(ours)
        start = time.perf_counter()
        other.location.x += 0.01
        bpy.context.view_layer.update()
        times[with_handler].append(time.perf_counter() - start)
    if ours not in handlers:
        handlers.append(ours)
    cost = 1e3 * (np.median(times[True]) - np.median(times[False]))
    rows = [
        value(f"moving another object beside {FACES} faces: our share", cost, "ms", most=0.05),
        row(f"moving another object beside {FACES} faces, add-on's handler off", times[False], baseline=True),
    ]
    return [dataclasses.asdict(entry) for entry in rows]


def window_drag(path: str, steps: int):
    """In a Blender with a window: a real slider dragged with the mouse; how long Python holds it up at each step."""
    import bpy

    window = bpy.context.window_manager.windows[0]
    view = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    bpy.context.preferences.view.show_splash = False
    view.spaces[0].show_region_ui = True
    yield 0.5
    sidebar = next(item for item in view.regions if item.type == "UI")
    sidebar.active_panel_category = "Faces"
    item = new_face(path)
    item.select_set(True)
    with bpy.context.temp_override(
        window=window, area=view, region=next(item for item in view.regions if item.type == "WINDOW")
    ):
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    yield 1.0
    spent, asked = _listen()
    row_height = 20 * bpy.context.preferences.system.ui_scale
    x = sidebar.x + (sidebar.width - 20) * 0.45
    control = None
    for rows_down in ROWS:  # until a slider answers
        y = sidebar.y + sidebar.height - rows_down * row_height
        before = _values(item.data)
        yield from _press_and_move(window, x, y, 20, 3)
        changed = [c for c, v in zip(_controls(item.data), before, strict=True) if c.value != v]
        if len(changed) == 1:
            control = changed[0]
            break
    if control is None:
        return [dataclasses.asdict(missing("a drag in the window", "no slider was found under the mouse"))]
    spent.clear()
    asked.clear()
    start = time.perf_counter()
    yield from _press_and_move(window, x, y, 80, steps)
    length = time.perf_counter() - start
    size = f"{len(item.data.vertices):,} vertices"
    note = f"{control.name}: {steps} mouse moves, {len(spent)} slider values, {length:.1f} s in all; software OpenGL"
    rows = [
        row(f"window drag, one step of ours, {size}", list(spent), note=note),
        value(f"window drag, longest step of ours, {size}", 1e3 * max(spent), "ms", most=50),
        value(f"window drag, asked what troubles the face, per slider value, {size}", len(asked) / len(spent), "times"),
        value(f"window drag, time of that per slider value, {size}", 1e3 * sum(asked) / len(spent), "ms"),
    ]
    return [dataclasses.asdict(entry) for entry in rows]


def _controls(mesh) -> list:
    return [*mesh.lwae.whole, *(control for part in mesh.lwae.parts for control in part.controls)]


def _values(mesh) -> list[float]:
    return [control.value for control in _controls(mesh)]


def _press_and_move(window, x: float, y: float, distance: float, steps: int):
    def event(kind, state, at):
        window.event_simulate(type=kind, value=state, x=int(at), y=int(y))

    event("MOUSEMOVE", "NOTHING", x)
    yield 0.1
    event("LEFTMOUSE", "PRESS", x)
    yield 0.1
    for step in range(1, steps + 1):
        event("MOUSEMOVE", "NOTHING", x + distance * np.sin(step / steps * np.pi) if steps > 5 else x + distance * step)
        yield 0.01
    event("LEFTMOUSE", "RELEASE", x + (distance * steps if steps <= 5 else 0))
    yield 0.3


def _listen() -> tuple[list[float], list[float]]:
    """Lists that fill with the seconds of each slider's callback, and of each question what troubles a face."""
    sync, face, spent, asked = addon("sync"), addon("face"), [], []

    def timed(function, seconds):
        def call(*arguments):
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                seconds.append(time.perf_counter() - start)

        return call

    sync.follow, face.trouble = timed(sync.follow, spent), timed(face.trouble, asked)
    return spent, asked
