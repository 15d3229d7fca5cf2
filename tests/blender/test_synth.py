# SPDX-License-Identifier: GPL-3.0-or-later
"""The synth command inside Blender: every format, labels, part combinations, resuming, refusals."""

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import addon_utils
import bpy
import numpy as np
import pytest

# One colour space and one view.
OCIO = """ocio_profile_version: 1
search_path: luts
strictparsing: true
roles: {default: raw, scene_linear: raw, data: raw, color_picking: raw, texture_paint: raw, default_byte: raw,
  default_float: raw, default_sequencer: raw, matte_paint: raw, color_timing: raw, compositing_log: raw,
  aces_interchange: raw}
displays: {sRGB: [!<View> {name: Raw, colorspace: raw}]}
active_displays: [sRGB]
active_views: [Raw]
colorspaces:
  - !<ColorSpace> {name: raw, family: raw, bitdepth: 32f, isdata: false, allocation: uniform}
"""
NO_PROCESS = 2**31 - 1  # More than any system numbers its processes.


@pytest.fixture
def synth(addon, tmp_path):
    """Runs `lwae synth` into a folder below tmp_path and returns exit code and folder."""

    def run(*arguments, out="faces", seed=7):
        folder = tmp_path / out
        code = addon("cli").main(["synth", "--out", str(folder), "--seed", str(seed), *map(str, arguments)])
        return code, folder

    return run


