# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a Blender with a window (`window_steps`): the redo panel of operators that make another object active."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from window_steps import add_face, empty_scene, in_view, install, main  # noqa: E402


def redo(name, value):
    """What the panel of the last operator does when one of its values is changed."""
    operator = bpy.context.window_manager.operators[-1]
    setattr(operator, name, value)
    done = bpy.ops.ed.undo_redo()
    bpy.ops.ed.undo_push(message=operator.name)  # Operators that a script repeats push none.
    return done


def begin():
    """One face and nothing else; steps."""
    yield from empty_scene()
    yield from add_face()


def install_twin():
    """A second model of the same vertices."""
    def addon(name):
        return importlib.import_module(f"bl_ext.user_default.blender_lwae.{name}")

    files, path = addon("backend.lwae_file"), Path(tempfile.mkdtemp()) / "twin.lwae"
    twin = files.load_model(addon("model_list").BUNDLED_PATH)
    twin.header["name"] = "Twin"
    twin.mean *= 1.01
    files.save_model(twin, path)
    assert bpy.ops.lwae.install_model(filepath=str(path)) == {"FINISHED"}
    os.remove(path)


def steps():
    install()
    install_twin()
    yield from begin()
    with in_view():
        assert bpy.ops.lwae.switch_model("EXEC_DEFAULT", True, result="COPY", keep_offset=False) == {"FINISHED"}
        assert redo("keep_offset", True) == {"FINISHED"} and len(bpy.data.objects) == 2
        assert "lwae_offset" in bpy.context.object.data.attributes
    yield from begin()
    with in_view():
        name = bpy.context.object.name
        assert bpy.ops.lwae.bake_controls("EXEC_DEFAULT", True, hide_face=True) == {"FINISHED"}
        assert bpy.data.objects[name].hide_get()
        assert redo("hide_face", False) == {"FINISHED"}
        assert len(bpy.data.objects) == 2 and not bpy.data.objects[name].hide_get()
        assert redo("target", "FACE") == {"FINISHED"} and len(bpy.data.objects) == 1
        assert redo("target", "COPY") == {"FINISHED"} and len(bpy.data.objects) == 2
    yield from begin()
    with in_view():
        name, bpy.context.scene.frame_end = bpy.context.object.name, 3
        assert bpy.ops.lwae.bake_animation("EXEC_DEFAULT", True, hide_faces=True) == {"FINISHED"}
        assert bpy.data.objects[name].hide_get()
        assert redo("hide_faces", False) == {"FINISHED"}
        assert len(bpy.data.objects) == 2 and not bpy.data.objects[name].hide_get()
    for name in ("make_editable", "fit_to_mesh"):
        yield from begin()
        with in_view():
            bpy.ops.lwae.apply("EXEC_DEFAULT", True)
            assert getattr(bpy.ops.lwae, name)("EXEC_DEFAULT", True, hide_original=True) == {"FINISHED"}
            plain = next(item for item in bpy.data.objects if not item.data.lwae.is_face)
            assert plain.hide_get() and bpy.context.object != plain
            assert redo("hide_original", False) == {"FINISHED"}
            plain = next(item for item in bpy.data.objects if not item.data.lwae.is_face)
            assert not plain.hide_get() and len(bpy.data.objects) == 2
            # Pressed again, it says what is wrong.
            try:
                getattr(bpy.ops.lwae, name)("EXEC_DEFAULT", True)
            except RuntimeError as error:
                assert "with sliders already" in str(error)
            else:
                raise AssertionError("a face was made from a face")
    print("redone", flush=True)


if __name__ == "__main__":
    main(steps)
