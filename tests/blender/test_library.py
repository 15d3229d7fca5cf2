# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces as text files and as assets."""

import json
import signal

import bpy
import numpy as np
import pytest
from helpers import evaluated_positions, expected, positions, slide, values


def own_code(addon, mesh, model):
    return addon("shape").own_code(mesh, model)


def add_donor(addon, mesh, model, seed=4, amounts=(0.8, 0.3)):
    donor = mesh.lwae.donors.add()
    donor.name = f"Donor {seed}"
    donor.code = addon("shape").encode_numbers(model.prior.sample(np.random.default_rng(seed), 1)[0])
    for name in model.part_names:
        donor.amounts.add().name = name
    for amount, value in zip(donor.amounts, amounts, strict=False):
        amount.value = value
    return donor


@pytest.fixture
def person(new_face, addon, model):
    """A face with everything: a random person with a donor, a lock, seeds and settings."""
    item = new_face(location=(1, 2, 3))
    item.name = "Ada"
    mesh = item.data
    bpy.ops.lwae.randomise_face(seed=3, strength=0.9)
    bpy.ops.lwae.randomise_part(part=model.part_names[1], seed=77)
    add_donor(addon, mesh, model)
    mesh.lwae.difference = 0.25
    mesh.lwae.symmetry, mesh.lwae.random_asymmetry, mesh.lwae.asymmetry_seed = 0.5, 0.4, 12
    mesh.lwae.keep_neck = True
    slide(mesh, -1.5)
    for control in mesh.lwae.whole:
        control.locked = True
    mesh.lwae.parts[2].locked = True
    return item


@pytest.fixture
def file(person, tmp_path):
    path = str(tmp_path / "ada.json")
    assert bpy.ops.lwae.export_face(filepath=path) == {"FINISHED"}
    return path


def edit(path, change):
    with open(path, encoding="utf-8") as stream:
        content = json.load(stream)
    change(content)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(content, stream)


def test_a_face_comes_back_to_the_last_bit_as_a_new_one(person, file, addon):
    before, state = positions(person.data), person.data.lwae
    assert bpy.ops.lwae.import_face(filepath=file) == {"FINISHED"}
    item = bpy.context.object
    new = item.data.lwae
    assert item != person and item.data != person.data and item.name == "Ada.001"
    assert np.array_equal(positions(item.data), before)
    assert values(item.data) == values(person.data) and new.rest == state.rest
    assert (new.seed, new.parts[1].seed, new.strength) == (3, 77, state.strength)
    assert new.difference == state.difference
    assert (new.symmetry, new.asymmetry_seed, new.keep_neck) == (0.5, 12, True)
    assert new.neck_edge == state.neck_edge and new.neck_edge
    assert [(control.value, control.locked) for control in new.whole] == [(c.value, True) for c in state.whole]
    assert [part.locked for part in new.parts] == [part.locked for part in state.parts]
    assert (new.donors[0].name, new.donors[0].code) == ("Donor 4", state.donors[0].code)
    assert [amount.value for amount in new.donors[0].amounts] == [amount.value for amount in state.donors[0].amounts]
    assert addon("face").trouble(item.data) is None
    slide(item.data, 2)
    assert np.abs(positions(item.data) - before).max() > 1e-4
    assert np.array_equal(positions(person.data), before)


@pytest.mark.parametrize("damaged", ["no base64", "AADAfw==", "QUJD", "über"])  # The second is a NaN.
def test_a_damaged_neck_edge_is_left_out(damaged, person, addon, tmp_path):
    """As when the face is shaped: the edge of the average face then."""
    person.data.lwae.neck_edge = damaged
    addon("sync").write(person.data)
    assert addon("face").trouble(person.data) is None
    shown, path = positions(person.data), str(tmp_path / "ada.json")
    assert bpy.ops.lwae.export_face(filepath=path) == {"FINISHED"}
    assert bpy.ops.lwae.import_face(filepath=path) == {"FINISHED"}
    new = bpy.context.object.data
    assert not new.lwae.neck_edge and new.lwae.keep_neck
    assert np.abs(positions(new) - shown).max() < 1e-6


