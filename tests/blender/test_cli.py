# SPDX-License-Identifier: GPL-3.0-or-later
"""The `lwae` command as a process: exit codes, killing and continuing, stopping, a full disk."""

import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest
from run_in_blender import build_zip

import make

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")
COUNT = 600
IN_BPY = """
import os, sys, bpy, addon_utils
name = "bl_ext.user_default.blender_lwae"
addon_utils.enable(name)
code = sys.modules[name + ".cli"].main(sys.argv[1:])
sys.stdout.flush(), sys.stderr.flush()
os._exit(code)
"""


@pytest.fixture(scope="module", params=["bpy", "blender"])
def command(request, tmp_path_factory):
    """Words that start the command, and the environment for them: in the `bpy` module, and in BLENDER."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "resources").mkdir()
    archive = str(build_zip(folder))
    env = dict(os.environ, BLENDER_USER_RESOURCES=str(folder / "resources"))
    if request.param == "bpy":
        if importlib.util.find_spec("bpy") is None:
            pytest.skip("there is no bpy for this Python")
        subprocess.run([sys.executable, "-c", make.SYNTH_IN_BPY, archive, "info"], env=env, check=True, timeout=120)
        return [sys.executable, "-c", IN_BPY], env
    blender = make.blender_program()
    if blender is None:
        pytest.skip("the environment variable BLENDER names no Blender")
    install = [blender, "--command", "extension", "install-file", "-r", "user_default", "--enable", archive]
    subprocess.run(install, env=env, check=True, timeout=120, stdout=subprocess.DEVNULL)
    return [blender, "-b", "--command", "lwae"], env


@pytest.fixture
def start(command):
    """Starts the command; what still runs at the end is killed."""
    processes = []

    def run(*arguments, **options):
        words, env = command
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen([*words, *map(str, arguments)], env=env, **pipes, **options))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def finish(process):
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error


def synth(folder, count=COUNT):
    return "synth", "--count", count, "--seed", 3, "--out", folder


def wait_for(path, process):
    for _ in range(6000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"{path.name} never came")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_and_continued_equals_uninterrupted_in_two_processes(start, tmp_path):
    code, _, error = finish(start(*synth(tmp_path / "whole"), "--jobs", 2, "--overwrite"))
    assert code == 0 and f"synth {COUNT}/{COUNT} faces" in error, error
    process = start(*synth(tmp_path / "killed"))
    wait_for(tmp_path / "killed" / "face_000100.ply", process)
    process.kill()
    process.communicate()
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert "faces.csv" not in names and len(names) < COUNT, "it was killed in the middle"
    code, _, error = finish(start(*synth(tmp_path / "killed")))
    assert code == 0
    assert f"synth {COUNT}/{COUNT} faces" in error
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_shards_can_start_at_once_in_one_folder(start, tmp_path):
    shards = 4
    command = ("synth", "--count", 64 * shards, "--format", "npz", "--out", tmp_path / "farm")
    processes = [start(*command, "--shard", f"{i + 1}/{shards}") for i in range(shards)]
    assert [finish(process)[0] for process in processes] == [0] * shards
    names = {path.name for path in (tmp_path / "farm").iterdir()}
    blocks = {f"faces_{64 * i:06d}.npz" for i in range(shards)}
    assert names == blocks | {f"faces.{i + 1}-of-{shards}.csv" for i in range(shards)} | {"run.json", "template.npz"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_stop_it_cleanly(start, tmp_path, number, code):
    process = start(*synth(tmp_path / "faces", 20000))
    wait_for(tmp_path / "faces" / "face_000010.ply", process)
    process.send_signal(number)
    returned, _, error = finish(process)
    assert returned == code
    assert "the same command continues it" in error
    names = [path.name for path in (tmp_path / "faces").iterdir()]
    assert not [name for name in names if name.startswith(".")] and "faces.csv" not in names


def test_exit_codes(start, tmp_path):
    code, out, _ = finish(start("synth", "--count", 2, "--out", tmp_path / "faces"))
    assert code == 0 and str(tmp_path / "faces") in out
    code, _, error = finish(start("synth", "--count", 2, "--out", tmp_path / "others", "--format", "fbx"))
    assert code == 2 and len([line for line in error.splitlines() if line.startswith("lwae: ")]) == 1


def test_full_disk_is_said_and_leaves_nothing_half_written(start, tmp_path):
    """A limit on the size of files stands in for the disk's."""
    import resource

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    (tmp_path / "faces").mkdir()
    process = start(*synth(tmp_path / "faces", 5), preexec_fn=limited)
    code, _, error = finish(process)
    assert code == 1
    assert "Cannot write" in error and "Traceback" not in error
    assert {path.name for path in (tmp_path / "faces").iterdir()} <= {"run.json", "template.npz"}
