# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces from meshes: of the model's topology, and of any other."""

import sys
import time
from types import SimpleNamespace

import addon_utils
import bmesh
import bpy
import numpy as np
import pytest
from conftest import ADDON
from helpers import evaluated_positions, face_controls, positions, values
from mathutils import Euler, Matrix, Vector

FITTED_WITHIN = 0.6  # mm, Chamfer, of a head of the model in other polygons


def world(item) -> np.ndarray:
    """Vertices in the world, metres, float64."""
    matrix = np.array(item.matrix_world)
    return positions(item.data).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.fixture
def plain_head(new_face):
    """Makes an ordinary mesh of a random head, turned and moved; also its slider values."""

    def make(seed=3):
        item = new_face()
        bpy.ops.lwae.randomise_face(seed=seed, strength=1.0)
        shown = values(item.data)
        bpy.ops.lwae.apply()
        assert not item.data.lwae.is_face
        item.matrix_world = Matrix.Translation((1.0, -2.0, 0.5)) @ Euler((0.3, -0.2, 2.0)).to_matrix().to_4x4()
        bpy.context.view_layer.update()
        return item, shown

    return make


def test_make_editable_finds_sliders_and_keeps_the_place(plain_head):
    item, shown = plain_head()
    before = world(item)
    assert bpy.ops.lwae.make_editable(hide_original=True) == {"FINISHED"}
    made = bpy.context.object
    assert made != item and made.data.lwae.is_face and made.select_get()
    assert item.hide_get() and np.array_equal(world(item), before), "the original is kept"
    assert np.abs(np.array(values(made.data)) - shown).max() < 0.3
    assert np.abs(world(made) - before).max() < 2e-5, "with the offset the shape is exact"
    assert 0 < made.data.lwae_source.error < 0.1
    assert made.data.lwae_source.error <= made.data.lwae_source.largest < 0.3
    assert made.data.lwae_source.name == item.name


@pytest.mark.parametrize("size", [2.0, 0.5])
def test_make_editable_takes_heads_of_any_size(plain_head, size):
    item, _ = plain_head()
    item.scale = (size,) * 3
    bpy.context.view_layer.update()
    before = world(item)
    assert bpy.ops.lwae.make_editable() == {"FINISHED"}
    made = bpy.context.object
    assert np.abs(world(made) - before).max() < 5e-5
    assert made.matrix_world.to_scale()[0] == pytest.approx(size, rel=0.02)


def test_make_editable_of_a_mirrored_object_says_what_to_do(plain_head):
    item, _ = plain_head()
    item.scale = (-1, 1, 1)
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="negative scale"):
        bpy.ops.lwae.make_editable()


def test_make_editable_without_offset_is_as_near_as_it_says(plain_head):
    item, _ = plain_head()
    item.data.vertices[100].co.z += 0.02
    before = world(item)
    assert bpy.ops.lwae.make_editable(keep_offset=False, hide_original=False) == {"FINISHED"}
    made = bpy.context.object
    distances = 1000 * np.linalg.norm(world(made) - before, axis=1)
    assert distances[100] > 5, "no slider makes a spike"
    assert made.data.lwae_source.error == pytest.approx(distances.mean(), abs=1e-3)
    assert made.data.lwae_source.largest == pytest.approx(np.percentile(distances, 95), abs=1e-3)
    assert not item.hide_get()


def test_sliders_work_on_top_of_the_offset(plain_head):
    item, _ = plain_head()
    item.data.vertices[100].co.z += 0.02
    bpy.ops.lwae.make_editable()
    mesh = bpy.context.object.data
    before = positions(mesh)
    face_controls(mesh)[0].value += 1
    assert 1e-4 < np.abs(positions(mesh) - before).max() < 0.05
    bpy.ops.lwae.remove_offset()
    assert np.abs(positions(mesh) - before)[100].max() > 0.005