def test_face_files_lie_where_they_are_asked_to(person, tmp_path):
    with pytest.raises(RuntimeError, match="Choose a file"):
        bpy.ops.lwae.export_face(filepath="")
    with pytest.raises(RuntimeError, match="not saved yet"):
        bpy.ops.lwae.export_face(filepath="//ada.json")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert bpy.ops.lwae.export_face(filepath="//ada.json") == {"FINISHED"}
    assert (tmp_path / "ada.json").is_file()
    assert bpy.ops.lwae.import_face(filepath="//ada.json") == {"FINISHED"}


def test_faces_may_be_called_anything(person, tmp_path):
    path = str(tmp_path / "face.json")
    for name in ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u9854\u3000\u4e00", "a\tb"):
        person.name = name
        assert bpy.ops.lwae.export_face(filepath=path) == {"FINISHED"}
        bpy.context.view_layer.objects.active = person
        assert bpy.ops.lwae.import_face(filepath=path) == {"FINISHED"}
        assert bpy.context.object.name.startswith(name)
        bpy.data.objects.remove(bpy.context.object)
        bpy.context.view_layer.objects.active = person


def test_what_is_no_number_counts_as_zero_in_a_file(person, tmp_path):
    state, path = person.data.lwae, str(tmp_path / "ada.json")
    state.whole[0].value = state.parts[1].controls[0].value = state.symmetry = np.nan
    assert bpy.ops.lwae.export_face(filepath=path) == {"FINISHED"}
    assert bpy.ops.lwae.import_face(filepath=path) == {"FINISHED"}
    new = bpy.context.object.data
    assert new.lwae.whole[0].value == new.lwae.parts[1].controls[0].value == new.lwae.symmetry == 0
    assert np.abs(positions(new) - positions(person.data)).max() < 1e-6


def test_a_face_file_outlives_its_model(new_face, addon, tmp_path):
    """As after an update that brought another bundled model."""
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=4)
    mesh.lwae.symmetry = 0.5
    bpy.ops.lwae.average_neck()
    before, path = positions(mesh), tmp_path / "ada.json"
    assert bpy.ops.lwae.export_face(filepath=str(path)) == {"FINISHED"}
    said = json.loads(path.read_text())
    assert len(said["arrays"]["shape"]) == before.size and list(said)[-1] == "arrays"
    said["model"]["hash"], said["model"]["sliders"] = "0" * 16, ""
    said["parts"] = {name: dict(part, sliders={}) for name, part in said["parts"].items()}  # whatever those were
    path.write_text(json.dumps(said))
    assert bpy.ops.lwae.import_face(filepath=str(path)) == {"FINISHED"}
    new = bpy.context.object.data
    assert new != mesh and addon("face").trouble(new) is None and new.lwae.keep_neck and new.lwae.symmetry == 0.5
    assert np.abs(positions(new) - before).max() < 1e-4


def test_shown_parts_are_no_part_of_a_face_file(person, addon, model, new_face, tmp_path):
    colours, path = addon("part_colours"), str(tmp_path / "ada.json")
    colours.show(person.data, model)
    assert bpy.ops.lwae.export_face(filepath=path) == {"FINISHED"}
    wanted, mesh = positions(person.data), new_face().data
    colours.show(mesh, model)
    noted = mesh.lwae.shown_parts
    assert bpy.ops.lwae.import_face(filepath=path, target="ACTIVE") == {"FINISHED"}
    assert np.allclose(positions(mesh), wanted, rtol=0, atol=1e-7)
    assert mesh.lwae.shown_parts == noted
    colours.hide(mesh)
    assert not len(mesh.color_attributes)
    mesh.lwae.shown_parts = "no JSON"
    colours.hide(mesh)
    assert not mesh.lwae.shown_parts


def test_it_comes_back_in_another_file(person, file):
    before = positions(person.data)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    assert bpy.ops.lwae.import_face(filepath=file) == {"FINISHED"}
    assert bpy.context.object.name == "Ada"
    assert np.array_equal(positions(bpy.context.object.data), before)


