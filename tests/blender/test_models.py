# SPDX-License-Identifier: GPL-3.0-or-later
"""Several models: a folder of strangers' files, the model of a new face, and a face that changes its model."""

import copy
import gc
import os
import time
import weakref

import bpy
import numpy as np
import pytest
from helpers import positions, slide, slider_path, values

from backend.lwae_file import load_model, save_model
from backend.model import WHOLE
from tests.toy import toy_model

MM = 1e-3


@pytest.fixture
def folder(addon):
    """The add-on's own folder of models, empty at the end again."""
    found = addon("model_list").folder(create=True)
    yield found
    preferences = addon("model_list").preferences()
    preferences.models_folder = preferences.default_model = ""
    for path in list(found.iterdir()):
        addon("models").forget(path)
        path.unlink()
    addon("models").clear()


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """toy.lwae: other vertices, two parts of the same names; twin.lwae: the bundled vertices, another model."""
    folder = tmp_path_factory.mktemp("models")
    toy = toy_model()
    toy.header["name"] = "Toy"
    toy.part_names[:2] = ["nose", "mouth"]
    save_model(toy, folder / "toy.lwae")
    import importlib

    bundled = importlib.import_module("bl_ext.user_default.blender_lwae.model_list").BUNDLED_PATH
    twin = copy.deepcopy(load_model(bundled))
    twin.header["name"] = "Twin"
    twin.mean *= np.float32(1.01)
    # Other sliders first, and one is gone.
    nose = [control for control in twin.controls if control.part == twin.part_index("nose")]
    rest = [control for control in twin.controls if control.part != twin.part_index("nose")]
    order = [*range(twin.part_count), WHOLE]
    twin.controls = sorted([*rest, *nose[::-1][:-1]], key=lambda control: order.index(control.part))
    save_model(twin, folder / "twin.lwae")
    return folder


def install(path, **options):
    return bpy.ops.lwae.install_model(filepath=str(path), **options)


def seen(mesh):
    return positions(mesh)


def test_install_add_and_remove(addon, folder, files):
    assert install(files / "toy.lwae") == {"FINISHED"}
    found = addon("model_list").model_list()
    assert [item.name for item in found] == ["Adult Heads", "Toy"]
    assert found[1].facts.vertex_count == toy_model().vertex_count and found[1].facts.licence == "CC0-1.0"
    assert bpy.ops.lwae.add_face(model="toy.lwae") == {"FINISHED"}
    mesh = bpy.context.object.data
    assert len(mesh.vertices) == toy_model().vertex_count and mesh.lwae.model_name == "Toy"
    before = seen(mesh)
    slide(mesh, 2)
    assert np.abs(seen(mesh) - before).max() > MM
    assert bpy.ops.lwae.add_face() == {"FINISHED"}
    assert bpy.context.object.data.lwae.model_name == "Adult Heads"
    assert bpy.ops.lwae.remove_model(model="toy.lwae") == {"FINISHED"}
    assert not list(folder.iterdir())
    trouble = addon("face").trouble(mesh)
    assert trouble.kind == "MODEL" and "Toy" in trouble.sentence
    before = seen(mesh)
    slide(mesh, -1)
    assert np.array_equal(seen(mesh), before), "a face without its model keeps its shape"
    install(files / "toy.lwae")
    assert addon("face").trouble(mesh) is None, "found again in the folder by its hash"
    slide(mesh, -2)
    assert np.abs(seen(mesh) - before).max() > MM


def save_toy(path, gain):
    """A toy whose sliders go `gain` times as far: its hash is the same."""
    toy = toy_model()
    toy.header["name"] = "Toy"
    for control in toy.controls:
        if control.part != WHOLE:
            control.direction[:] *= np.float32(gain)
    save_model(toy, path)


