# SPDX-License-Identifier: GPL-3.0-or-later
"""Baked animations are the face, frame for frame, and play without the add-on."""

import signal

import addon_utils
import bpy
import numpy as np
import pytest
from conftest import ADDON
from helpers import evaluated_positions, positions, slider_path


def animate(face):
    """Two sliders keyed over frames 1 to 9."""
    for frame, value in ((1, -2), (5, 3), (9, 0.5)):
        for part, amount in ((0, value), (2, -value)):
            face.data.lwae.parts[part].controls[0].value = amount
            face.data.keyframe_insert(slider_path(part), frame=frame)


@pytest.fixture
def animated(new_face):
    face = new_face()
    animate(face)
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 9
    bpy.context.scene.frame_set(4)
    return face


def frames_of(read, frames):
    shown = {}
    for frame in frames:
        bpy.context.scene.frame_set(int(frame), subframe=frame - int(frame))
        shown[frame] = read()
    return shown


def check(copy, truth, tolerance=2e-8):
    for frame, wanted in truth.items():
        bpy.context.scene.frame_set(frame)
        assert np.abs(evaluated_positions(copy) - wanted).max() <= tolerance, f"frame {frame}"


@pytest.mark.parametrize("method", ["KEYS", "CACHE"])
def test_each_frame_is_the_face(animated, method, tmp_path):
    truth = frames_of(lambda: positions(animated.data), range(1, 10))
    assert np.abs(truth[1] - truth[5]).max() > 0.005
    bpy.context.scene.frame_set(4)
    assert bpy.ops.lwae.bake_animation(method=method, folder=str(tmp_path)) == {"FINISHED"}
    copy = bpy.context.object
    assert bpy.context.scene.frame_current == 4
    assert copy != animated and not copy.data.lwae.is_face and copy.select_get()
    assert animated.hide_get() and animated.hide_render and animated.data.lwae.is_face
    check(copy, truth)
    bpy.context.scene.frame_set(20)
    assert np.abs(evaluated_positions(copy) - truth[9]).max() <= 2e-8


@pytest.mark.parametrize("method", ["KEYS", "CACHE"])
def test_with_a_step_it_goes_straight_between(animated, method, tmp_path):
    truth = frames_of(lambda: positions(animated.data), range(1, 10))
    bpy.ops.lwae.bake_animation(method=method, folder=str(tmp_path), frame_start=2, frame_end=8, frame_step=3)
    copy = bpy.context.object
    check(copy, {frame: truth[frame] for frame in (2, 5, 8)}, 1e-7)
    bpy.context.scene.frame_set(3)
    straight = truth[2] + (truth[5] - truth[2]) / 3
    assert np.abs(evaluated_positions(copy) - straight).max() < 1e-6
    assert np.abs(straight - truth[3]).max() > 1e-4


@pytest.mark.parametrize("method", ["KEYS", "CACHE"])
def test_it_plays_without_the_addon(animated, method, tmp_path):
    path = str(tmp_path / "farm.blend")
    truth = frames_of(lambda: positions(animated.data), range(1, 10))
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.lwae.bake_animation(method=method, folder="//cache/")
    name = bpy.context.object.name
    bpy.ops.wm.save_mainfile()
    addon_utils.disable(ADDON)
    try:
        bpy.ops.wm.open_mainfile(filepath=path)
        check(bpy.data.objects[name], truth)
        modifiers = bpy.data.objects[name].modifiers
        assert [m.type for m in modifiers] == ([] if method == "KEYS" else ["MESH_CACHE"])
        assert method == "KEYS" or modifiers[0].filepath.startswith("//")
    finally:
        addon_utils.enable(ADDON)


@pytest.mark.parametrize("keys", [False, True])
def test_a_face_that_is_disabled_in_viewports_is_baked_all_the_same(animated, keys):
    if keys:
        animated.shape_key_add(name="Basis")
    truth = frames_of(lambda: positions(animated.data), (1, 5, 9))
    animated.hide_viewport = True
    assert bpy.ops.lwae.bake_animation() == {"FINISHED"}
    copy = bpy.context.object
    copy.hide_viewport = False
    check(copy, truth, 1e-7)
    assert [item.name for item in bpy.data.objects] == [animated.name, copy.name]