def test_into_the_active_face_in_one_undo_step(person, file, new_face):
    wanted = positions(person.data)
    item = new_face()
    bpy.ops.lwae.randomise_face(seed=50)
    before = positions(item.data)
    name = item.name
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.lwae.import_face(filepath=file, target="ACTIVE") == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Import Face")  # Operators that a script calls push none.
    assert np.allclose(positions(item.data), wanted, rtol=0, atol=1e-7)  # The decoder adds up step by step.
    assert item.data.lwae.seed == 3 and len(bpy.data.objects) == 2
    bpy.ops.ed.undo()
    mesh = bpy.data.objects[name].data
    assert np.array_equal(positions(mesh), before) and mesh.lwae.seed == 50 and not mesh.lwae.donors


def test_locked_parts_of_the_active_face_stay_exactly(person, file, new_face, addon, model):
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=50)
    add_donor(addon, mesh, model, seed=8, amounts=(0.5, 0.5))
    add_donor(addon, mesh, model, seed=9, amounts=(0.0, 0.5))
    mesh.lwae.parts[0].locked = True
    locked = model.part_slice(0)
    before = addon("shape").read_code(mesh, model)
    assert bpy.ops.lwae.import_face(filepath=file, target="ACTIVE") == {"FINISHED"}
    after = addon("shape").read_code(mesh, model)
    assert np.array_equal(after[locked], before[locked])
    free = np.ones(model.code_size, dtype=bool)
    free[locked] = False
    assert np.allclose(after[free], addon("shape").read_code(person.data, model)[free], atol=1e-4)
    assert [donor.name for donor in mesh.lwae.donors] == ["Donor 8", "Donor 4"]
    for part in mesh.lwae.parts:
        part.locked = True
    now = positions(mesh)
    assert bpy.ops.lwae.import_face(filepath=file, target="ACTIVE") == {"CANCELLED"}
    assert np.array_equal(positions(mesh), now) and len(mesh.lwae.donors) == 2


@pytest.mark.parametrize("locked", [False, True])
def test_keyframes_of_replaced_donors_go_with_them(person, file, new_face, addon, model, locked):
    mesh = new_face().data
    paths = []
    for number, amounts in enumerate(((0.5, 0.0), (0.5, 0.5))):
        add_donor(addon, mesh, model, seed=8 + number, amounts=amounts)
        paths.append(f"lwae.donors[{number}].amounts[1].value")
        mesh.keyframe_insert(paths[-1], frame=1)
    mesh.lwae.parts[1].locked = locked
    assert bpy.ops.lwae.import_face(filepath=file, target="ACTIVE") == {"FINISHED"}
    # With the lock the first donor gives nothing any more and the second moves up.
    assert [donor.name for donor in mesh.lwae.donors] == (["Donor 9", "Donor 4"] if locked else ["Donor 4"])
    assert addon("animation").animated_paths(mesh) == ({paths[0]} if locked else set())


def test_the_text_names_parts_and_sliders(file, model):
    with open(file, encoding="utf-8") as stream:
        content = json.load(stream)
    assert content["name"] == "Ada" and content["model"]["hash"] == model.hash
    assert list(content["parts"]) == model.part_names
    assert "Width" in content["parts"][model.part_names[0]]["sliders"]
    assert content["parts"][model.part_names[1]]["settings"]["seed"] == 77
    assert not {"applied", "stamp", "rest"} & set(content["settings"])