def test_files_of_one_hash_are_told_by_their_sliders(addon, folder):
    models = addon("models")
    for number, gain in enumerate((1, 0.5)):
        save_toy(folder / f"{number}.lwae", gain)
    made = [models.load(folder / f"{number}.lwae") for number in (0, 1)]
    assert made[0].hash == made[1].hash and models.tools(made[0]).sliders != models.tools(made[1]).sliders
    moved = []
    for number in (0, 1):
        bpy.ops.lwae.add_face(model=f"{number}.lwae")
        mesh = bpy.context.object.data
        assert addon("face").model_of(mesh) is made[number] and addon("face").trouble(mesh) is None
        before = seen(mesh)
        slide(mesh, 1)
        moved.append(np.abs(seen(mesh) - before).max())
    assert moved[0] > 1.5 * moved[1] > 0
    models.forget(folder / "1.lwae")
    assert addon("face").model_of(mesh) is not made[1] and addon("face").trouble(mesh) is None, "read again"
    os.unlink(folder / "1.lwae")
    models.forget(folder / "1.lwae")
    assert addon("face").model_of(mesh) is made[0] and addon("face").trouble(mesh).kind == "SLIDERS"


def test_face_files_and_switching_tell_files_of_one_hash_by_their_sliders(addon, folder, tmp_path):
    models = addon("models")
    for number, gain in enumerate((1, 0.5)):
        save_toy(folder / f"{number}.lwae", gain)
    shapes = []
    for number in (0, 1):
        bpy.ops.lwae.add_face(model=f"{number}.lwae")
        bpy.ops.lwae.randomise_face(seed=4)
        slide(bpy.context.object.data, 2)
        shapes.append(seen(bpy.context.object.data))
        assert bpy.ops.lwae.export_face(filepath=str(tmp_path / f"{number}.json")) == {"FINISHED"}
    assert np.abs(shapes[0] - shapes[1]).max() > MM
    for number in (1, 0):
        assert bpy.ops.lwae.import_face(filepath=str(tmp_path / f"{number}.json")) == {"FINISHED"}
        mesh = bpy.context.object.data
        assert addon("face").model_of(mesh) is models.load(folder / f"{number}.lwae")
        assert np.abs(seen(mesh) - shapes[number]).max() < 1e-6
    # The active face is of 0: of the two only 1 is another model.
    others = [item[0] for item in addon("operators.switch_model")._other_models(None, bpy.context)]
    assert "1.lwae" in others and "0.lwae" not in others
    before = values(mesh)
    switch("1.lwae")
    mesh = bpy.context.object.data
    assert addon("face").trouble(mesh) is None and addon("face").model_of(mesh) is models.load(folder / "1.lwae")
    assert np.abs(seen(mesh) - shapes[0]).max() < 1e-6 and values(mesh) != before
    # And into a face whose sliders do less.
    bpy.ops.lwae.import_face(filepath=str(tmp_path / "0.json"), target="ACTIVE")
    assert np.abs(seen(mesh) - shapes[0]).max() < 1e-6


def test_a_file_that_is_exported_over_itself_replaces_its_model(addon, folder):
    models = addon("models")
    save_toy(folder / "toy.lwae", 1)
    old = models.load(folder / "toy.lwae")
    models.tools(old)
    save_toy(folder / "toy.lwae", 0.25)
    new = models.load(folder / "toy.lwae")
    assert models.by_hash(old.hash) is new and id(old) not in models._tools
    assert [key[0] for key in models._loaded].count(str(folder / "toy.lwae")) == 1


def test_default_of_the_preferences(addon, folder, files):
    install(files / "toy.lwae")
    assert bpy.ops.lwae.default_model(model="toy.lwae") == {"FINISHED"}
    bpy.ops.lwae.add_face()
    assert bpy.context.object.data.lwae.model_name == "Toy"
    items = addon("model_list").enum_items(None, bpy.context)
    assert [item[0] for item in items] == ["toy.lwae", "BUNDLED"], "the default comes first in menus"
    assert bpy.ops.lwae.remove_model() == {"CANCELLED"} and (folder / "toy.lwae").is_file()
    os.unlink(folder / "toy.lwae")
    addon("model_list").clear()
    bpy.ops.lwae.add_face()
    assert bpy.context.object.data.lwae.model_name == "Adult Heads", "a default that is gone is no obstacle"