def rows(folder, name="faces.csv"):
    with open(folder / name, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def codes(folder, model):
    columns = [f"{name}[{i}]" for k, name in enumerate(model.part_names) for i in range(model.code_sizes[k])]
    return np.array([[row[column] for column in columns] for row in rows(folder)], dtype=np.float32)


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(addon, model, folder):
    """Vertices that the labels stand for, in metres."""
    return addon("backend.numpy_decoder").NumpyDecoder(model).decode(codes(folder, model)) / 1000


def imported(operator, path):
    before = set(bpy.data.objects)
    operator(filepath=str(path))
    (item,) = set(bpy.data.objects) - before
    mesh = item.data
    vertices = np.array([item.matrix_world @ vertex.co for vertex in mesh.vertices])
    return vertices, mesh


def test_ply_is_the_labelled_face_in_blenders_frame(synth, addon, model):
    code, folder = synth("--count", 3, "--format", "ply")
    assert code == 0
    faces = expected(addon, model, folder)
    vertices, mesh = imported(bpy.ops.wm.ply_import, folder / rows(folder)[1]["file"])
    assert np.allclose(vertices, faces[1], atol=1e-6)
    assert [polygon.loop_total for polygon in mesh.polygons] == model.polygon_sizes.tolist()
    assert not np.allclose(faces[1], faces[2], atol=1e-4)


@pytest.mark.parametrize(("kind", "importer"), [("obj", "obj_import"), ("stl", "stl_import")])
def test_blenders_exporters_write_the_labelled_face(synth, addon, model, kind, importer):
    code, folder = synth("--count", 2, "--format", kind)
    assert code == 0
    vertices, mesh = imported(getattr(bpy.ops.wm, importer), folder / f"face_000001.{kind}")
    face = expected(addon, model, folder)[1]
    if kind == "obj":
        assert np.allclose(vertices, face, atol=1e-5)
        assert [slot.name.split(".")[0] for slot in mesh.materials] >= ["Face Skin"]
        assert (folder / "face_000001.mtl").is_file()
    assert np.allclose(vertices.min(0), face.min(0), atol=1e-5)
    assert np.allclose(vertices.max(0), face.max(0), atol=1e-5)


def test_glb_is_the_labelled_face(synth, addon, model):
    """Vertices are split at seams there, so the bounds stand for them."""
    code, folder = synth("--count", 2, "--format", "glb")
    assert code == 0
    vertices, _ = imported(bpy.ops.import_scene.gltf, folder / "face_000001.glb")
    face = expected(addon, model, folder)[1]
    assert np.allclose(vertices.min(0), face.min(0), atol=1e-5)
    assert np.allclose(vertices.max(0), face.max(0), atol=1e-5)


def test_npz_holds_blocks_with_their_labels(synth, addon, model):
    code, folder = synth("--count", 70, "--format", "npz")
    assert code == 0
    table = rows(folder)
    assert [row["file"] for row in table] == ["faces_000000.npz"] * 64 + ["faces_000064.npz"] * 6
    with np.load(folder / "faces_000064.npz", allow_pickle=False) as block:
        assert block["index"].tolist() == list(range(64, 70))
        assert np.array_equal(block["codes"], codes(folder, model)[64:])
        assert np.allclose(block["vertices"], expected(addon, model, folder)[64:], atol=1e-6)
        assert np.allclose(block["values"][5, 0], float(table[69][f"{model.part_names[0]}.{model.controls[0].name}"]))
    with np.load(folder / "template.npz", allow_pickle=False) as template:
        assert np.array_equal(template["polygon_vertices"], model.polygon_vertices)
        assert np.allclose(template["part_weights"].sum(0), 1, atol=1e-3)


def test_millimetres(synth):
    _, metres = synth("--count", 1, "--format", "npz", out="m")
    _, millimetres = synth("--count", 1, "--format", "npz", "--units", "mm", out="mm")
    with np.load(metres / "faces_000000.npz") as a, np.load(millimetres / "faces_000000.npz") as b:
        assert np.allclose(a["vertices"] * 1000, b["vertices"], atol=1e-3)


def test_same_seed_same_bytes_however_it_is_split(synth):
    _, whole = synth("--count", 150, out="whole")
    _, again = synth("--count", 150, out="again")
    assert content(whole) == content(again)
    for shard in (2, 1):
        assert synth("--count", 150, "--shard", f"{shard}/2", out="shards")[0] == 0
    assert synth("--count", 150, "--shard", "3/3", out="third")[0] == 0
    shards = content(whole.parent / "shards")
    parts = [rows(whole.parent / "shards", f"faces.{i}-of-2.csv") for i in (1, 2)]
    assert sorted(parts[0] + parts[1], key=lambda row: int(row["index"])) == rows(whole)
    for path, data in content(whole).items():
        if path.suffix == ".ply":
            assert shards[path] == data
    third = rows(whole.parent / "third", "faces.3-of-3.csv")
    assert [int(row["index"]) for row in third] == list(range(128, 150))
    _, other = synth("--count", 150, seed=8, out="other")
    assert (other / "face_000000.ply").read_bytes() != (whole / "face_000000.ply").read_bytes()


def test_only_what_is_missing_or_cut_is_made_again(synth):
    _, folder = synth("--count", 70)
    before = content(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "face_000003.ply").unlink()
    with open(folder / "face_000066.ply", "r+b") as stream:
        stream.truncate(100)
    (folder / f".face_000003.ply.{NO_PROCESS}.part").write_bytes(b"left by a killed run")
    assert synth("--count", 70)[0] == 0
    assert content(folder) == before
    changed = {path.name for path in folder.iterdir() if path.stat().st_mtime_ns != times.get(path)}
    assert {name for name in changed if name.endswith(".ply")} == {"face_000003.ply", "face_000066.ply"}


def test_shards_in_one_folder_leave_alone_what_others_write(synth):
    folder = synth("--count", 130, "--shard", "1/3", "--format", "npz")[1]
    shared, others, running, cut, old = (
        folder / f".{name}.{process}.part"
        for name, process in (
            ("run.json", NO_PROCESS),
            ("faces_000064.npz", NO_PROCESS),
            ("faces_000128.npz", os.getppid()),
            ("faces_000128.npz", NO_PROCESS),
            ("template.npz", os.getppid()),
        )
    )
    for path in (shared, others, running, cut, old):
        path.write_bytes(b"half")
    rooms = [folder / f".unfinished-{name}" for name in (f"3-of-3.{NO_PROCESS}", f"1-of-3.{NO_PROCESS}")]
    rooms.append(folder / f".unfinished-3-of-3.{os.getppid()}")
    rooms += [folder / f".unfinished-{name}.{NO_PROCESS}" for name in ("3-of-6", "6-of-6", "4-of-6")]  # of --jobs 2
    for room in rooms:
        room.mkdir()
    os.utime(old, (0, 0))
    assert synth("--count", 130, "--shard", "3/3", "--format", "npz")[0] == 0
    assert [path.exists() for path in (shared, others, running, cut, old)] == [True, True, True, False, False]
    left = [False, True, True, False, False, True]
    assert [room.exists() for room in rooms] == left, "a killed run's, another shard's, a running one's"


def test_other_arguments_are_refused_and_overwrite_starts_afresh(synth, capfd):
    _, folder = synth("--count", 3)
    before = content(folder)
    for other in (("--count", 4), ("--count", 3, "--strength", 0.5), ("--count", 3, "--format", "npz")):
        assert synth(*other)[0] == 2
        assert "--overwrite" in capfd.readouterr().err
    assert content(folder) == before
    (folder / "mine.txt").write_text("stays")
    assert synth("--count", 1, "--format", "npz", "--overwrite")[0] == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"faces.csv", "faces_000000.npz", "mine.txt", "run.json", "template.npz"}