def test_several_faces_and_own_modifiers_stay(new_face, tmp_path):
    faces = []
    for number in range(2):
        face = new_face(location=(number, 0, 0))
        animate(face)
        faces.append(face)
    faces[0].modifiers.new("Subdivision", "SUBSURF").levels = 1
    linked = faces[1].copy()
    bpy.context.collection.objects.link(linked)
    for face in (*faces, linked):
        face.select_set(True)
    truth = {frame: [evaluated_positions(face) for face in faces] for frame in ()}
    for frame in (1, 6):
        bpy.context.scene.frame_set(frame)
        truth[frame] = [evaluated_positions(face) for face in faces]
    bpy.ops.lwae.bake_animation(method="CACHE", folder=str(tmp_path), frame_start=1, frame_end=9)
    copies = sorted(bpy.context.selected_objects, key=lambda item: item.location.x)
    assert [item.location.x for item in copies] == [0, 1, 1], "objects that share a face get a copy each"
    assert [modifier.type for modifier in copies[0].modifiers] == ["MESH_CACHE", "SUBSURF"]
    assert len(list(tmp_path.glob("*.pc2"))) == 3
    for frame, shown in truth.items():
        bpy.context.scene.frame_set(frame)
        for copy, wanted in zip(copies, (*shown, shown[1]), strict=True):
            assert np.abs(evaluated_positions(copy) - wanted).max() < 1e-6


def test_faces_of_like_names_get_a_cache_each(new_face, tmp_path):
    faces = []
    for number, name in enumerate(("A:b", "A_b", "a?B", "...")):
        faces.append(new_face(location=(number, 0, 0)))
        faces[-1].name = name
        for frame in (1, 3):
            faces[-1].data.lwae.parts[0].controls[0].value = frame - number
            faces[-1].data.keyframe_insert(slider_path(0), frame=frame)
    for face in faces:
        face.select_set(True)
    bpy.context.scene.frame_set(3)
    truth = [positions(face.data) for face in faces]
    bpy.ops.lwae.bake_animation(method="CACHE", folder=str(tmp_path), frame_start=1, frame_end=3)
    assert len({path.name.casefold() for path in tmp_path.iterdir()}) == 4
    for copy, wanted in zip(sorted(bpy.context.selected_objects, key=lambda item: item.location.x), truth, strict=True):
        check(copy, {3: wanted}, 1e-6)


def test_expressions_are_baked_in(animated):
    animated.shape_key_add(name="Basis")
    key = animated.shape_key_add(name="Smile")
    key.points[9].co.x += 0.02
    for frame, value in ((1, 0), (9, 1)):
        key.value = value
        key.keyframe_insert("value", frame=frame)
    count = len(bpy.data.objects)
    truth = frames_of(lambda: evaluated_positions(animated), range(1, 10))
    bpy.ops.lwae.bake_animation(method="KEYS")
    check(bpy.context.object, truth, 1e-7)
    assert len(bpy.data.objects) == count + 1, "a helper was left behind"
    assert "Smile" in animated.data.shape_keys.key_blocks
    assert "Smile" not in bpy.context.object.data.shape_keys.key_blocks


def test_a_cache_that_is_there_is_not_overwritten(animated, tmp_path):
    for _ in range(2):
        bpy.context.view_layer.objects.active = animated
        bpy.ops.lwae.bake_animation(method="CACHE", folder=str(tmp_path), frame_end=3, hide_faces=False)
    paths = {item.modifiers[0].filepath for item in bpy.data.objects if item != animated}
    assert len(paths) == 2 and len(list(tmp_path.iterdir())) == 2
    assert not animated.hide_get() and not animated.hide_render


@pytest.mark.skipif(not bpy.app.build_options.alembic, reason="this Blender has no Alembic")
def test_alembic(animated, tmp_path):
    animated.location = (0.5, 0, 1)
    truth = frames_of(lambda: positions(animated.data) + np.float32((0.5, 0, 1)), range(1, 10))
    bpy.context.scene.frame_set(4)
    before = len(bpy.data.objects)
    assert bpy.ops.lwae.bake_animation(method="ALEMBIC", folder=str(tmp_path)) == {"FINISHED"}
    assert len(bpy.data.objects) == before and bpy.context.object == animated and not bpy.data.meshes.get("Face Baked")
    (path,) = tmp_path.iterdir()
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.alembic_import(filepath=str(path), as_background_job=False)
    item = next(item for item in bpy.data.objects if item.type == "MESH")
    for frame, wanted in truth.items():
        bpy.context.scene.frame_set(frame)
        world = np.array(item.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world)
        shown = evaluated_positions(item) @ world[:3, :3].T + world[:3, 3]
        assert np.abs(shown - wanted).max() < 1e-6, f"frame {frame}"