def test_another_folder(addon, folder, files, tmp_path):
    addon("model_list").preferences().models_folder = str(files)
    assert {item.key for item in addon("model_list").model_list()} == {"BUNDLED", "toy.lwae", "twin.lwae"}
    other = tmp_path / "new"
    addon("model_list").preferences().models_folder = str(other)
    assert [item.key for item in addon("model_list").model_list()] == ["BUNDLED"]
    install(files / "toy.lwae")
    assert (other / "toy.lwae").is_file() and not list(folder.iterdir())
    (tmp_path / "file").write_text("x")
    addon("model_list").preferences().models_folder = str(tmp_path / "file")
    with pytest.raises(RuntimeError, match="choose another"):
        install(files / "toy.lwae")


def test_damaged_files_are_listed_and_harmless(addon, folder, files):
    content = bytearray((files / "toy.lwae").read_bytes())
    (folder / "text.lwae").write_text("hello")
    (folder / "cut.lwae").write_bytes(content[:1000])
    content[len(content) // 2] ^= 0xFF
    (folder / "bent.lwae").write_bytes(content)
    found = {item.key: item for item in addon("model_list").model_list()}
    assert "not a .lwae model" in found["text.lwae"].error and "cut.lwae" in found["cut.lwae"].error
    assert found["bent.lwae"].facts is not None, "its header is sound"
    with pytest.raises(RuntimeError, match="bent.lwae"):
        bpy.ops.lwae.add_face(model="bent.lwae")
    found = {item.key: item for item in addon("model_list").model_list()}
    assert "bent.lwae" in found["bent.lwae"].error, "loading it told more"
    assert bpy.ops.lwae.add_face() == {"FINISHED"}
    with pytest.raises(RuntimeError, match="bent.lwae"):
        install(folder / "bent.lwae")
    for key in ("text.lwae", "cut.lwae", "bent.lwae"):
        assert bpy.ops.lwae.remove_model(model=key) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="cannot be deleted"):
        bpy.ops.lwae.remove_model(model="BUNDLED")


def test_a_face_whose_model_is_missing_costs_no_redraws(addon, folder, files):
    """Panels ask on each redraw; a big folder is read once."""
    for number in range(60):
        os.link(files / "toy.lwae", folder / f"{number}.lwae")
    bpy.ops.lwae.add_face()
    mesh = bpy.context.object.data
    mesh.lwae.model_hash, mesh.lwae.model_name = "0" * 16, "Nobody"
    addon("face").trouble(mesh)
    loads = []
    original = addon("models").load_model
    addon("models").load_model = lambda path: loads.append(path) or original(path)
    try:
        start = time.perf_counter()
        for _ in range(100):
            assert addon("face").trouble(mesh).kind == "MODEL"
            addon("model_list").model_list()
        spent = (time.perf_counter() - start) / 100
    finally:
        addon("models").load_model = original
    print(f"trouble and list of 61 models: {spent * 1000:.3f} ms")
    assert not loads and spent < 0.005


def switch(model, result="FACE", **options):
    assert bpy.ops.lwae.switch_model(model=model, result=result, **options) == {"FINISHED"}
    return bpy.context.object


def test_same_vertices_keep_the_shape(addon, folder, files, new_face):
    install(files / "twin.lwae")
    face = new_face()
    mesh = face.data
    bpy.ops.lwae.randomise_face(seed=3)
    mesh.lwae.parts["ears"].locked = True
    face.shape_key_add(name="Basis")
    face.shape_key_add(name="Smile").points[7].co.z += 0.02
    before = seen(mesh)
    bpy.ops.ed.undo_push(message="Before")
    assert switch("twin.lwae").data == mesh, "the same mesh, in place"
    assert mesh.lwae.model_name == "Twin" and addon("face").trouble(mesh) is None
    error = np.linalg.norm(seen(mesh) - before, axis=1)
    assert error.mean() < 0.25 * MM and error.max() < 4 * MM
    assert mesh.lwae.parts["ears"].locked
    assert abs(mesh.shape_keys.key_blocks["Smile"].points[7].co.z - seen(mesh)[7, 2] - 0.02) < 1e-5
    slide(mesh, 2)
    assert np.abs(seen(mesh) - before).max() > MM
    bpy.ops.ed.undo_push(message="Switched")
    bpy.ops.ed.undo()
    mesh = bpy.context.object.data
    assert mesh.lwae.model_name == "Adult Heads" and np.allclose(seen(mesh), before, atol=1e-6)
    assert addon("face").trouble(mesh) is None


