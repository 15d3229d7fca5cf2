# SPDX-License-Identifier: GPL-3.0-or-later
"""What a face gives to other tools: shape keys of its controls, colours and groups of its parts, a plain mesh."""

import json
import struct

import bpy
import numpy as np
import pytest
from helpers import evaluated_positions, expected, face_controls, positions, slide, values


def choices(model, *wanted):
    """The dialog's ticks for controls given as (part, name)."""
    parts = []
    for number, part in enumerate(model.part_names):
        controls = [
            {"name": control.name, "index": index, "use": True}
            for index, control in enumerate(model.controls)
            if control.part == number and (part, control.name) in wanted
        ]
        if controls:
            parts.append({"name": part, "use": True, "controls": controls})
    return parts


def at(mesh, model, control, value):
    """The decoded face with one control elsewhere, metres."""
    moved = np.array(values(mesh), dtype=np.float32)
    moved[control] = value
    return expected(mesh, moved)


def control_number(model, part, name):
    return next(i for i, c in enumerate(model.controls) if c.name == name and model.part_names[c.part] == part)


def test_keys_are_the_controls(new_face, model):
    face = new_face()
    bpy.ops.lwae.randomise_face(seed=3)
    wanted = [("nose", "Width"), ("mouth", "Height"), ("ears", "Shape 1")]
    before, sliders = positions(face.data), values(face.data)
    assert bpy.ops.lwae.bake_controls(parts=choices(model, *wanted)) == {"FINISHED"}
    copy = bpy.context.object
    assert copy != face and copy.data != face.data and not copy.data.lwae.is_face
    names = [key.name for key in copy.data.shape_keys.key_blocks]
    assert sorted(names) == ["Basis", "Ears Shape 1", "Mouth Height", "Nose Width"]
    assert np.array_equal(positions(face.data), before) and values(face.data) == sliders
    for part, name in wanted:
        key = copy.data.shape_keys.key_blocks[f"{part.capitalize()} {name}"]
        assert (key.slider_min, key.slider_max, key.value) == (-3, 3, 0)
        number = control_number(model, part, name)
        for value in (-3, -1, 2, 3):
            key.value = value
            truth = at(face.data, model, number, sliders[number] + value)
            error = np.linalg.norm(evaluated_positions(copy) - truth, axis=1).max()
            moved = np.linalg.norm(truth - before, axis=1).max()
            assert error < 0.2 * moved + 1e-6, f"{key.name} at {value}: {1000 * error:.2f} of {1000 * moved:.2f} mm"
        key.value = 0
    assert np.allclose(evaluated_positions(copy), before, atol=1e-6)
    assert face.hide_get() and face.hide_render and copy.select_get()


def test_two_keys_add_up(new_face, model):
    face = new_face()
    bpy.ops.lwae.bake_controls(parts=choices(model, ("nose", "Width"), ("ears", "Spacing")), hide_face=False)
    copy = bpy.context.object
    keys = copy.data.shape_keys.key_blocks
    keys["Nose Width"].value, keys["Ears Spacing"].value = 2, -1.5
    slid = np.array(values(face.data), dtype=np.float32)
    slid[control_number(model, "nose", "Width")], slid[control_number(model, "ears", "Spacing")] = 2, -1.5
    truth = expected(face.data, slid)
    assert np.linalg.norm(evaluated_positions(copy) - truth, axis=1).max() < 0.0005
    assert not face.hide_get()


def test_without_choice_the_named_controls_are_baked(new_face, model):
    new_face()
    bpy.ops.lwae.bake_controls()
    names = {key.name for key in bpy.context.object.data.shape_keys.key_blocks}
    assert "Nose Width" in names and "Mouth Height" in names and not any("Shape" in name for name in names)
    assert len(names) > 20


def test_baked_onto_the_face_itself(new_face, model):
    face = new_face()
    slide(face.data, 1.5)
    before = positions(face.data)
    bpy.ops.lwae.bake_controls(target="FACE", parts=choices(model, ("nose", "Width")))
    assert bpy.context.object == face and not face.data.lwae.is_face
    assert np.allclose(positions(face.data), before, atol=1e-7) and not face.hide_get()
    face.data.shape_keys.key_blocks["Nose Width"].value = 2
    assert np.abs(evaluated_positions(face) - before).max() > 0.001
    assert not face.modifiers