@pytest.mark.skipif(bpy.app.build_options.alembic, reason="this Blender has Alembic")
def test_without_alembic_it_says_so(animated):
    with pytest.raises(RuntimeError, match="without Alembic"):
        bpy.ops.lwae.bake_animation(method="ALEMBIC")


def test_bad_input_gets_its_sentence(animated):
    with pytest.raises(RuntimeError, match="before the first"):
        bpy.ops.lwae.bake_animation(frame_start=9, frame_end=1)
    with pytest.raises(RuntimeError, match="point cache"):
        bpy.ops.lwae.bake_animation(frame_start=1, frame_end=5000)
    if bpy.app.build_options.alembic:
        with pytest.raises(RuntimeError, match="point cache"):
            bpy.ops.lwae.bake_animation(method="ALEMBIC", frame_start=1, frame_end=5000)
    with pytest.raises(RuntimeError, match="not saved yet"):
        bpy.ops.lwae.bake_animation(method="CACHE", folder="//cache/")
    with pytest.raises(RuntimeError, match="Choose a folder"):
        bpy.ops.lwae.bake_animation(method="CACHE", folder=" ")
    with pytest.raises(RuntimeError, match="Cannot write .*: File exists; choose another"):
        bpy.ops.lwae.bake_animation(method="CACHE", folder=__file__)
    assert len(bpy.data.objects) == 1


def test_a_full_disk_is_said_and_leaves_nothing(animated, tmp_path):
    """A limit on the size of files stands in for the disk's."""
    resource = pytest.importorskip("resource")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RuntimeError, match=r"Cannot write .*Face.pc2: .*; free some space or choose another"):
            bpy.ops.lwae.bake_animation(method="CACHE", folder=str(tmp_path / "deep" / "cache"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir()) and bpy.context.scene.frame_current == 4
    assert len(bpy.data.objects) == 1


def test_changed_in_the_redo_panel_it_is_done_at_once(animated, addon):
    """Blender calls `execute` of the same operator again, and wants it finished when that returns."""
    operator = addon("operators.bake_animation").LWAE_OT_bake_animation

    class Asked:
        execute, steps, frames, problem = operator.execute, operator.steps, operator.frames, operator.problem
        method, frame_start, frame_end, frame_step, hide_faces, folder = "KEYS", 1, 9, 1, False, ""
        asked, started = True, 0

        def take_range(self, _context):
            pass

        def report(self, *_said):
            pass

        def start(self, _context):
            self.started += 1
            return {"RUNNING_MODAL"}

    asked, before = Asked(), len(bpy.data.objects)
    assert asked.execute(bpy.context) == {"RUNNING_MODAL"} and len(bpy.data.objects) == before
    assert asked.execute(bpy.context) == {"FINISHED"} and asked.started == 1
    assert len(bpy.context.object.data.shape_keys.key_blocks) == 9


@pytest.mark.parametrize("method", ["KEYS", "CACHE"])
@pytest.mark.parametrize("stop", [2, 9, 12])
def test_stopped_it_leaves_nothing(animated, addon, method, stop, tmp_path):
    """As Esc does it: the generator is closed in the middle of reading, at its end, or of making keys."""
    operator = addon("operators.bake_animation").LWAE_OT_bake_animation
    scene, objects, meshes = bpy.context.scene, len(bpy.data.objects), len(bpy.data.meshes)
    actions = len(bpy.data.actions)

    class Running:
        steps, frames = operator.steps, operator.frames
        frame_start, frame_end, frame_step, hide_faces = 1, 9, 1, True

    running = Running()
    running.method, running.folder = method, str(tmp_path)
    steps = running.steps(bpy.context)
    for _ in range(stop):
        if method == "CACHE" and stop > 9:
            pytest.skip("a cache has no such step")
        next(steps)
    steps.close()
    assert scene.frame_current == 4
    assert (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.actions)) == (objects, meshes, actions)
    assert not any(path.suffix == ".part" for path in tmp_path.iterdir())
    assert not animated.hide_get() and bpy.context.object == animated


def test_a_cache_on_another_drive_has_its_whole_path(animated, tmp_path, monkeypatch):
    """Windows knows no relative path there."""
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))

    def refuse(path):
        raise ValueError(f"path is on mount 'D:', start on mount 'C:': {path}")

    monkeypatch.setattr(bpy.path, "relpath", refuse)
    assert bpy.ops.lwae.bake_animation(method="CACHE", folder=str(tmp_path / "cache")) == {"FINISHED"}
    assert bpy.context.object.modifiers[0].filepath == str(tmp_path / "cache" / "Face.pc2")
