# SPDX-License-Identifier: GPL-3.0-or-later
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build_addon
import make
from backend.lwae_file import save_model
from tests.toy import toy_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def toy(tmp_path):
    save_model(toy_model(), tmp_path / "toy.lwae")
    return tmp_path / "toy.lwae"


def test_zip_holds_the_addon_the_backend_and_the_model(toy, tmp_path):
    archive = build_addon.build(toy, tmp_path / "out")
    manifest = (ROOT / "blender_lwae" / "blender_manifest.toml").read_text()
    assert f'version = "{archive.stem.split("-")[1]}"' in manifest
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        assert opened.read("models/default.lwae") == toy.read_bytes()
        assert opened.read("backend/model.py") == (ROOT / "backend" / "model.py").read_bytes()
    assert {"__init__.py", "blender_manifest.toml", "cli.py", "synth/run.py", "backend/__init__.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("/", "tests", "trainer"))]
    assert [name for name in names if name.endswith(".lwae")] == ["models/default.lwae"]


def test_equal_content_gives_equal_bytes(toy, tmp_path):
    """Also from another folder, with other file dates and leftovers lying about."""
    copy = tmp_path / "copy"
    for name in ("blender_lwae", "backend"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.lwae", "__pycache__"))
    if (ROOT / "LICENSE").exists():
        shutil.copy(ROOT / "LICENSE", copy)
    for path in copy.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
    (copy / "backend" / "__pycache__").mkdir()
    (copy / "backend" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (copy / "blender_lwae" / ".hidden").write_text("x")
    first = build_addon.build(toy, tmp_path / "a").read_bytes()
    assert build_addon.build(toy, tmp_path / "b", root=copy).read_bytes() == first


def test_refusals_are_one_sentence(toy, tmp_path, monkeypatch, capsys):
    assert build_addon.main(["--model", str(tmp_path / "none.lwae"), "--out", str(tmp_path / "out")]) == 1
    assert "none.lwae" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a.txt", "a")
    (tmp_path / "notes.txt").write_text("PK")
    for name in ("other.zip", "notes.txt"):
        assert build_addon.main(["--model", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
        assert f"{name} is no model" in capsys.readouterr().err
    good = build_addon.build(toy, tmp_path / "good")
    before = good.read_bytes()
    monkeypatch.setattr(build_addon, "MAX_BYTES", 1000)
    for out in ("out", "good"):
        assert build_addon.main(["--model", str(toy), "--out", str(tmp_path / out)]) == 1
        assert "MB" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
    assert list((tmp_path / "good").iterdir()) == [good] and good.read_bytes() == before
    with pytest.raises(build_addon.BuildError, match="complete checkout"):
        build_addon.build(toy, tmp_path / "out", root=tmp_path)


def test_bundled_model_fits():
    if not build_addon.DEFAULT_MODEL.is_file():
        pytest.fail("the default model is missing: blender_lwae/models/default.lwae")
    assert build_addon.DEFAULT_MODEL.stat().st_size < build_addon.MAX_BYTES


def test_command_line(toy, tmp_path):
    words = [sys.executable, str(ROOT / "build_addon.py"), "--model", str(toy), "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert re.fullmatch(r".*blender_lwae-\d+\.\d+\.\d+\.zip \(\d+\.\d\d MB\)\n", done.stdout)


def test_readme_begins_with_the_two_commands():
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[:2] == ["python3 make.py faces\n", "python3 make.py test\n"]


def test_blender_that_is_none_is_said(monkeypatch):
    monkeypatch.setenv("BLENDER", "/nowhere/blender")
    with pytest.raises(make.MakeError, match="/nowhere/blender"):
        make.blender_program()
    monkeypatch.delenv("BLENDER")
    assert make.blender_program() is None


def test_missing_pythons_are_said(monkeypatch):
    monkeypatch.setattr(make, "BPY_PYTHONS", ((3, 2),))
    with pytest.raises(make.MakeError, match=r"Python 3\.2.*BLENDER"):
        make.python_for_bpy()


def test_commands_are_stopped_at_their_limit(tmp_path):
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(make.MakeError, match="Sleeping took more than"):
        make.run(sleeper, 0.5, "Sleeping")
    with pytest.raises(make.MakeError, match="exit code 3"):
        make.run([sys.executable, "-c", "raise SystemExit(3)"], 60, "Failing")