def test_faces_of_a_version_that_is_gone_switch_together(addon, folder, new_face):
    """As after an update that brought another bundled model."""
    faces = [new_face() for _ in range(3)]
    for seed, item in enumerate(faces):
        item.select_set(True)
        bpy.context.view_layer.objects.active = item
        bpy.ops.lwae.randomise_face(seed=seed)
        item.data.lwae.whole["Age"].locked = item.data.lwae.parts["ears"].locked = True
    before = [seen(item.data) for item in faces]
    for item in faces[:2]:
        item.data.lwae.model_hash = "0" * 16
    bpy.context.view_layer.objects.active = faces[0]
    trouble = addon("face").trouble(faces[0].data)
    assert trouble.kind == "MODEL" and "another version of the model 'Adult Heads'" in trouble.sentence
    switch("BUNDLED")
    for item, shape in zip(faces, before, strict=True):
        assert addon("face").trouble(item.data) is None and np.abs(seen(item.data) - shape).max() < 0.02 * MM
        assert item.data.lwae.whole["Age"].locked and item.data.lwae.parts["ears"].locked


def test_an_average_neck_stays_with_a_model_of_another_average(addon, folder, files, new_face):
    install(files / "twin.lwae")
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=5)
    bpy.ops.lwae.average_neck()
    edge = addon("models").tools(addon("face").model_of(mesh)).neck.edge
    before = seen(mesh)[edge]
    switch("twin.lwae")
    assert mesh.lwae.model_name == "Twin" and mesh.lwae.keep_neck
    assert np.abs(seen(mesh)[edge] - before).max() < 1e-6


def test_what_a_kept_neck_hides_is_found_again(addon, folder, new_face):
    """The neck is held in place, but the face above it says how heavy and how old the person is."""
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=5)
    free = seen(mesh)
    said = {slider.name: slider.value for slider in mesh.lwae.whole}
    bpy.ops.lwae.average_neck()
    held = seen(mesh)
    assert np.abs(held - free).max() > 3 * MM, "a neck that had to move"
    mesh.lwae.model_hash = "0" * 16  # a version that is gone
    switch("BUNDLED")
    assert mesh.lwae.keep_neck and np.abs(seen(mesh) - held).max() < 1e-6
    for slider in mesh.lwae.whole:
        assert abs(slider.value - said[slider.name]) < 0.3, slider.name
    mesh.lwae.keep_neck = False
    assert np.linalg.norm(seen(mesh) - free, axis=1).max() < 0.5 * MM


def test_exact_shape_by_an_offset(addon, folder, files, new_face):
    install(files / "twin.lwae")
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=3)
    before = seen(mesh)
    switch("twin.lwae", keep_offset=True)
    assert np.abs(seen(mesh) - before).max() < 2e-6 and "lwae_offset" in mesh.attributes
    assert addon("face").trouble(mesh) is None


def test_a_sculpted_face_keeps_its_sculpt(addon, folder, files, new_face):
    install(files / "twin.lwae")
    mesh = new_face().data
    mesh.vertices[5].co.z += 0.02
    mesh.update()
    before = seen(mesh)
    assert addon("face").trouble(mesh).kind == "EDITED"
    switch("twin.lwae")
    assert np.abs(seen(mesh) - before).max() < 2e-6
    assert addon("face").trouble(mesh) is None
    slide(mesh, 2)
    assert np.abs(seen(mesh) - before).max() > MM


def test_asymmetry_of_a_sculpted_face_is_not_doubled(addon, folder, files, new_face):
    install(files / "twin.lwae")
    mesh = new_face().data
    bpy.ops.lwae.randomise_face(seed=3)
    mesh.lwae.asymmetry, mesh.lwae.random_asymmetry = 2.0, 2.0
    mesh.vertices[5].co.z += 0.02
    mesh.update()
    before = seen(mesh)
    sentence, lost = addon("switch").switch(mesh, addon("models").load(folder / "twin.lwae"), False)[1:]
    assert "the symmetry settings" in lost and mesh.lwae.asymmetry == mesh.lwae.random_asymmetry == 0
    assert np.abs(seen(mesh) - before).max() < 2e-6
    offset = np.linalg.norm(addon("face").read_offset(mesh), axis=1).mean()
    assert offset < 0.5 * MM, sentence