def test_make_editable_takes_what_is_seen_with_shape_keys(plain_head):
    item, _ = plain_head()
    item.shape_key_add(name="Basis")
    key = item.shape_key_add(name="Wide")
    for point in key.data:
        point.co = point.co * 1.05
    key.value = 1.0
    seen = evaluated_positions(item).astype(np.float64)
    assert bpy.ops.lwae.make_editable() == {"FINISHED"}
    made = bpy.context.object
    matrix = np.array(item.matrix_world)
    assert np.abs(world(made) - (seen @ matrix[:3, :3].T + matrix[:3, 3])).max() < 2e-5


@pytest.mark.parametrize("further", [["SUBSURF"], ["SIMPLE_DEFORM", "SUBSURF"], ["SUBSURF", "SIMPLE_DEFORM"]])
def test_make_editable_sees_shape_keys_and_deformers_beside_a_subdivision(plain_head, further):
    item, _ = plain_head()
    item.shape_key_add(name="Basis")
    key = item.shape_key_add(name="Wide")
    for point in key.data:
        point.co.x *= 1.05
    key.value = 1.0
    if "SIMPLE_DEFORM" in further:
        deform = item.modifiers.new("Stretch", "SIMPLE_DEFORM")
        deform.deform_method, deform.factor = "STRETCH", 0.05
    bpy.context.view_layer.update()
    seen = evaluated_positions(item).astype(np.float64)
    for modifier in list(item.modifiers):
        item.modifiers.remove(modifier)
    for kind in further:
        modifier = item.modifiers.new(kind, kind)
        if kind == "SIMPLE_DEFORM":
            modifier.deform_method, modifier.factor = "STRETCH", 0.05
    assert bpy.ops.lwae.make_editable() == {"FINISHED"}
    matrix = np.array(item.matrix_world)
    assert np.abs(world(bpy.context.object) - (seen @ matrix[:3, :3].T + matrix[:3, 3])).max() < 2e-5
    assert len(bpy.data.objects) == 2 and all(modifier.show_viewport for modifier in item.modifiers)


def test_with_the_offset_a_mesh_stays_exact_where_lids_are_held(plain_head, model):
    item, _ = plain_head()
    eyes = np.unique(model.polygon_vertices[np.repeat(model.polygon_material == 1, model.polygon_sizes)])
    for v in eyes:
        item.data.vertices[v].co.y -= 0.004
    before = world(item)
    assert bpy.ops.lwae.make_editable() == {"FINISHED"}
    assert bpy.context.object.data.lwae.keep_lids and np.abs(world(bpy.context.object) - before).max() < 2e-5


@pytest.mark.parametrize("way", ["linked", "overridden"])
def test_new_faces_go_to_the_scene_where_the_active_collection_takes_none(new_face, addon, tmp_path, way):
    face = new_face()
    shared = bpy.data.collections.new("Shared")
    bpy.context.scene.collection.children.link(shared)
    shared.objects.link(face)
    bpy.context.scene.collection.objects.unlink(face)
    bpy.data.libraries.write(str(tmp_path / "lib.blend"), {shared})
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "lib.blend"), link=True) as (_, chosen):
        chosen.collections = ["Shared"]
    scene, collection = bpy.context.scene, chosen.collections[0]
    scene.collection.children.link(collection)
    if way == "overridden":
        collection = collection.override_hierarchy_create(scene, bpy.context.view_layer)
    layer = bpy.context.view_layer.layer_collection
    bpy.context.view_layer.active_layer_collection = next(c for c in layer.children if c.collection == collection)
    assert bpy.context.collection == collection
    assert bpy.ops.lwae.add_face() == {"FINISHED"}
    added = bpy.context.object
    assert added.users_collection == (scene.collection,) and added.select_get()
    bpy.ops.lwae.apply()
    assert bpy.ops.lwae.make_editable() == {"FINISHED"}
    assert bpy.context.object.users_collection == (scene.collection,)
    inside = next(item for item in collection.objects if item.type == "MESH")
    bpy.context.view_layer.objects.active = inside
    if way == "linked":
        with pytest.raises(RuntimeError, match="library override of that collection first"):
            bpy.ops.lwae.make_local()
        return
    assert bpy.ops.lwae.make_local() == {"FINISHED"}
    assert bpy.ops.lwae.bake_controls() == {"FINISHED"}
    assert bpy.context.object.users_collection == (scene.collection,)