def test_a_model_that_is_missing_is_named_and_sliders_are_carried_over(person, file, addon, model):
    name = model.part_names[0]

    def other_model(content):
        content["model"] = {"name": "Elves", "hash": "0123456789abcdef", "topology": "feed"}
        content["parts"]["horns"] = {"sliders": {"Length": 2.0}, "settings": {}, "rest": []}

    edit(file, other_model)
    reports = []
    operators = addon("operators.face_files")
    original = operators.LWAE_OT_import_face.missing
    try:
        operators.LWAE_OT_import_face.missing = lambda self, record: reports.append(record) or original(self, record)
        assert bpy.ops.lwae.import_face(filepath=file) == {"FINISHED"}
    finally:
        operators.LWAE_OT_import_face.missing = original
    assert [record.model_name for record in reports] == ["Elves"]
    mesh = bpy.context.object.data
    wanted = [
        0.0 if control.name.startswith("Shape ") else control.value
        for part in person.data.lwae.parts
        for control in part.controls
    ]
    assert any(wanted) and values(mesh)[: len(wanted)] == wanted and not mesh.lwae.rest and not mesh.lwae.donors
    assert mesh.lwae.model_hash == model.hash and mesh.lwae.parts[name].controls
    mesh.lwae.symmetry = mesh.lwae.random_asymmetry = mesh.lwae.keep_neck = 0
    assert np.allclose(positions(mesh), expected(mesh), atol=1e-6)
    carried = addon("records").carried_to(reports[0], model)
    assert "the part horns" in carried.sentence() and "its donor" in carried.sentence()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xff", b'{"format": "lwae-face", "version": 5}'])
def test_bad_files_get_a_sentence_and_leave_no_trace(new_face, tmp_path, content):
    new_face()
    before, path = len(bpy.data.meshes), tmp_path / "bad.json"
    path.write_bytes(content)
    for target in ("NEW", "ACTIVE"):
        with pytest.raises(RuntimeError, match="bad.json"):
            bpy.ops.lwae.import_face(filepath=str(path), target=target)
    assert len(bpy.data.meshes) == before and len(bpy.data.objects) == 1


def test_settings_of_strange_values_do_no_harm(file, addon):
    def strange(content):
        content["settings"].update(seed=-5, strength="strong", difference=10**12, is_face=False, name="x", nonsense=3)
        content["settings"]["stamp"] = "forged"
        next(iter(content["parts"].values()))["settings"] = {"locked": 1, "seed": 2**40}

    edit(file, strange)
    assert bpy.ops.lwae.import_face(filepath=file) == {"FINISHED"}
    state = bpy.context.object.data.lwae
    assert (state.seed, state.strength, state.difference) == (0, 1.0, 1.0)
    assert state.is_face and not state.parts[0].locked and state.parts[0].seed == 2**31 - 1
    assert addon("face").trouble(bpy.context.object.data) is None


def test_import_into_what_cannot_be_written_gets_a_sentence(file, new_face):
    bpy.ops.mesh.primitive_cube_add()
    with pytest.raises(RuntimeError, match="Select the face"):
        bpy.ops.lwae.import_face(filepath=file, target="ACTIVE")
    item = new_face()
    item.data.vertices[0].co.z += 1
    before = positions(item.data)
    with pytest.raises(RuntimeError, match="edited by hand"):
        bpy.ops.lwae.import_face(filepath=file, target="ACTIVE")
    assert np.array_equal(positions(item.data), before)


def test_export_refuses_what_it_cannot_read(person, tmp_path):
    with pytest.raises(RuntimeError, match="Cannot write"):
        bpy.ops.lwae.export_face(filepath=str(tmp_path / "no" / "ada.json"))
    person.data.lwae.model_hash = "0" * 16
    with pytest.raises(RuntimeError, match="another version of the model 'Adult Heads'"):
        bpy.ops.lwae.export_face(filepath=str(tmp_path / "ada.json"))
    person.data.lwae.model_name = "Nobody"
    with pytest.raises(RuntimeError, match="not installed"):
        bpy.ops.lwae.export_face(filepath=str(tmp_path / "ada.json"))
    assert not list(tmp_path.iterdir())


# Assets.


@pytest.fixture
def library(tmp_path):
    """An asset library of the user, and no other."""
    entries = bpy.context.preferences.filepaths.asset_libraries
    saved = [(entry.name, entry.path) for entry in entries]
    for entry in list(entries):
        entries.remove(entry)
    folder = tmp_path / "assets"
    folder.mkdir()
    entry = entries.new(name="Mine", directory=str(folder))
    yield folder
    entries.remove(entry)
    for name, path in saved:
        entries.new(name=name, directory=path)