def test_keyframes_of_a_sculpted_face_bring_nothing_back(addon, folder, files, new_face):
    """Its donors and symmetry go with their animation: the sculpt has what they did."""
    install(files / "twin.lwae")
    new_face().name = "Donor"
    bpy.ops.lwae.randomise_face(seed=9)
    mesh = new_face().data
    bpy.ops.lwae.add_donor(name="Donor")
    for path in ("lwae.donors[0].amounts[0].value", "lwae.asymmetry", slider_path()):
        owner, _, name = path.rpartition(".")
        for frame, value in ((1, 1.0), (11, 2.0)):
            setattr(mesh.path_resolve(owner), name, value)
            mesh.keyframe_insert(path, frame=frame)
    bpy.context.scene.frame_set(1)
    mesh.lwae.donor_index = 5
    mesh.vertices[5].co.z += 0.02
    mesh.update()
    lost = addon("switch").switch(mesh, addon("models").load(folder / "twin.lwae"), False).lost
    assert {"its donors", "the symmetry settings"} <= set(lost)
    assert not len(mesh.lwae.donors) and mesh.lwae.donor_index == 0
    animated = addon("animation").animated_paths(mesh)
    assert len(animated) == 1 and not any("donors" in path or "asymmetry" in path for path in animated)
    bpy.context.scene.frame_set(11)
    assert mesh.lwae.asymmetry == 0


def test_a_face_whose_model_is_gone_gets_another(addon, folder, files, new_face):
    install(files / "twin.lwae")
    bpy.ops.lwae.add_face(model="twin.lwae")
    mesh = bpy.context.object.data
    slide(mesh, 1.5)
    before = seen(mesh)
    bpy.ops.lwae.remove_model(model="twin.lwae")
    assert addon("face").trouble(mesh).kind == "MODEL"
    switch("BUNDLED")
    assert addon("face").trouble(mesh) is None and mesh.lwae.model_name == "Adult Heads"
    assert np.abs(seen(mesh) - before).max() < 2e-6


def test_other_vertices_carry_sliders_by_name(addon, folder, files, new_face):
    install(files / "toy.lwae")
    face = new_face()
    mesh, name = face.data, face.data.name
    mesh.lwae.parts["nose"].controls["Width"].value = 1.25
    mesh.lwae.parts["mouth"].controls["Shape 1"].value = -0.5
    mesh.lwae.parts["ears"].controls["Width"].value = 2
    mesh.lwae.parts["nose"].locked = True
    mesh.materials[0] = bpy.data.materials.new("Mine")
    twin_user = bpy.data.objects.new("Linked duplicate", mesh)
    bpy.context.collection.objects.link(twin_user)
    bpy.ops.ed.undo_push(message="Before")
    result = switch("toy.lwae")
    mesh = result.data
    assert (result, mesh.name) == (face, name) and twin_user.data == mesh
    assert len(mesh.vertices) == toy_model().vertex_count and addon("face").trouble(mesh) is None
    assert mesh.lwae.parts["nose"].controls["Width"].value == 1.25 and mesh.lwae.parts["nose"].locked
    assert mesh.lwae.parts["mouth"].controls["Shape 1"].value == 0, "which means something else there"
    assert mesh.materials[0].name == "Mine"
    moved = seen(mesh)
    for part in mesh.lwae.parts:
        for control in part.controls:
            control.value = 0
    assert np.abs(seen(mesh) - moved).max() > MM, "the carried sliders were what was seen"
    bpy.ops.ed.undo_push(message="Switched")
    bpy.ops.ed.undo()
    assert bpy.context.object.data.lwae.model_name == "Adult Heads"
    assert bpy.context.object.data.lwae.parts["ears"].controls["Width"].value == 2


def test_a_copy_leaves_the_face_alone(addon, folder, files, new_face):
    install(files / "toy.lwae")
    face = new_face()
    slide(face.data, 1)
    before = seen(face.data), values(face.data), face.data.lwae.stamp
    copied = switch("toy.lwae", "COPY")
    assert copied != face and copied.data != face.data and copied.location.x > face.location.x + 0.1
    assert copied.data.lwae.model_name == "Toy" and copied.select_get() and not face.select_get()
    assert np.array_equal(seen(face.data), before[0]) and (values(face.data), face.data.lwae.stamp) == before[1:]
    assert addon("face").trouble(face.data) is None