@pytest.mark.parametrize("change", ["order", "triangles"])
def test_make_editable_needs_the_vertices_alone(plain_head, change):
    item, shown = plain_head()
    mesh = item.data
    whole = bmesh.new()
    whole.from_mesh(mesh)
    if change == "triangles":
        bmesh.ops.triangulate(whole, faces=whole.faces[:])
    else:
        whole.faces.sort(key=lambda polygon: -polygon.index)
    whole.to_mesh(mesh)
    whole.free()
    before = world(item)
    assert bpy.ops.lwae.make_editable() == {"FINISHED"}
    made = bpy.context.object
    assert np.abs(np.array(values(made.data)) - shown).max() < 0.3 and np.abs(world(made) - before).max() < 2e-5


def test_make_editable_refuses_vertices_that_are_joined_otherwise(plain_head):
    item, _ = plain_head()
    whole = bmesh.new()
    whole.from_mesh(item.data)
    bmesh.ops.poke(whole, faces=whole.faces[:1])
    bmesh.ops.delete(whole, geom=whole.verts[:1], context="VERTS")
    whole.to_mesh(item.data)
    whole.free()
    with pytest.raises(RuntimeError, match="connects its vertices otherwise than Adult Heads"):
        bpy.ops.lwae.make_editable()


def test_another_topology_is_sent_to_fit_to_mesh():
    bpy.ops.mesh.primitive_monkey_add()
    count = len(bpy.data.objects)
    with pytest.raises(RuntimeError, match="Use Fit to Mesh"):
        bpy.ops.lwae.make_editable()
    assert len(bpy.data.objects) == count


def test_buttons_are_grey_without_a_mesh(new_face):
    assert not bpy.ops.lwae.fit_to_mesh.poll()
    new_face()
    assert not bpy.ops.lwae.fit_to_mesh.poll(), "a face needs no fit"
    assert not bpy.ops.lwae.make_editable.poll()
    bpy.ops.mesh.primitive_monkey_add()
    assert bpy.ops.lwae.fit_to_mesh.poll() and bpy.ops.lwae.make_editable.poll()
    assert not bpy.ops.lwae.clear_landmarks.poll()
    bpy.ops.object.mode_set(mode="EDIT")
    assert not bpy.ops.lwae.fit_to_mesh.poll()


def other_polygons(item, ratio=0.5) -> None:
    """Fewer triangles, so that no vertex corresponds to one of the model's."""
    modifier = item.modifiers.new("Other polygons", "DECIMATE")
    modifier.ratio = ratio


def surface_errors(made, item) -> np.ndarray:
    """Distance of each vertex of a face from an object as it is seen, mm."""
    inverse = item.matrix_world.inverted()
    scale = item.matrix_world.to_scale()[0]
    seen = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
    found = [seen.closest_point_on_mesh(inverse @ Vector(point)) for point in world(made)]
    pairs = zip(world(made), found, strict=True)
    return np.array([1000 * scale * (inverse @ Vector(point) - hit[1]).length for point, hit in pairs])


def skin(model) -> np.ndarray:
    eyes = np.repeat(model.polygon_material == 1, model.polygon_sizes)
    return np.setdiff1d(np.arange(model.vertex_count), model.polygon_vertices[eyes])


def test_fit_to_mesh_finds_a_head_without_landmarks(plain_head, model):
    item, _ = plain_head()
    other_polygons(item)
    pose = np.array(item.matrix_world)
    assert bpy.ops.lwae.fit_to_mesh(keep_offset=False) == {"FINISHED"}
    made = bpy.context.object
    turn = np.array(made.matrix_world)[:3, :3].T @ pose[:3, :3]
    assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 3
    assert made.matrix_world.to_scale()[0] == pytest.approx(1, abs=1e-4), "its own size is the face's"
    assert made.data.lwae_source.error < FITTED_WITHIN
    assert np.median(surface_errors(made, item)[skin(model)]) < FITTED_WITHIN

    # The panel of the last operation shows the same fit with its offset, at once.
    bpy.context.view_layer.objects.active = item
    item.hide_set(False)
    assert bpy.ops.lwae.fit_to_mesh(keep_offset=True) == {"FINISHED"}
    wrapped = bpy.context.object
    assert np.array_equal(values(wrapped.data), values(made.data))
    assert wrapped.data.lwae_source.with_offset < made.data.lwae_source.error
    assert np.median(surface_errors(wrapped, item)[skin(model)]) < np.median(surface_errors(made, item)[skin(model)])