def test_custom_properties_drive_the_keys(new_face, model):
    new_face()
    bpy.ops.lwae.bake_controls(drivers="PROPERTIES", parts=choices(model, ("nose", "Width"), ("ears", "Width")))
    copy = bpy.context.object
    before = evaluated_positions(copy)
    assert copy["Nose Width"] == 0
    copy["Nose Width"] = 2.5
    copy.update_tag()
    bpy.context.view_layer.update()
    evaluated = copy.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    assert evaluated.shape_keys.key_blocks["Nose Width"].value == 2.5
    driven = evaluated_positions(copy)
    assert np.abs(driven - before).max() > 0.001
    copy.data.shape_keys.animation_data_clear()
    copy.data.shape_keys.key_blocks["Nose Width"].value = 2.5
    assert np.allclose(evaluated_positions(copy), driven, atol=1e-7)


def test_the_faces_sliders_drive_the_keys(new_face, model):
    face = new_face()
    number = control_number(model, "nose", "Width")
    face_controls(face.data)[number].value = 1
    bpy.ops.lwae.bake_controls(drivers="SLIDERS", hide_face=False, parts=choices(model, ("nose", "Width")))
    copy = bpy.context.object
    assert np.allclose(evaluated_positions(copy), positions(face.data), atol=1e-6)
    face_controls(face.data)[number].value = -2.5
    bpy.context.view_layer.update()
    assert np.linalg.norm(evaluated_positions(copy) - positions(face.data), axis=1).max() < 0.0005
    with pytest.raises(RuntimeError, match="copy"):
        bpy.context.view_layer.objects.active = face
        bpy.ops.lwae.bake_controls(target="FACE", drivers="SLIDERS", parts=choices(model, ("nose", "Width")))


def test_own_shape_keys_come_along(new_face, model):
    face = new_face()
    face.shape_key_add(name="Basis")
    smile = face.shape_key_add(name="Smile")
    smile.points[7].co.z += 0.01
    bpy.ops.lwae.bake_controls(parts=choices(model, ("nose", "Width")))
    copy = bpy.context.object
    keys = copy.data.shape_keys.key_blocks
    assert [key.name for key in keys] == ["Basis", "Smile", "Nose Width"]
    assert abs(keys["Smile"].points[7].co.z - keys["Basis"].points[7].co.z - 0.01) < 1e-6


def test_nothing_ticked_is_refused(new_face, model):
    face = new_face()
    parts = choices(model, ("nose", "Width"))
    parts[0]["use"] = False
    with pytest.raises(RuntimeError, match="Tick"):
        bpy.ops.lwae.bake_controls(parts=parts)
    assert bpy.context.object == face and len(bpy.data.objects) == 1


def test_keys_reach_gltf(new_face, model, tmp_path):
    new_face()
    bpy.ops.lwae.bake_controls(parts=choices(model, ("nose", "Width"), ("mouth", "Width")))
    path = tmp_path / "face.glb"
    bpy.ops.export_scene.gltf(filepath=str(path), use_selection=True)
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    mesh = json.loads(content[20 : 20 + length])["meshes"][0]
    assert sorted(mesh["extras"]["targetNames"]) == ["Mouth Width", "Nose Width"]
    assert all(len(primitive["targets"]) == 2 for primitive in mesh["primitives"])


@pytest.mark.parametrize("by", ["add_expressions", "bake_controls"])
def test_keys_reach_fbx(new_face, model, tmp_path, by):
    new_face()
    if by == "add_expressions":
        if not model.expressions:
            pytest.skip("the model knows no expressions")
        names = ["jawOpen", "mouthSmileLeft"]
        bpy.ops.lwae.add_expressions(names=", ".join(names))
    else:
        names = ["Nose Width", "Mouth Width"]
        bpy.ops.lwae.bake_controls(parts=choices(model, ("nose", "Width"), ("mouth", "Width")))
    path = tmp_path / "face.fbx"
    bpy.ops.export_scene.fbx(filepath=str(path), use_selection=True)
    content = path.read_bytes()
    assert content.count(b"BlendShapeChannel") > 0 and all(name.encode() in content for name in names)


def test_undo_takes_the_copy_away(new_face, model):
    new_face()
    bpy.ops.ed.undo_push(message="Add")
    bpy.ops.lwae.bake_controls(parts=choices(model, ("nose", "Width")))
    bpy.ops.ed.undo_push(message="Bake")
    bpy.ops.ed.undo()
    assert [item.name for item in bpy.data.objects] == ["Face"]
    assert bpy.data.objects["Face"].data.lwae.is_face