def test_another_prior_of_the_same_network_is_another_model(synth, addon, model, tmp_path, capfd):
    prior = replace(model.prior, mean=model.prior.mean + np.float32(0.5))
    addon("backend.lwae_file").save_model(replace(model, prior=prior), tmp_path / "other.lwae")
    _, folder = synth("--count", 2)
    before = content(folder)
    assert synth("--count", 2, "--model", tmp_path / "other.lwae")[0] == 2
    assert "another model" in capfd.readouterr().err
    assert content(folder) == before


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_faces_of_somebody_else_are_not_overwritten(synth, tmp_path, capfd, overwrite):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "face_000000.ply").write_text("not ours")
    assert synth("--count", 1, *overwrite)[0] == 2
    assert "run.json" in capfd.readouterr().err
    assert content(tmp_path / "faces") == {Path("face_000000.ply"): b"not ours"}


@pytest.mark.parametrize("name", ["face_000007.ply", "face_000001.obj"])
def test_overwrite_refuses_faces_that_the_earlier_run_did_not_make(synth, capfd, name):
    _, folder = synth("--count", 3)
    (folder / name).write_text("not ours")
    before = content(folder)
    assert synth("--count", 3, "--overwrite")[0] == 2
    assert name in capfd.readouterr().err
    assert content(folder) == before


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"model": {}, "arguments": {"count": "many"}}',
        '{"model": {}, "arguments": {"count": Infinity, "format": "ply"}}',
    ],
)
def test_overwrite_needs_a_record_of_a_run(synth, capfd, text):
    _, folder = synth("--count", 1)
    (folder / "run.json").write_text(text)
    before = content(folder)
    assert synth("--count", 1, "--overwrite")[0] == 2
    assert "not a record" in capfd.readouterr().err
    assert content(folder) == before


def test_part_combinations_move_only_their_part(synth, addon, model):
    names = model.part_names[:2]
    code, folder = synth("--sources", 2, "--targets", 3, "--parts", ",".join(names))
    assert code == 0
    table, made = rows(folder), codes(folder, model)
    assert len(table) == 2 * 3 * 2
    assert {(row["target"], row["source"], row["part"]) for row in table} == {
        (str(t), str(s), name) for t in range(3) for s in range(2) for name in names
    }
    target = [i for i, row in enumerate(table) if row["target"] == "0"]
    assert len({made[i, model.part_slice(model.part_count - 1)].tobytes() for i in target}) == 1
    first = model.part_slice(0)
    given = {made[i, first].tobytes() for i, row in enumerate(table) if row["part"] == names[0]}
    assert len(given) == 2