def test_fit_by_landmarks_in_centimetres(plain_head, addon, model):
    item, _ = plain_head(seed=5)
    item.matrix_world = Matrix.Scale(0.1 * 1000, 4) @ item.matrix_world
    for name, vertex in list(addon("backend.landmarks").landmarks_of(model).items())[:5]:
        mark = item.lwae_landmarks.add()
        mark.name, mark.place = name, item.data.vertices[vertex].co
    other_polygons(item)
    bpy.context.view_layer.update()
    assert bpy.ops.lwae.fit_to_mesh() == {"FINISHED"}
    made = bpy.context.object
    assert made.matrix_world.to_scale()[0] == pytest.approx(100, rel=1e-4)
    assert made.data.lwae_source.error < FITTED_WITHIN
    bpy.context.view_layer.objects.active = item
    bpy.ops.lwae.clear_landmarks()
    assert not len(item.lwae_landmarks)


def test_a_fit_that_may_be_none_is_doubted(plain_head, addon, monkeypatch):
    item, _ = plain_head()
    other_polygons(item)
    from_mesh, said = addon("operators.from_mesh"), []
    monkeypatch.setattr(from_mesh, "fit_doubt", lambda *_: "in no usual unit is the mesh as large as a head")
    add, operator = from_mesh.LWAE_OT_fit_to_mesh.add, SimpleNamespace(keep_offset=False, size="units")
    operator.report = lambda *given: said.append(given)
    model = addon("models").default()
    distance = SimpleNamespace(chamfer=0.9, coverage=0.85)
    pose = addon("backend.similarity").Similarity(600.0, np.eye(3), np.zeros(3))
    fit = SimpleNamespace(
        code=model.prior.mean, face=model.mean, offset=None, pose=pose, distance=distance, distance_with_offset=distance
    )
    add(operator, bpy.context, item, fit)
    doubt = "Look at this face before you trust it: in no usual unit is the mesh as large as a head. Pick landmarks"
    assert said == [({"WARNING"}, f"{doubt} on the mesh and fit again")]


def test_what_is_no_head_is_refused():
    bpy.ops.mesh.primitive_plane_add()
    with pytest.raises(RuntimeError, match="flat"):
        bpy.ops.lwae.fit_to_mesh()
    assert len(bpy.data.objects) == 1


def test_a_job_ends_when_it_is_cancelled_and_passes_its_error_on(addon):
    job_class, error_class = addon("background_job").Job, addon("backend.errors").LwaeError
    progress = addon("backend.fit_mesh").Progress
    done = []

    def steps(count):
        for number in range(count):
            done.append(number)
            yield progress(number / count, "Counting")
            time.sleep(0.01)
        raise error_class("No head.")

    job = job_class(steps(10_000))
    job.start()
    while not done:
        time.sleep(0.01)
    job.cancel()
    job._thread.join(5)
    assert not job.running and job.result is None and job.error is None and len(done) < 1000
    with pytest.raises(error_class, match="No head"):
        job_class(steps(3)).run()


@pytest.fixture
def stand_in(addon):
    """Makes what a modal operator is after its `invoke`, which Blender does not call without a window's events."""
    modals = addon("operators.modals")

    def make(operator, **attributes):
        classes = [base for base in operator.__mro__ if "blender_lwae" in base.__module__]
        members = {name: value for base in reversed(classes) for name, value in vars(base).items()}
        members = {name: value for name, value in members.items() if callable(value) or name.startswith("bl_")}
        found = type("StandIn", (), members | attributes)()
        modals._running.append((found, bpy.context.window))
        return found

    yield make
    modals._running.clear()


