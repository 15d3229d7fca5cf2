# SPDX-License-Identifier: GPL-3.0-or-later
"""The Batch panel makes what the command line makes, byte for byte; it is stopped, resumed and refused like it."""

import json
import time

import bpy
import pytest

from backend.lwae_file import save_model
from tests.toy import toy_model


@pytest.fixture
def settings(tmp_path):
    """The scene's, asking for 70 faces in a new folder."""
    result = bpy.context.scene.lwae_batch
    result.folder, result.count, result.seed = str(tmp_path / "panel"), 70, 7
    return result


@pytest.fixture
def command_line(addon, tmp_path):
    def run(*arguments):
        folder = tmp_path / "command"
        assert addon("cli").main(["synth", "--out", str(folder), *map(str, arguments)]) == 0
        return content(folder)

    return run


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(addon):
    return addon("batch").last[1]


def test_same_bytes_as_the_command_line(settings, command_line, tmp_path, addon):
    settings.strength = 0.7
    assert bpy.ops.lwae.batch_make() == {"FINISHED"}
    made = content(tmp_path / "panel")
    assert len([name for name in made if name.endswith(".ply")]) == 70
    assert made == command_line("--count", 70, "--seed", 7, "--strength", 0.7)
    assert said(addon).startswith("70 faces are in ") and str(tmp_path / "panel") in said(addon)
    assert addon("batch").running is None


def test_combinations_of_some_parts_in_millimetres_by_two_processes(settings, command_line, tmp_path, model):
    settings.kind, settings.sources, settings.targets = "COMBINATIONS", 3, 12
    settings.format, settings.unit, settings.jobs, settings.strength = "npz", "mm", 2, 0.5
    settings.parts = [index < 2 for index in range(len(settings.parts))]
    assert bpy.ops.lwae.batch_make() == {"FINISHED"}
    names = ",".join(model.part_names[:2])
    options = ("--sources", 3, "--targets", 12, "--seed", 7, "--strength", 0.5, "--parts", names)
    made = content(tmp_path / "panel")
    assert made == command_line(*options, "--format", "npz", "--units", "mm")
    assert "faces_000064.npz" in made


def test_portraits_and_one_share(settings, command_line, tmp_path):
    settings.count, settings.portraits, settings.size, settings.format = 66, True, 32, "stl"
    settings.share, settings.shares = 2, 2
    assert bpy.ops.lwae.batch_make() == {"FINISHED"}
    made = content(tmp_path / "panel")
    assert {"thumbnails/face_000064.png", "faces.2-of-2.csv", "contact_sheet.2-of-2.png"} < made.keys()
    assert "face_000000.stl" not in made
    options = ("--count", 66, "--seed", 7, "--format", "stl", "--render", "--size", 32, "--shard", "2/2")
    same = command_line(*options)
    assert made.keys() == same.keys()
    pictures = [name for name in made if name.startswith("thumbnails")]  # Blender writes the date into them.
    assert len(pictures) == 2
    assert all(made[name] == same[name] for name in made if name not in pictures)


def test_another_job_in_the_folder_is_refused_with_the_sentence_of_synth(settings, tmp_path, addon):
    settings.count = 3
    bpy.ops.lwae.batch_make()
    before = content(tmp_path / "panel")
    settings.count = 4
    with pytest.raises(RuntimeError, match="was made with count = 3, not 4; use the same arguments to continue it"):
        bpy.ops.lwae.batch_make()
    assert content(tmp_path / "panel") == before
    assert addon("batch").running is None
    settings.format = "npz"
    assert bpy.ops.lwae.batch_afresh() == {"FINISHED"}
    assert set(content(tmp_path / "panel")) == {"faces.csv", "faces_000000.npz", "run.json", "template.npz"}


def test_stopped_and_resumed_with_its_own_settings(settings, command_line, tmp_path, addon):
    """Stopped as Esc does it; the panel meanwhile asks for something else, and Resume takes what the run asked for."""
    options = ("--count", 1200, "--seed", 2**40, "--strength", 0.123456789, "--units", "mm")
    run = addon("synth.child").SynthProcess(["synth", "--out", str(tmp_path / "panel"), *map(str, options)])
    for _ in range(1500):
        if run.poll() or run.progress.done > 50:
            break
        time.sleep(0.02)
    assert run.progress.total == 1200, run.progress
    run.stop()
    run.wait()
    run.poll()
    assert 50 < run.progress.done < 1200, "it was stopped in the middle"
    names = set(content(tmp_path / "panel"))
    assert "faces.csv" not in names and not [name for name in names if name.startswith(".")]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "panel").glob("face_*.ply")}
    assert bpy.ops.lwae.batch_resume() == {"FINISHED"}
    assert settings.count == 1200 and settings.unit == "mm" and abs(settings.strength - 0.123456789) < 1e-6
    assert all(path.stat().st_mtime_ns == times[path] for path in times), "what was there is not made again"
    assert content(tmp_path / "panel") == command_line(*options)