def append(path, name="Ada"):
    """What a drop from the Asset Browser does, in an empty file."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(path), link=False) as (found, chosen):
        assert found.objects == [name]
        chosen.objects = [name]
    item = chosen.objects[0]
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    bpy.context.view_layer.update()
    return item


def save(**options):
    return bpy.ops.lwae.save_asset(name="Ada", **options)


def test_a_dropped_face_has_working_sliders(person, library, addon, model):
    before, code = positions(person.data), addon("shape").read_code(person.data, model)
    assert save(tags="face, young , face", author="Me", description="A test") == {"FINISHED"}
    item = append(library / "Faces" / "Ada.blend")
    mesh = item.data
    assert np.array_equal(positions(mesh), before) and tuple(item.location) == (0, 0, 0)
    assert np.array_equal(addon("shape").read_code(mesh, model), code)
    assert addon("face").trouble(mesh) is None and mesh.lwae.model_hash == model.hash
    assert [slot.name for slot in mesh.materials][:1] == ["Face Skin"]
    slide(mesh, -2)
    assert np.abs(positions(mesh) - before).max() > 1e-4
    assert np.allclose(evaluated_positions(item), positions(mesh))
    bpy.ops.lwae.randomise_face(seed=8)
    assert mesh.lwae.seed == 8 and np.abs(positions(mesh) - before).max() > 1e-3


def test_asset_has_picture_catalogue_and_words(person, library, addon, model):
    shown = addon("gallery").portraits(model).picture(1000 * positions(person.data), 256)
    save(tags="face, young , face", author="Me", description="A test")
    catalogues = (library / "blender_assets.cats.txt").read_text()
    item = append(library / "Faces" / "Ada.blend")
    data = item.asset_data
    assert f"{data.catalog_id}:Faces:Faces" in catalogues
    assert sorted(tag.name for tag in data.tags) == ["face", "young"]
    assert (data.author, data.description) == ("Me", "A test")
    assert tuple(item.preview.image_size) == (256, 256)
    pixels = np.array(item.preview.image_pixels_float).reshape(256, 256, 4)
    assert np.abs(pixels - shown[::-1] / 255).max() < 0.01
    assert pixels[..., 3].mean() > 0.2


def test_saving_leaves_the_scene_as_it_was(person, library):
    person.name = person.data.name = "Ada"
    kinds = ("objects", "meshes", "libraries")
    before = {kind: sorted(item.name for item in getattr(bpy.data, kind)) for kind in kinds}
    shape = positions(person.data)
    save()
    after = {kind: sorted(item.name for item in getattr(bpy.data, kind)) for kind in before}
    assert after == before and person.name == "Ada" and person.asset_data is None
    assert np.array_equal(positions(person.data), shape) and tuple(person.location) == (1, 2, 3)


def test_nothing_is_overwritten_unasked(person, library):
    save()
    first = (library / "Faces" / "Ada.blend").read_bytes()
    slide(person.data, 2)
    save()
    names = sorted(path.name for path in (library / "Faces").glob("*.blend"))
    assert names == ["Ada-2.blend", "Ada.blend"] and (library / "Faces" / "Ada.blend").read_bytes() == first
    save(replace=True)
    assert (library / "Faces" / "Ada.blend").read_bytes() != first
    assert sorted(path.name for path in (library / "Faces").glob("*.blend")) == names
    # A file that is more than this asset is never replaced.
    mine = library / "Faces" / "Ada.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(mine), copy=True)
    content = mine.read_bytes()
    save(replace=True)
    assert mine.read_bytes() == content
    (library / "Faces" / "Ada-2.blend").write_bytes(b"text")
    save(replace=True)
    assert (library / "Faces" / "Ada-2.blend").read_bytes() == b"text"


def test_animation_and_other_objects_stay_behind(person, library, addon, model):
    """A modifier of another object would drag that object along."""
    bpy.ops.object.empty_add()
    empty = bpy.context.object
    bpy.context.view_layer.objects.active = person
    person.parent = empty
    person.modifiers.new("Hook", "HOOK").object = empty
    person.modifiers.new("Smoother", "SUBSURF")
    person.data.keyframe_insert("lwae.parts[0].controls[0].value", frame=1)
    person.keyframe_insert("location", frame=1)
    person.hide_render, person.delta_location = True, (1, 0, 0)
    addon("part_colours").show(person.data, model)
    assert save() == {"FINISHED"}
    assert person.parent == empty and "Hook" in person.modifiers and person.data.animation_data
    item = append(library / "Faces" / "Ada.blend")
    assert len(bpy.data.objects) == 1 and item.parent is None
    assert not item.hide_render and tuple(item.delta_location) == (0, 0, 0) and not item.data.color_attributes
    assert "Hook" not in item.modifiers and "Smoother" in item.modifiers
    assert item.animation_data is None and item.data.animation_data is None and not bpy.data.actions


def test_shape_key_animation_and_inputs_of_nodes_stay_behind(person, library):
    """So does an object that Geometry Nodes are given."""
    bpy.ops.object.empty_add()
    empty = bpy.context.object
    bpy.context.view_layer.objects.active = person
    nodes = bpy.data.node_groups.new("Nodes", "GeometryNodeTree")
    for direction, name, kind in (
        ("INPUT", "Geometry", "NodeSocketGeometry"),
        ("OUTPUT", "Geometry", "NodeSocketGeometry"),
        ("INPUT", "Target", "NodeSocketObject"),
    ):
        nodes.interface.new_socket(name, in_out=direction, socket_type=kind)
    given, free = person.modifiers.new("Given", "NODES"), person.modifiers.new("Free", "NODES")
    given.node_group = free.node_group = nodes
    target = nodes.interface.items_tree["Target"].identifier
    if hasattr(given, "properties"):  # Since Blender 5.2.
        getattr(given.properties.inputs, target).value = empty
        bpy.ops.object.modifier_add(type="NODES")  # One without nodes.
    else:
        given[target] = empty
    person.shape_key_add(name="Basis")
    key = person.shape_key_add(name="Smile")
    key.keyframe_insert("value", frame=1)
    driver = key.driver_add("slider_max").driver
    driver.variables.new().targets[0].id = empty
    assert save() == {"FINISHED"}
    assert person.data.shape_keys.animation_data and "Given" in person.modifiers
    item = append(library / "Faces" / "Ada.blend")
    assert len(bpy.data.objects) == 1 and not bpy.data.actions
    assert "Given" not in item.modifiers and "Free" in item.modifiers
    assert "Smile" in item.data.shape_keys.key_blocks


def test_a_linked_namesake_keeps_its_name(person, addon, tmp_path):
    person.name = "Eve"
    other = bpy.data.objects.new("Ada", None)
    path = str(tmp_path / "other.blend")
    bpy.data.libraries.write(path, {other})
    bpy.data.objects.remove(other)
    with bpy.data.libraries.load(path, link=True) as (_, chosen):
        chosen.objects = ["Ada"]
    linked = chosen.objects[0]
    with addon("operators.assets").asset_copy(person, "Ada") as (copy, _):
        assert linked.name == copy.name == "Ada"
    assert linked.name == "Ada" and person.name == "Eve"


def test_a_sculpted_face_is_saved_as_it_is(person, library, addon):
    person.data.vertices[5].co.z += 0.02
    before = positions(person.data)
    assert save() == {"FINISHED"}
    mesh = append(library / "Faces" / "Ada.blend").data
    assert np.array_equal(positions(mesh), before)
    assert addon("face").trouble(mesh).kind == "EDITED"


def test_no_library_and_bad_libraries_get_a_sentence(person, library):
    (library / "blender_assets.cats.txt").write_text("VERSION 9\n")
    with pytest.raises(RuntimeError, match="VERSION|version"):
        save()
    assert not list((library / "Faces").glob("*.blend"))
    (library / "blender_assets.cats.txt").unlink()
    (library / "Faces").write_text("a file")
    with pytest.raises(RuntimeError, match="Cannot write"):
        save()
    entries = bpy.context.preferences.filepaths.asset_libraries
    entries[0].path = str(library / "gone" / "deep")
    with pytest.raises(RuntimeError, match="The folder of the library Mine is not there: .*deep"):
        save()
    assert not (library / "gone").exists()
    entries[0].path = ""
    with pytest.raises(RuntimeError, match="Asset Libraries"):
        save()
    entries[0].path = str(library)


@pytest.mark.parametrize("missing", [1000, 200_000])
def test_a_full_disk_leaves_the_asset_that_was_there(missing, person, library):
    """A limit on the size of files stands in for the disk's. Blender notices only when much of the file is missing."""
    resource = pytest.importorskip("resource")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    save()
    path = library / "Faces" / "Ada.blend"
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - missing, limits[1]))
    try:
        for options in ({"replace": True}, {}):
            with pytest.raises(RuntimeError, match=r"Cannot write .*Ada(-2)?\.blend: .*free some space"):
                save(**options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == ["Ada.blend"]
    assert save(replace=True) == {"FINISHED"}


def link(path, packed=False, name="Ada"):
    """What a drop does where the library is set to Link, or to Pack (the usual in Blender 5)."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    options = {"pack": True} if packed else {}
    with bpy.data.libraries.load(str(path), link=True, **options) as (_, chosen):
        chosen.objects = [name]
    item = chosen.objects[0]
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    return item


@pytest.mark.parametrize("packed", [False, True])
def test_a_linked_face_becomes_local_with_one_click(person, library, addon, packed):
    if packed and bpy.app.version < (5, 0, 0):
        pytest.skip("Blender packs linked data since 5.0")
    before = positions(person.data)
    save()
    item = link(library / "Faces" / "Ada.blend", packed)
    assert item.data.library and not bpy.ops.lwae.randomise_face.poll()
    assert bpy.ops.lwae.make_local() == {"FINISHED"}
    item = bpy.context.object
    mesh = item.data
    assert not item.library and not mesh.library and not any(slot.library for slot in mesh.materials)
    assert np.array_equal(positions(mesh), before) and addon("face").trouble(mesh) is None
    slide(mesh, -2)
    assert np.abs(positions(mesh) - before).max() > 1e-4
    with pytest.raises(RuntimeError, match="belongs to this file"):
        bpy.ops.lwae.make_local()


def test_import_into_an_override_is_refused(person, file, tmp_path):
    """Blender lets nobody add donors there, and what the library has cannot be removed."""
    path = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    item = link(path, name=person.name).override_create(remap_local_usages=True)
    item.data = item.data.override_create(remap_local_usages=True)
    bpy.context.view_layer.objects.active = item
    bpy.context.view_layer.update()
    before = positions(item.data)
    with pytest.raises(RuntimeError, match="override of another file's. Make it local"):
        bpy.ops.lwae.import_face(filepath=file, target="ACTIVE")
    assert np.array_equal(positions(item.data), before)


def test_the_import_menu_makes_new_faces(file, new_face):
    """Blender remembers what an operator was last told, but not where to import to."""
    new_face()
    assert bpy.ops.lwae.import_face(filepath=file, target="ACTIVE") == {"FINISHED"}
    assert bpy.ops.lwae.import_face.get_rna_type().properties["target"].is_skip_save


def test_keyframes_of_expressions_become_local_too(person, addon, tmp_path):
    if not addon("models").tools(addon("models").default()).expressions.numbers:
        pytest.skip("the model knows no expressions")
    bpy.context.view_layer.objects.active = person
    bpy.ops.lwae.add_expressions(names="jawOpen")
    key = person.data.shape_keys.key_blocks["jawOpen"]
    for frame, value in ((1, 0.0), (11, 1.0)):
        key.value = value
        key.keyframe_insert("value", frame=frame)
    path = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    link(path, name=person.name).select_set(True)
    assert bpy.ops.lwae.make_local() == {"FINISHED"}
    keys = bpy.context.object.data.shape_keys
    assert not keys.library and not keys.animation_data.action.library
    bpy.context.scene.frame_set(11)
    assert keys.key_blocks["jawOpen"].value == 1