def test_animation_follows_its_sliders_by_name(addon, folder, files, new_face):
    install(files / "twin.lwae")
    face = new_face()
    mesh = face.data
    nose = [part.name for part in mesh.lwae.parts].index("nose")
    controls = mesh.lwae.parts[nose].controls
    first, last = controls[0].name, controls[len(controls) - 1].name
    for frame, value in ((1, 0), (11, 2)):
        for number in (0, len(controls) - 1):
            controls[number].value = value
            mesh.keyframe_insert(slider_path(nose, number), frame=frame)
    shared = bpy.data.meshes.new("Other user of the action")
    shared.animation_data_create().action = mesh.animation_data.action
    before = len(addon("animation").animated_paths(shared))
    switch("twin.lwae")
    names = [control.name for control in mesh.lwae.parts[nose].controls]
    assert first not in names and names[0] == last
    assert addon("animation").animated_paths(mesh) == {slider_path(nose, 0)}
    assert len(addon("animation").animated_paths(shared)) == before, "others' actions stay"
    bpy.context.scene.frame_set(1)
    start = seen(mesh)
    bpy.context.scene.frame_set(11)
    assert np.abs(seen(mesh) - start).max() > 0.5 * MM


@pytest.mark.parametrize(("model", "kept", "gone"), [("twin.lwae", -1, 0), ("toy.lwae", 0, -1)])
def test_drivers_that_read_sliders_follow_them_by_name(addon, folder, files, new_face, model, kept, gone):
    install(files / model)
    face = new_face()
    mesh = face.data
    nose = [part.name for part in mesh.lwae.parts].index("nose")
    names = [control.name for control in mesh.lwae.parts[nose].controls]
    bpy.context.collection.objects.link(follower := bpy.data.objects.new("Follower", None))
    other = new_face().data
    kept, gone = kept % len(names), gone % len(names)
    read = [(mesh, slider_path(nose, kept)), (mesh, slider_path(nose, gone)), (other, slider_path(nose, kept))]
    for axis, (source, path) in enumerate(read):
        target = follower.driver_add("location", axis).driver.variables.new().targets[0]
        target.id_type, target.id, target.data_path = "MESH", source, path
    bpy.context.view_layer.objects.active = face
    sentence, lost = addon("switch").switch(mesh, addon("models").load(folder / model), False)[1:]
    mesh = face.data
    assert "drivers that read its sliders (1)" in lost, sentence
    targets = [curve.driver.variables[0].targets[0] for curve in follower.animation_data.drivers]
    part = [part.name for part in mesh.lwae.parts].index("nose")
    control = [control.name for control in mesh.lwae.parts[part].controls].index(names[kept])
    assert (part, control) != (nose, kept)
    assert targets[0].id == mesh and targets[0].data_path == slider_path(part, control)
    assert targets[2].id == other and targets[2].data_path == read[2][1]


def test_command_line_knows_installed_models(addon, folder, files, capsys, tmp_path):
    install(files / "toy.lwae")
    cli = addon("cli")
    for name in ("Toy", "toy", "toy.lwae", str(files / "toy.lwae")):
        assert cli.main(["info", "--model", name]) == 0
        assert f"{toy_model().vertex_count} vertices" in capsys.readouterr().out
    out = tmp_path / "faces"
    assert cli.main(["synth", "--model", "Toy", "--count", "2", "--format", "npz", "--out", str(out)]) == 0
    assert np.load(out / "faces_000000.npz")["vertices"].shape == (2, toy_model().vertex_count, 3)
    capsys.readouterr()
    assert cli.main(["models"]) == 0
    assert "toy.lwae: Toy" in capsys.readouterr().out
    assert cli.main(["info", "--model", "Nobody"]) == 2
    assert "no installed model has that name" in capsys.readouterr().err
    os.link(files / "toy.lwae", folder / "again.lwae")
    assert cli.main(["info", "--model", "Toy"]) == 2
    assert "2 installed models are called" in capsys.readouterr().err