@pytest.fixture
def picking(stand_in, addon):
    """Pick Landmarks, at work on an object."""

    def make(item):
        return stand_in(
            addon("operators.landmarks").LWAE_OT_pick_landmarks,
            _uid=item.session_uid,
            _names=["nose", "chin"],
            _next=0,
            _before=[(mark.name, tuple(mark.place)) for mark in item.lwae_landmarks],
            _area=next(area for area in bpy.context.window.screen.areas if area.type == "VIEW_3D"),
            _workspace=bpy.context.workspace,
            _wrong="",
            _handler=bpy.types.SpaceView3D.draw_handler_add(lambda: None, (), "WINDOW", "POST_PIXEL"),
        )

    return make


@pytest.mark.parametrize("way", ["modal", "cancel"])
def test_picking_ends_when_its_mesh_is_removed(plain_head, picking, addon, way):
    item, _ = plain_head()
    operator = picking(item)
    assert not bpy.ops.lwae.fit_to_mesh.poll() and not bpy.ops.lwae.pick_landmarks.poll()
    bpy.data.objects.remove(item)
    if way == "modal":
        assert operator.modal(bpy.context, SimpleNamespace(type="MOUSEMOVE", value="NOTHING")) == {"CANCELLED"}
    else:
        operator.cancel(bpy.context)
    assert not addon("operators.modals")._running
    with pytest.raises(ValueError):  # It was removed already.
        bpy.types.SpaceView3D.draw_handler_remove(operator._handler, "WINDOW")


def test_picking_follows_its_mesh_through_an_undo(plain_head, picking):
    item, _ = plain_head()
    item.lwae_landmarks.add().name = "before"
    bpy.ops.ed.undo_push()
    operator, name = picking(item), item.name
    item.lwae_landmarks.clear()
    bpy.ops.ed.undo_push()
    bpy.ops.ed.undo()
    bpy.data.objects[name].lwae_landmarks.clear()
    operator.modal(bpy.context, SimpleNamespace(type="ESC", value="PRESS"))
    assert [mark.name for mark in bpy.data.objects[name].lwae_landmarks] == ["before"]


@pytest.mark.parametrize("way", ["another editor", "another workspace"])
def test_picking_ends_with_its_viewport(plain_head, picking, addon, way):
    item, _ = plain_head()
    item.lwae_landmarks.add().name = "before"
    operator, said = picking(item), []
    item.lwae_landmarks.clear()
    operator.report = lambda kind, sentence: said.append(sentence)
    area = operator._area
    others = [screen for screen in bpy.data.screens if screen != bpy.context.screen]
    if way == "another editor":
        area.type = "CONSOLE"
    else:
        operator._area = next(other for screen in others for other in screen.areas if other.type == "VIEW_3D")
    try:
        assert operator.modal(bpy.context, SimpleNamespace(type="MOUSEMOVE", value="NOTHING")) == {"CANCELLED"}
    finally:
        area.type = "VIEW_3D"
    assert said == ["Stopped picking landmarks: their 3D viewport is not shown any more"]
    assert [mark.name for mark in item.lwae_landmarks] == ["before"] and not addon("operators.modals")._running


def test_a_wrong_click_says_so_at_once(plain_head, picking, addon, monkeypatch):
    item, _ = plain_head()
    operator = picking(item)
    monkeypatch.setattr(addon("viewport"), "view_under", lambda *_: SimpleNamespace(x=0, y=0))
    monkeypatch.setattr(addon("viewport"), "hit_face", lambda *_: None)
    operator._area = SimpleNamespace(regions=(), tag_redraw=lambda: None)
    operator._workspace = None
    monkeypatch.setattr(addon("viewport"), "is_open", lambda *_: True)
    said = []
    context = SimpleNamespace(
        view_layer=bpy.context.view_layer, workspace=SimpleNamespace(status_text_set=said.append)
    )
    click = SimpleNamespace(type="LEFTMOUSE", value="PRESS", mouse_x=5, mouse_y=5)
    assert operator.modal(context, click) == {"RUNNING_MODAL"}
    assert said[-1].startswith(f"That is beside {item.name}     Click: nose (1 of 2)")
    item.hide_set(True)
    operator.modal(context, click)
    assert said[-1].startswith(f"{item.name} is hidden     Click: nose")
    operator.modal(context, SimpleNamespace(type="SPACE", value="PRESS"))
    assert said[-1].startswith("Click: chin (2 of 2)")