def test_render_gives_thumbnails_and_a_contact_sheet(synth):
    code, folder = synth("--count", 2, "--render", "--size", 64)
    assert code == 0
    faces = {image.name: image for image in (_loaded(path) for path in sorted((folder / "thumbnails").iterdir()))}
    assert sorted(faces) == ["face_000000.png", "face_000001.png"]
    for image in faces.values():
        assert tuple(image.size) == (64, 64)
        pixels = np.array(image.pixels).reshape(64, 64, -1)[..., :3]
        middle, corner = pixels[24:40, 24:40].mean((0, 1)), pixels[:8, :8].mean((0, 1))
        assert middle[0] > middle[2] + 0.05, "skin is warm"
        assert abs(corner[0] - corner[2]) < 0.1, "the backdrop is grey"
    sheet = _loaded(folder / "contact_sheet.png")
    assert tuple(sheet.size) == (2 * 64 + 3 * 8, 64 + 2 * 8)
    shown = (np.array(sheet.pixels).reshape(80, 152, -1)[8:72, 8:72, :3] * 255).round()
    assert np.array_equal(shown, (np.array(faces["face_000000.png"].pixels).reshape(64, 64, -1)[..., :3] * 255).round())
    assert not list(folder.glob(".*"))


def test_render_into_a_folder_with_braces(synth):
    code, folder = synth("--count", 1, "--render", "--size", 32, out="run{blend_name}{x}")
    assert code == 0 and (folder / "thumbnails" / "face_000000.png").is_file()


def test_gltf_and_cycles_are_switched_on_where_they_are_off(synth, addon, monkeypatch, capfd):
    for name in ("io_scene_gltf2", "cycles"):
        addon_utils.disable(name)
    assert synth("--count", 1, "--format", "glb", "--render", "--size", 32)[0] == 0
    addon_utils.disable("io_scene_gltf2")
    monkeypatch.setattr(addon_utils, "enable", lambda name: None)
    assert synth("--count", 2, "--format", "glb", out="other")[0] == 1
    assert "glTF files need Blender's own add-on io_scene_gltf2" in capfd.readouterr().err
    monkeypatch.undo()
    addon_utils.enable("io_scene_gltf2")


def _loaded(path):
    return bpy.data.images.load(str(path))


def test_portraits_of_another_run_are_not_taken_for_ones_own(synth, capfd):
    _, folder = synth("--count", 1, "--render", "--size", 32)
    pictures = {path.name: path.read_bytes() for path in (folder / "thumbnails").iterdir()}
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    for _ in range(2):  # Into a folder without a run, then into one of a run without portraits.
        assert synth("--count", 1, "--seed", 2, "--render", "--size", 48)[0] == 2
        assert "thumbnails has face_000000.png, but run.json knows of no portraits" in capfd.readouterr().err
        assert {path.name: path.read_bytes() for path in (folder / "thumbnails").iterdir()} == pictures
        assert synth("--count", 1, "--seed", 2)[0] == 0


def test_render_can_be_added_later(synth):
    _, folder = synth("--count", 1)
    before = (folder / "face_000000.ply").stat().st_mtime_ns
    assert synth("--count", 1, "--render", "--size", 32)[0] == 0
    assert (folder / "thumbnails" / "face_000000.png").is_file()
    assert (folder / "face_000000.ply").stat().st_mtime_ns == before
    assert synth("--count", 1, "--render", "--size", 64)[0] == 2
    assert synth("--count", 1, "--overwrite")[0] == 0
    assert not list((folder / "thumbnails").iterdir()) and not (folder / "contact_sheet.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--count"),
        (("--count", "0"), "whole number"),
        (("--count", "many"), "whole number"),
        (("--count", "3", "--seed", "-1"), "whole number"),
        (("--count", "3", "--format", "fbx"), "fbx"),
        (("--count", "3", "--parts", "beard"), "beard"),
        (("--count", "3", "--strength", "nan"), "number from 0 to 10"),
        (("--count", "3", "--shard", "3/2"), "i/n"),
        (("--count", "3", "--model", "nowhere.lwae"), "nowhere.lwae"),
        (("--count", "3", "--format", "glb", "--units", "mm"), "metres"),
        (("--count", "3", "--shard", "1/2", "--overwrite"), "other shards"),
        (("--count", "3", "--shard", "\u00b2/3"), "i/n"),
        (("--out", "", "--count", "3"), "name of a folder"),
        (("--sources", "70000", "--targets", "70000"), "at most 2147483647"),
        (("--sources", "3"), "--targets"),
        (("--count", "3", "--sources", "3", "--targets", "3"), "--count"),
        (("--count", "3", "--wings"), "--wings"),
    ],
)
def test_wrong_arguments_get_a_sentence_and_code_2(synth, capfd, arguments, said):
    code, folder = synth(*arguments)
    assert code == 2
    error = capfd.readouterr().err
    assert said in error and error.startswith("lwae: ") and error.count("\n") == 1
    assert not folder.exists()