def test_a_chosen_model_stays_chosen_in_menus(addon, folder, files, new_face):
    """What Blender keeps is a number: it means the same model whatever is installed and which face is active."""
    def numbers():
        return {item[0]: item[4] for item in addon("model_list").enum_items(None, bpy.context)}

    install(files / "twin.lwae")
    before = numbers()
    install(files / "toy.lwae")
    bpy.ops.lwae.default_model(model="toy.lwae")
    assert before.items() < numbers().items() and len(set(numbers().values())) == 3
    new_face(model="twin.lwae")
    others = addon("operators.switch_model")._other_models
    chosen = {"model": numbers()["twin.lwae"]}
    assert {item[0] for item in others(None, bpy.context)} == {"BUNDLED", "toy.lwae"}
    assert {item[0]: item[4] for item in others(chosen, bpy.context)} == numbers()
    assert bpy.ops.lwae.switch_model(result="FACE") == {"FINISHED"}, "the first other model"
    assert bpy.context.object.data.lwae.model_name == "Toy"


def test_a_damaged_bundled_model_is_no_obstacle(addon, folder, files, new_face):
    install(files / "toy.lwae")
    new_face()
    model_list, operator = addon("model_list"), addon("operators.switch_model")
    original = model_list.BUNDLED_PATH
    model_list.BUNDLED_PATH = folder / "text.lwae"
    model_list.BUNDLED_PATH.write_text("hello")
    model_list.clear()
    try:
        assert operator._is_model_of("BUNDLED", bpy.context.object.data)
        assert [item[0] for item in operator._other_models(None, bpy.context)] == ["toy.lwae"]
        assert operator.LWAE_OT_switch_model.chosen(type("Fake", (), {"model": "BUNDLED"})) is None
    finally:
        model_list.BUNDLED_PATH = original
        model_list.clear()


def test_switching_says_why_not(addon, folder, new_face):
    face = new_face()
    with pytest.raises(RuntimeError, match="no other model"):
        bpy.ops.lwae.switch_model()
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(RuntimeError, match="Object Mode"):
        bpy.ops.lwae.switch_model()
    bpy.ops.object.mode_set(mode="OBJECT")
    assert face.data.lwae.is_face


def test_pictures_are_drawn_and_freed(addon, folder, files):
    install(files / "toy.lwae")
    (folder / "bent.lwae").write_bytes((files / "toy.lwae").read_bytes()[:-200])
    pictures, listed = addon("model_pictures"), addon("model_list").model_list()
    usable = [item for item in listed if item.facts]
    names = {str(addon("model_list").file_key(item.path)) for item in usable}
    end = time.monotonic() + 120
    while not names.issubset(pictures._pictures or ()) and time.monotonic() < end:
        for item in usable:
            pictures.icon(item)
        if pictures._pictures is not None:
            pictures._show()
        time.sleep(0.05)
    assert len(usable) == 2 and names == set(pictures._pictures)
    bundled = pictures._pictures[str(addon("model_list").file_key(usable[0].path))]
    drawn = np.array(bundled.image_pixels_float[:]).reshape(pictures.SIZE, pictures.SIZE, 4)
    assert 0.2 < (drawn[..., 3] > 0.5).mean() < 0.9, "a head on nothing"
    pictures.unregister()
    assert pictures._pictures is None


def test_what_was_made_for_a_model_goes_with_it(addon, folder, files, new_face, model):
    install(files / "twin.lwae")
    kept = [addon("analysis")._known, addon("pulling")._pullers, addon("gallery")._portraits, addon("sides")._fields]
    for cache in kept:
        cache.clear()
    bpy.ops.lwae.add_face(model="twin.lwae")
    mesh = bpy.context.object.data
    mesh.lwae.random_asymmetry = 1
    addon("pulling").puller(mesh)
    addon("gallery").portraits(addon("face").model_of(mesh))
    twin = weakref.ref(addon("face").model_of(mesh))
    assert all(kept)
    assert bpy.ops.lwae.remove_model(model="twin.lwae") == {"FINISHED"}
    assert not any(kept)
    gc.collect()
    assert twin() is None, gc.get_referrers(twin())