def test_part_colours_are_the_weights(new_face, addon, model):
    mesh = new_face().data
    assert bpy.ops.lwae.part_colours() == {"FINISHED"}
    colours = addon("part_colours")
    attribute = mesh.color_attributes[colours.ATTRIBUTE]
    assert attribute.domain == "POINT"
    got = np.empty(len(mesh.vertices) * 4, dtype=np.float32)
    attribute.data.foreach_get("color", got)
    got = got.reshape(-1, 4)
    assert np.all(got[:, 3] == 1)
    palette = colours.linear([colours.colour(part) for part in range(model.part_count)])
    for part in range(model.part_count):
        pure = model.weights[part] > 0.999
        assert pure.any() and np.abs(got[pure, :3] - palette[part]).max() < 0.02
    gaps = [np.abs(a - b).max() for i, a in enumerate(palette) for b in palette[:i]]
    assert min(gaps) > 0.06, "two parts look alike"
    assert bpy.ops.lwae.part_colours() == {"FINISHED"} and len(mesh.color_attributes) == 1


def test_showing_parts_and_hiding_them_leaves_no_trace(new_face, addon):
    colours = addon("part_colours")
    model = addon("models").default()
    mesh = new_face().data
    colours.show(mesh, model)
    assert mesh.color_attributes.active_color_name == colours.ATTRIBUTE
    colours.hide(mesh)
    assert not len(mesh.color_attributes) and not mesh.lwae.shown_parts
    mesh.color_attributes.new("Mine", "FLOAT_COLOR", "CORNER")
    mesh.color_attributes.new("Other", "BYTE_COLOR", "POINT")
    mesh.attributes.active_color_name = "Other"
    mesh.attributes.default_color_name = "Mine"
    colours.show(mesh, model)
    colours.show(mesh, model)
    assert mesh.attributes.active_color_name == colours.ATTRIBUTE and mesh.attributes.default_color_name == "Mine"
    colours.hide(mesh)
    assert {attribute.name for attribute in mesh.color_attributes} == {"Mine", "Other"}
    assert mesh.attributes.active_color_name == "Other" and mesh.attributes.default_color_name == "Mine"
    bpy.ops.lwae.part_colours()
    colours.show(mesh, model)
    colours.hide(mesh)
    assert colours.ATTRIBUTE in mesh.color_attributes, "colours that were kept are not taken away"


def test_shown_parts_do_not_stay_on_an_applied_face(new_face, addon):
    mesh = new_face().data
    addon("part_colours").show(mesh, addon("models").default())
    bpy.ops.lwae.apply()
    assert not len(mesh.color_attributes)


def test_vertex_groups_are_the_weights(new_face, model):
    face = new_face()
    bpy.ops.lwae.part_vertex_groups()
    for part, name in enumerate(model.part_names):
        group = face.vertex_groups[name]
        for vertex in np.linspace(0, model.vertex_count - 1, 60).astype(int):
            weight = model.weights[part, vertex]
            found = [g.weight for g in face.data.vertices[int(vertex)].groups if g.group == group.index]
            assert found == ([pytest.approx(weight, abs=1e-6)] if weight > 0 else [])


def test_applied_it_keeps_what_an_artist_made(new_face, model):
    """Subdivision, an own modifier, UVs, materials, shape keys with their values, a kept edit: all as seen before."""
    face = new_face()
    mesh = face.data
    bpy.ops.lwae.randomise_face(seed=5)
    mesh.vertices[5].co.z += 0.01
    mesh.update()
    bpy.ops.lwae.keep_edit()
    subdivision = face.modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels = 1
    face.modifiers.new("Mine", "SMOOTH").iterations = 2
    face.shape_key_add(name="Basis")
    key = face.shape_key_add(name="Smile")
    key.points[9].co.x += 0.02
    key.value = 0.5
    before = evaluated_positions(face)
    uv = np.empty(len(mesh.loops) * 2, dtype=np.float32)
    mesh.uv_layers["UVMap"].uv.foreach_get("vector", uv)
    slots = [slot.material.name for slot in face.material_slots]
    material = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("material_index", material)
    assert bpy.ops.lwae.apply() == {"FINISHED"}
    assert np.array_equal(evaluated_positions(face), before)
    assert [modifier.name for modifier in face.modifiers] == ["Subdivision", "Mine"]
    again, indices = np.empty_like(uv), np.empty_like(material)
    mesh.uv_layers["UVMap"].uv.foreach_get("vector", again)
    mesh.polygons.foreach_get("material_index", indices)
    assert np.array_equal(again, uv) and np.array_equal(indices, material) and uv.any()
    assert [slot.material.name for slot in face.material_slots] == slots
    assert len(np.unique(material)) == len(slots) == 3
    assert key.value == 0.5 and "lwae_offset" not in mesh.attributes