def test_run_ends_when_its_blender_is_killed(addon, tmp_path):
    """Whoever started it is gone when its standard input closes, in whatever way."""
    arguments = ["synth", "--out", str(tmp_path / "panel"), "--count", "200000", "--jobs", "2"]
    run = addon("synth.child").SynthProcess(arguments)
    while not run.poll() and run.progress.done < 50:
        time.sleep(0.05)
    assert run.progress.done >= 50, run.progress
    run._process.stdin.close()
    start = time.monotonic()
    assert run._process.wait(20) == 143
    assert time.monotonic() - start < 20
    made = len(list((tmp_path / "panel").glob("face_*.ply")))
    time.sleep(1)
    assert len(list((tmp_path / "panel").glob("face_*.ply"))) == made, "its workers ended too"


def test_wrong_settings_get_a_sentence_and_start_nothing(settings, tmp_path, addon):
    cases = [
        ({"folder": ""}, "Choose a folder"),
        ({"folder": "//faces"}, "not saved yet"),
        ({"share": 3, "shares": 2}, "no share 3 of 2"),
        ({"parts": [False] * len(settings.parts)}, "at least one part"),
    ]
    for values, sentence in cases:
        before = {name: getattr(settings, name) for name in values}
        before = {name: list(value) if name == "parts" else value for name, value in before.items()}
        for name, value in values.items():
            setattr(settings, name, value)
        with pytest.raises(RuntimeError, match=sentence):
            bpy.ops.lwae.batch_make()
        for name, value in before.items():
            setattr(settings, name, value)
    assert not (tmp_path / "panel").exists() and addon("batch").running is None


def test_resumed_with_the_model_of_the_run(settings, tmp_path, addon):
    """Not with the one that new faces get now."""
    installed = addon("model_list").folder(create=True) / "toy.lwae"
    toy = toy_model()
    toy.header["name"] = "Toy"
    save_model(toy, installed)
    options = ("--count", "4", "--seed", "5", "--parts", ",".join(toy.part_names[:2]))
    try:
        assert addon("cli").main(["synth", "--model", "Toy", "--out", settings.folder, *options]) == 0
        made = content(tmp_path / "panel")
        for name in ("face_000002.ply", "faces.csv"):
            (tmp_path / "panel" / name).unlink()
        assert addon("batch").model().name == "Adult Heads"
        assert bpy.ops.lwae.batch_resume() == {"FINISHED"}
        assert content(tmp_path / "panel") == made
    finally:
        addon("models").forget(installed)
        installed.unlink()
    addon("models").clear()
    with pytest.raises(RuntimeError, match="made with the model Toy; install that"):
        bpy.ops.lwae.batch_resume()


def test_parts_beyond_the_buttons_are_chosen(settings, addon):
    settings.parts = [index == 3 for index in range(len(settings.parts))]
    many = type("Model", (), {"part_names": [str(index) for index in range(34)]})
    assert addon("batch").chosen_parts(settings, many) == ["3", "32", "33"]


def test_resume_needs_a_run(settings, tmp_path, addon):
    assert not bpy.ops.lwae.batch_resume.poll()
    (tmp_path / "panel").mkdir()
    (tmp_path / "panel" / "run.json").write_text(json.dumps({"model": {}, "arguments": {"count": 1, "format": "ply"}}))
    assert bpy.ops.lwae.batch_resume.poll()
    with pytest.raises(RuntimeError, match="another version"):
        bpy.ops.lwae.batch_resume()
    (tmp_path / "panel" / "run.json").write_text("{")
    with pytest.raises(RuntimeError, match="not a record"):
        bpy.ops.lwae.batch_resume()


def test_folder_that_cannot_be_made_is_said(settings, tmp_path):
    (tmp_path / "file").write_text("")
    settings.folder = str(tmp_path / "file" / "faces")
    with pytest.raises(RuntimeError, match="Cannot use the folder"):
        bpy.ops.lwae.batch_make()


def test_settings_are_saved_with_the_file(settings, tmp_path):
    settings.kind, settings.targets, settings.format = "COMBINATIONS", 4, "obj"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    assert bpy.context.scene.lwae_batch.targets == 11
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    again = bpy.context.scene.lwae_batch
    assert (again.kind, again.targets, again.format) == ("COMBINATIONS", 4, "obj")


def test_a_folder_of_one_share_is_resumed_by_that_share(settings, tmp_path, addon):
    """Set in a new file, where the settings ask for all; other shares in the folder count."""
    settings.count, settings.format = 200, "npz"
    settings.share, settings.shares = 2, 3
    assert bpy.ops.lwae.batch_make() == {"FINISHED"}
    folder, made = tmp_path / "panel", content(tmp_path / "panel")
    (folder / "faces_000064.npz").unlink()
    settings.share = settings.shares = 1
    assert bpy.ops.lwae.batch_resume() == {"FINISHED"}
    assert (settings.share, settings.shares) == (2, 3) and content(folder) == made
    settings.share = 1
    assert bpy.ops.lwae.batch_make() == {"FINISHED"}
    assert json.loads((folder / "run.json").read_text())["shares"] == ["1/3", "2/3"]
    settings.share = settings.shares = 1
    addon("batch").take_arguments(settings)
    assert (settings.share, settings.shares) == (1, 1)
    assert addon("synth.folder").only_share(folder, ["2/3"]) == (1, 1), "others' faces are there"