def test_a_mesh_finds_its_model_beside_a_damaged_one(addon, folder, files):
    """The damaged file is of the same number of vertices; only where nothing fits, the reason is said."""
    install(files / "toy.lwae")
    bpy.ops.lwae.add_face(model="toy.lwae")
    bpy.ops.lwae.apply()
    mesh, model_for = bpy.context.object.data, addon("operators.from_mesh").model_for
    content = bytearray((files / "toy.lwae").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    (folder / "another.lwae").write_bytes(content)
    addon("models").clear()
    assert model_for(mesh).hash == load_model(files / "toy.lwae").hash
    addon("models").forget(folder / "toy.lwae")
    (folder / "toy.lwae").unlink()
    addon("models").clear()
    with pytest.raises(addon("backend.errors").LwaeError, match="another.lwae"):
        model_for(mesh)


def test_a_picture_without_memory_marks_no_model(addon, folder, monkeypatch):
    """What was drawn twice, or before the add-on was disabled, does no harm either."""
    pictures, item = addon("model_pictures"), addon("model_list").model_list()[0]

    def no_memory(_path):
        raise MemoryError

    monkeypatch.setattr(pictures, "load_model", no_memory)
    end = time.monotonic() + 20
    pictures.icon(item)
    while not pictures._wanted.empty() and time.monotonic() < end:
        time.sleep(0.02)
    pictures._last_look = 0.0
    pictures._thread.join(5)
    pictures._show()
    assert addon("model_list").model_list()[0].facts
    drawn = np.zeros((pictures.SIZE, pictures.SIZE, 4), dtype=np.uint8)
    for _ in range(2):
        pictures._made.put((addon("model_list").file_key(item.path), item.path, drawn))
    pictures._show()
    assert len(pictures._pictures) == 1
    pictures._made.put((("gone", 0, 0), item.path, drawn))
    pictures.unregister()
    assert pictures._made.empty() and pictures._pictures is None


def test_updated_sliders_keep_their_animation_by_name(addon, folder, files, new_face, model):
    """A model is exported again with its sliders in another order, and without one."""
    install(files / "twin.lwae")
    face = new_face(model="twin.lwae")
    mesh = face.data
    nose = [part.name for part in mesh.lwae.parts].index("nose")
    controls = mesh.lwae.parts[nose].controls
    names = [control.name for control in controls]
    for number in (0, 1):
        mesh.keyframe_insert(slider_path(nose, number), frame=1)
    bpy.context.collection.objects.link(follower := bpy.data.objects.new("Follower", None))
    for axis in (0, 1):
        target = follower.driver_add("location", axis).driver.variables.new().targets[0]
        target.id_type, target.id, target.data_path = "MESH", mesh, slider_path(nose, axis)
    # As a file of an earlier export: the second slider had another place and the first another name.
    controls[0].name, last = "Gone", len(names) - 1
    controls.move(1, last)
    for owner in (mesh.animation_data, follower.animation_data):
        for curve in addon("animation").curves_of(owner) if owner == mesh.animation_data else ():
            if curve.data_path == slider_path(nose, 1):
                curve.data_path = slider_path(nose, last)
    follower.animation_data.drivers[1].driver.variables[0].targets[0].data_path = slider_path(nose, last)
    mesh.lwae.sliders = "0badf00d"
    bpy.context.view_layer.objects.active = face
    assert addon("face").trouble(mesh).kind == "SLIDERS"
    assert addon("renew").renew_sliders(mesh) == 1
    assert [control.name for control in mesh.lwae.parts[nose].controls] == names
    assert addon("animation").animated_paths(mesh) == {slider_path(nose, 1)}
    assert follower.animation_data.drivers[1].driver.variables[0].targets[0].data_path == slider_path(nose, 1)


def test_a_face_that_loses_its_keys_gets_motion_blur_back(addon, folder, files, new_face):
    install(files / "toy.lwae")
    face = new_face()
    face.shape_key_add(name="Basis")
    addon("mesh_build").drop_modifier(face.data)
    switch("toy.lwae")
    assert not face.data.shape_keys and [modifier.name for modifier in face.modifiers] == ["Face Motion Blur"]