def test_unwritable_folder_is_said(addon, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    arguments = ["synth", "--count", "1", "--out", str(tmp_path / "file" / "faces")]
    assert addon("cli").main(arguments) in (1, 2)
    assert "file" in capfd.readouterr().err


def test_info_names_parts_and_controls(addon, model, capfd):
    assert addon("cli").main(["info"]) == 0
    text = capfd.readouterr().out
    assert all(name in text for name in model.part_names)
    assert model.controls[0].name in text and model.hash in text


def test_help_is_no_error(addon, capfd):
    assert addon("cli").main(["synth", "--help"]) == 0
    assert "--count" in capfd.readouterr().out


def test_scene_of_the_file_is_left_alone(synth):
    bpy.ops.mesh.primitive_cube_add()
    before = {item.name for item in bpy.context.scene.objects}
    assert synth("--count", 1, "--format", "stl", "--render", "--size", 32)[0] == 0
    assert {item.name for item in bpy.context.scene.objects} == before


def test_progress_is_one_line_on_a_terminal_and_few_lines_elsewhere(addon):
    class Stream(io.StringIO):
        terminal = True

        def isatty(self):
            return self.terminal

    terminal, log = Stream(), Stream()
    log.terminal = False
    for stream in (terminal, log):
        progress = addon("synth.progress").Progress(100, stream, terminal_interval=0)
        progress.advance(kept=40)
        for _ in range(60):
            progress.advance(made=1)
        progress.finish()
    assert terminal.getvalue().count("\n") == 1 and terminal.getvalue().count("\r") > 50
    assert "synth 99/100 faces, " in terminal.getvalue() and " left" in terminal.getvalue()
    assert log.getvalue().startswith("synth 100/100 faces, ") and log.getvalue().count("\n") == 1
    often = Stream()
    often.terminal = False
    progress = addon("synth.progress").Progress(1, often, log_interval=0)
    progress.advance(made=1)
    progress.finish()
    assert often.getvalue().count("\n") == 1


def test_workers_may_say_anything(addon, monkeypatch):
    """A library that writes in another encoding must not stop the run."""
    jobs, made = addon("synth.jobs"), []
    code = "import sys; sys.stdout.buffer.write(b'\\xff\\xfe odd\\nfaces 3 1\\n')"
    monkeypatch.setattr(jobs, "lwae_command", lambda: [sys.executable, "-c"])
    jobs.run_workers([[code], [code]], lambda **counts: made.append(counts), lambda: None)
    assert made == [{"made": 3, "kept": 1}] * 2


def test_a_worker_that_cannot_start_ends_the_others(addon, monkeypatch):
    jobs, started, popen = addon("synth.jobs"), [], subprocess.Popen

    def start(command, **options):
        if started:
            raise OSError("no more processes")
        started.append(popen(command, **options))
        return started[0]

    monkeypatch.setattr(jobs, "lwae_command", lambda: [sys.executable, "-c"])
    monkeypatch.setattr(jobs.subprocess, "Popen", start)
    with pytest.raises(OSError, match="no more"):
        jobs.run_workers([["import time; time.sleep(60)"]] * 2, lambda **_: None, lambda: None)
    assert started[0].poll() is not None


def test_render_where_blenders_views_are_missing(addon, tmp_path):
    """A studio's own OCIO configuration, as the environment names it."""
    config = tmp_path / "config.ocio"
    config.write_text(OCIO)
    command = [*addon("synth.jobs").lwae_command(), "synth", "--out", str(tmp_path / "faces"), "--count", "1"]
    environment = dict(os.environ, OCIO=str(config))
    environment.pop("LWAE_TEST")
    done = subprocess.run(
        [*command, "--render", "--size", "32"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "faces" / "contact_sheet.png").is_file()