def test_subdivided_it_is_smooth_quads(new_face):
    face = new_face()
    sizes = {len(polygon.vertices) for polygon in face.data.polygons}
    assert sizes == {4}
    face.modifiers.new("Subdivision", "SUBSURF").levels = 2
    evaluated = face.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    assert len(evaluated.polygons) == 16 * len(face.data.polygons)
    assert len(evaluated.uv_layers["UVMap"].uv) == len(evaluated.loops)
    bounds = np.ptp(positions(evaluated), axis=0) / np.ptp(positions(face.data), axis=0)
    assert np.all(bounds > 0.95) and np.all(bounds < 1.01)


def test_what_a_viewport_showed_counts_while_it_shows_it(new_face, addon):
    """Areas that were closed, or whose colours were changed by hand, leave nothing on the faces."""
    parts, colours = addon("operators.show_parts"), addon("part_colours")
    mesh = new_face().data
    screen = next(s for s in bpy.data.screens if any(area.type == "VIEW_3D" for area in s.areas))
    number, area = next((n, area) for n, area in enumerate(screen.areas) if area.type == "VIEW_3D")
    shading, noted = area.spaces.active.shading, [str(number), "99"]
    before = shading.type, shading.color_type
    shading.type, shading.color_type = "SOLID", "VERTEX"
    for other in bpy.data.screens:
        if other != screen:
            other[parts.SHOWN] = json.dumps({"99": ["SOLID", "MATERIAL"]})
    screen[parts.SHOWN] = json.dumps({name: ["SOLID", "MATERIAL"] for name in noted})
    colours.show(mesh, addon("models").default())
    assert parts.viewport_record(screen) == {str(number): ["SOLID", "MATERIAL"]}
    window = bpy.context.window_manager.windows[0] if len(bpy.context.window_manager.windows) else None
    with bpy.context.temp_override(window=window, screen=screen, area=area):
        assert bpy.ops.lwae.show_parts() == {"FINISHED"}
        assert shading.color_type == "MATERIAL"
        assert colours.ATTRIBUTE not in mesh.color_attributes and not any(parts.SHOWN in s for s in bpy.data.screens)
    shading.type, shading.color_type = before
    for text in ("{", "[]", 5):
        screen[parts.SHOWN] = text
        assert parts.viewport_record(screen) == {}
    del screen[parts.SHOWN]


def test_undo_leaves_faces_as_the_viewports_show_them(new_face, addon):
    """Undo takes back what the meshes have, but no viewport."""
    colours, mesh = addon("part_colours"), new_face().data
    screen = next(s for s in bpy.data.screens if any(area.type == "VIEW_3D" for area in s.areas))
    area = next(area for area in screen.areas if area.type == "VIEW_3D")
    shading = area.spaces.active.shading
    shading.type, shading.color_type = "SOLID", "MATERIAL"
    window = bpy.context.window_manager.windows[0] if len(bpy.context.window_manager.windows) else None
    bpy.ops.ed.undo_push(message="Before")

    def toggle():
        with bpy.context.temp_override(window=window, screen=screen, area=area):
            assert bpy.ops.lwae.show_parts() == {"FINISHED"}
        bpy.ops.ed.undo_push(message="Show Parts")

    def check(is_shown):
        mesh = bpy.data.meshes["Face"]
        assert shading.color_type == ("VERTEX" if is_shown else "MATERIAL")
        assert (colours.ATTRIBUTE in mesh.color_attributes, bool(mesh.lwae.shown_parts)) == (is_shown, is_shown)

    assert mesh.name == "Face"
    toggle()
    bpy.ops.ed.undo()
    check(True)
    bpy.ops.ed.redo()
    check(True)
    toggle()
    check(False)
    bpy.ops.ed.undo()
    check(False)
    bpy.ops.ed.redo()
    check(False)