def test_what_raises_while_it_runs_ends_properly(stand_in, addon):
    """Blender prints the error and forgets the operator."""
    modals, ended = addon("operators.modals"), []

    class Failing:
        bl_idname = "lwae.failing"
        __module__ = "blender_lwae"

        @modals.guarded
        def modal(self, context, event):
            raise ValueError("a bug")

        def cancel(self, context):
            ended.append(context)
            raise KeyError("another")

    operator = stand_in(Failing)
    with pytest.raises(KeyError) as caught:
        operator.modal(bpy.context, None)
    assert isinstance(caught.value.__context__, ValueError)
    assert ended == [bpy.context] and not modals.is_running("lwae.failing")
    with pytest.raises(ValueError):  # It ended before; nothing is left to cancel.
        operator.modal(bpy.context, None)
    assert len(ended) == 1


def test_everything_that_runs_is_guarded(addon):
    modals = addon("operators.modals")
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{ADDON}.operators.")]
    found = {item for module in modules for item in vars(module).values() if hasattr(item, "modal")}
    assert len(found) > 8
    for cls in found:
        assert cls.modal.__code__ is modals.guarded(None).__code__, cls


def test_disabling_ends_what_runs(plain_head, picking):
    item, _ = plain_head()
    item.lwae_landmarks.add().name = "before"
    operator = picking(item)
    item.lwae_landmarks.clear()
    addon_utils.disable(ADDON)
    addon_utils.enable(ADDON)
    with pytest.raises(ValueError):
        bpy.types.SpaceView3D.draw_handler_remove(operator._handler, "WINDOW")
    assert [mark.name for mark in item.lwae_landmarks] == ["before"] and bpy.ops.lwae.pick_landmarks.poll()


def test_disabling_ends_a_fit(plain_head, stand_in, addon):
    plain_head()
    from_mesh = addon("operators.from_mesh")
    stopped, job = [], addon("background_job").Job(iter(()))
    job.cancel = lambda: stopped.append(1)
    timer = bpy.context.window_manager.event_timer_add(1, window=bpy.context.window)
    stand_in(from_mesh.LWAE_OT_fit_to_mesh, _job=job, _timer=timer)
    from_mesh._set_running(job)
    assert not bpy.ops.lwae.fit_to_mesh.poll()
    addon_utils.disable(ADDON)
    addon_utils.enable(ADDON)
    assert stopped == [1] and bpy.ops.lwae.fit_to_mesh.poll()


def test_disabling_ends_a_bake_and_a_batch(stand_in, addon):
    """What the work made meanwhile goes with it, and so do the timers."""
    ended = []

    def work():
        try:
            yield 0.5
        finally:
            ended.append(1)

    running = work()
    next(running)
    manager = bpy.context.window_manager
    timers = [manager.event_timer_add(1, window=bpy.context.window) for _ in range(2)]
    bake = stand_in(addon("operators.bake_animation").LWAE_OT_bake_animation, running=running, timer=timers[0])
    stand_in(addon("operators.batch").LWAE_OT_batch_make, _timer=timers[1])
    addon_utils.disable(ADDON)
    addon_utils.enable(ADDON)
    assert ended == [1] and bake.running is None and not addon("operators.modals")._running


def test_a_repeated_button_takes_the_mesh_that_is_active(plain_head):
    first, _ = plain_head(seed=3)
    assert bpy.ops.lwae.make_editable(hide_original=False) == {"FINISHED"}
    second, _ = plain_head(seed=4)
    assert bpy.ops.lwae.make_editable(hide_original=False) == {"FINISHED"}
    assert bpy.context.object.data.lwae_source.name == second.name != first.name
    assert "source" not in bpy.ops.lwae.make_editable.get_rna_type().properties
