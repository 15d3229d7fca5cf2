# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a Blender with a window (`window_steps`): drags a slider, presses Randomise, renders an animation as a job.

Value and vertices must follow the mouse.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from window_steps import add_face, empty_scene, event, in_view, install, main, picture, region, view  # noqa: E402

# From the top of the sidebar to its buttons, in units of the interface's button height.
RANDOMISE, FIRST_SLIDER = 2.3, 12.6


def below_top(rows: float) -> float:
    return region("UI").y + region("UI").height - rows * 20 * bpy.context.preferences.system.ui_scale


def drag(x, y, distance):
    """Press, move in steps, release; a generator that leaves Blender time to answer."""
    event("MOUSEMOVE", "NOTHING", x, y)
    yield 0.1
    event("LEFTMOUSE", "PRESS", x, y)
    yield 0.1
    for step in range(1, 6):
        event("MOUSEMOVE", "NOTHING", x + distance * step / 5, y)
        yield 0.05
    event("LEFTMOUSE", "RELEASE", x + distance, y)
    yield 0.2


def steps():
    from helpers import expected, face_controls, positions, values

    install()
    yield from empty_scene()
    yield from add_face()

    mesh = bpy.context.object.data
    middle = region("UI").x + (region("UI").width - 20) * 0.45
    before = positions(mesh)
    yield from drag(middle, below_top(FIRST_SLIDER), 60)
    moved = [number for number, value in enumerate(values(mesh)) if value]
    print("slider", moved, "to", [value for value in values(mesh) if value], flush=True)
    first = mesh.lwae.whole[0] if mesh.lwae.whole else mesh.lwae.parts[0].controls[0]
    assert [face_controls(mesh)[number] for number in moved] == [first], f"{moved} were dragged, not the first slider"
    assert first.value > 0.5
    assert abs(positions(mesh) - before).max() > 1e-4
    assert abs(positions(mesh) - expected(mesh)).max() < 1e-6

    with in_view():
        bpy.ops.ed.undo()
    yield 0.5
    mesh = bpy.context.object.data
    assert mesh.lwae.is_face and not any(values(mesh)), "undo did not take the drag back in one step"
    assert abs(positions(mesh) - expected(mesh)).max() < 1e-6

    seeds = set()
    for _ in range(3):
        yield from drag(middle, below_top(RANDOMISE), 0)
        mesh = bpy.context.object.data
        seeds.add(mesh.lwae.seed)
        assert all(values(mesh)), "Randomise did nothing"
        assert abs(positions(mesh) - expected(mesh)).max() < 1e-6
    assert len(seeds) == 3, "each press must draw another seed"
    yield 0.5
    picture()
    yield from draw_each_state()
    yield from render_as_a_job()


def draw_each_state():
    """The panels of a face in all its troubles are drawn; an error in drawing is printed, and the caller looks."""
    face = bpy.context.object
    mesh = face.data

    def edited():
        mesh.vertices[0].co.z += 0.01
        mesh.update()

    def another_model():
        mesh.lwae.model_hash = "0" * 16

    def nothing_active():
        bpy.context.view_layer.objects.active = None

    def face_again():
        mesh.lwae.model_hash = model_hash
        bpy.context.view_layer.objects.active = face

    model_hash = mesh.lwae.model_hash
    for state in (
        edited,
        bpy.ops.lwae.keep_edit,
        lambda: bpy.ops.object.mode_set(mode="EDIT"),
        lambda: bpy.ops.object.mode_set(mode="OBJECT"),
        another_model,
        nothing_active,
        face_again,
        bpy.ops.lwae.remove_offset,
    ):
        with in_view():
            state()
        for item in view().regions:
            item.tag_redraw()
        yield 0.4
    print("drew all states", flush=True)


def render_as_a_job():
    """Frames rendered while the window stays alive, with motion blur, are those of a plain render."""
    from helpers import camera_and_light, cycles, exaggerate, pixels

    camera_and_light()
    cycles()
    exaggerate(bpy.context.object)
    scene = bpy.context.scene
    scene.render.use_motion_blur = True
    scene.frame_start, scene.frame_end, scene.frame_step = 1, 11, 5
    bpy.context.preferences.view.render_display_type = "NONE"
    folder = Path(bpy.app.tempdir)
    for kind in ("job", "plain"):
        scene.frame_set(1)
        scene.render.filepath = str(folder / kind)
        if kind == "job":
            bpy.ops.render.render("INVOKE_DEFAULT", animation=True)
            yield 0.5
            while bpy.app.is_job_running("RENDER"):
                yield 0.1
        else:
            bpy.ops.render.render(animation=True)
    frames = {}
    for frame in (1, 6, 11):
        job, plain = (pixels(folder / f"{kind}{frame:04d}.png") for kind in ("job", "plain"))
        assert abs(job - plain).mean() < 0.003, f"frame {frame} of the render job shows another shape"
        frames[frame] = job
    assert abs(frames[1] - frames[11]).max() > 0.2
    print("rendered", sorted(frames), flush=True)


if __name__ == "__main__":
    main(steps)
