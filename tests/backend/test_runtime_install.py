# SPDX-License-Identifier: GPL-3.0-or-later
"""pip installs small packages from a folder; only their number and size differ from PyTorch's."""

import http.client
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from backend import runtime_install
from backend.errors import LwaeError
from backend.runtime_install import (
    ENVIRONMENT,
    HEARTBEAT,
    UNFINISHED,
    RuntimeInstall,
    as_size,
    clear_removed,
    default_python,
    remove_runtime,
    runtime_python,
)

pytest.importorskip("ensurepip")
pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).parents[2]


def make_wheel(folder: Path, name: str, needs: str = "", content: str = "") -> Path:
    """A wheel with one module."""
    folder.mkdir(exist_ok=True)
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    information = f"{name}-1.5.dist-info"
    files = {
        f"{name}.py": content or f"NAME = {name!r}\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n{requires}",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{information}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{information}/RECORD"])
    path = folder / f"{name}-1.5-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


@pytest.fixture
def index(tmp_path):
    make_wheel(tmp_path / "wheels", "lwae_sample", needs="lwae_helper")
    make_wheel(tmp_path / "wheels", "lwae_helper")
    return ["--no-index", "--find-links", str(tmp_path / "wheels")]


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """An environment with pip, which takes seconds to make."""
    path = tmp_path_factory.mktemp("blank") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
    return path


@pytest.fixture(autouse=True)
def copied_environments(request, monkeypatch):
    """All tests but the first get copies of one environment."""
    if "size_first" in request.node.name or "index" not in request.fixturenames:
        return
    blank, call = request.getfixturevalue("blank"), RuntimeInstall._call

    def quick(self, python, module, *arguments, **options):
        if module == "venv" and Path(python).exists():
            shutil.copytree(blank, arguments[0], symlinks=True, dirs_exist_ok=True)
        else:
            call(self, python, module, *arguments, **options)

    monkeypatch.setattr(RuntimeInstall, "_call", quick)


def install(folder, options, packages=("lwae_sample",), check=lambda python: None):
    return RuntimeInstall(folder, sys.executable, packages, options, check)


def wait_for(job, state, seconds=60):
    end = time.monotonic() + seconds
    while job.state != state and job.is_running and time.monotonic() < end:
        time.sleep(0.05)
    assert job.state == state, (job.state, job.error)


def test_size_first_then_a_complete_environment(tmp_path, index, monkeypatch):
    folder, checked = tmp_path / "runtime", []
    job = install(folder, index, check=checked.append)
    job.start()
    wait_for(job, "READY")
    assert sorted(job.packages) == ["lwae_helper==1.5", "lwae_sample==1.5"]
    assert job.download_bytes == sum(path.stat().st_size for path in (tmp_path / "wheels").iterdir())
    assert job.is_size_known and job.disk_bytes > job.download_bytes
    assert runtime_python(folder) == "", "nothing is installed before it is agreed to"
    job.go_on()
    job.join(60)
    assert (job.state, job.error) == ("DONE", "")
    python = runtime_python(folder)
    assert subprocess.check_output([python, "-c", "import lwae_sample, lwae_helper; print(1)"], text=True) == "1\n"
    assert checked == [str(folder / UNFINISHED / Path(python).relative_to(folder / ENVIRONMENT))]
    assert [path.name for path in folder.iterdir()] == [ENVIRONMENT]
    monkeypatch.setattr(runtime_install, "_clear_removed", lambda folder: time.sleep(1))
    removing = remove_runtime(folder)
    assert removing.is_alive(), "nobody waits for the files to go"
    assert runtime_python(folder) == "" and not (folder / ENVIRONMENT).exists()
    removing.join()
    monkeypatch.undo()
    assert len(list(folder.iterdir())) == 1
    remove_runtime(folder).join()
    assert not list(folder.iterdir()), "what a killed Blender left goes too"


def test_cancelled_before_and_during(tmp_path, index):
    folder = tmp_path / "runtime"
    for moment in ("at once", "READY", "INSTALLING"):
        # Its check takes long, so that the last one is cancelled in the middle.
        job = install(folder, index, check=lambda python: time.sleep(1))
        job.start()
        if moment != "at once":
            wait_for(job, "READY")
        if moment == "INSTALLING":
            job.go_on()
            while job.phase != "Trying it" and job.is_running:
                time.sleep(0.02)
        job.cancel()
        assert job.state == "CANCELLED" and not list(folder.iterdir()), moment


def test_failures_are_one_sentence_and_leave_nothing(tmp_path, index):
    folder = tmp_path / "runtime"

    def useless(python):
        raise LwaeError("no device")

    for packages, check, match in (
        (("lwae_nothing",), None, "pip finds no PyTorch to install: No matching distribution found for lwae_nothing"),
        (("lwae_sample",), useless, "no device"),
    ):
        job = install(folder, index, packages, check)
        job.go_on()
        job.start()
        job.join(60)
        assert job.state == "FAILED" and match in job.error
        assert not list(folder.iterdir()) and not runtime_python(folder)


@pytest.mark.parametrize("cancelled", [False, True])
def test_it_runs_until_all_is_cleaned_up(tmp_path, index, monkeypatch, cancelled):
    """Another installation may begin once it does not."""
    job, seen, rmtree = install(tmp_path / "runtime", index, ("lwae_nothing",)), [], shutil.rmtree

    def watched(path, **options):
        if Path(path).name == UNFINISHED:
            seen.append(job.is_running)
        rmtree(path, **options)

    monkeypatch.setattr(runtime_install.shutil, "rmtree", watched)
    job.start()
    if cancelled:
        job.cancel()
    job.join(60)
    assert job.state == ("CANCELLED" if cancelled else "FAILED") and seen and all(seen)


def test_a_python_that_is_none(tmp_path, index):
    job = RuntimeInstall(tmp_path / "runtime", str(tmp_path / "nothing"), ("lwae_sample",), index)
    job.start()
    job.join(10)
    assert job.state == "FAILED" and "No such file" in job.error


def test_a_failed_installation_keeps_the_old_one(tmp_path, index):
    folder = tmp_path / "runtime"
    (folder / ENVIRONMENT / "bin").mkdir(parents=True)
    (folder / ENVIRONMENT / "bin" / "python").write_text("old")
    job = install(folder, index, ("lwae_nothing",))
    job.start()
    job.join(60)
    assert job.state == "FAILED" and runtime_python(folder)


def test_a_new_one_takes_the_place_of_the_old_one_or_leaves_it(tmp_path, index, monkeypatch):
    """Gigabytes of an old environment are not deleted where one is looked for."""
    folder, rename = tmp_path / "runtime", Path.rename
    (folder / ENVIRONMENT / "old").mkdir(parents=True)

    def held(path, target):
        if path.name == UNFINISHED:
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    for patched, state in ((held, "FAILED"), (rename, "DONE")):
        monkeypatch.setattr(Path, "rename", patched)
        monkeypatch.setattr(runtime_install, "_clear_removed", lambda folder: None)
        job = install(folder, index)
        job.go_on()
        job.start()
        job.join(60)
        assert job.state == state
        assert (folder / ENVIRONMENT / "old").exists() == (state == "FAILED")
    assert len(list(folder.glob("environment.removed-*/old"))) == 1
    monkeypatch.undo()
    clear_removed(folder).join()
    assert [path.name for path in folder.iterdir()] == [ENVIRONMENT]


def test_it_shows_that_it_is_at_work_while_it_checks(tmp_path, index, monkeypatch):
    """Another Blender would take it for a killed one's leftovers and remove it; a check may take two minutes."""
    monkeypatch.setattr(runtime_install, "BEAT_SECONDS", 0.05)
    heartbeat, ages = tmp_path / "runtime" / UNFINISHED / HEARTBEAT, []

    def check(python):
        os.utime(heartbeat, (0, 0))
        time.sleep(0.5)
        ages.append(time.time() - heartbeat.stat().st_mtime)

    job = install(tmp_path / "runtime", index, check=check)
    job.go_on()
    job.start()
    job.join(60)
    assert job.state == "DONE" and ages[0] < 5


def test_what_nobody_thought_of_fails_with_a_sentence(tmp_path, index, caplog):
    def broken(python):
        raise RuntimeError

    job = install(tmp_path / "runtime", index, check=broken)
    job.go_on()
    job.start()
    with caplog.at_level(logging.ERROR):
        job.join(60)
    assert job.state == "FAILED" and "unexpectedly (RuntimeError)" in job.error
    assert "in broken" in caplog.text, "the traceback"


def test_a_server_that_speaks_no_http_has_packages_of_unknown_size(monkeypatch):
    def answer(*arguments, **options):
        raise http.client.BadStatusLine("nonsense")

    monkeypatch.setattr(runtime_install.urllib.request, "urlopen", answer)
    assert runtime_install._download_size("http://127.0.0.1/x.whl") == 0


def test_leftovers_of_a_killed_blender_go_and_work_in_progress_stays(tmp_path, index):
    folder = tmp_path / "runtime"
    part = folder / UNFINISHED
    part.mkdir(parents=True)
    (part / HEARTBEAT).touch()
    job = install(folder, index)
    job.start()
    job.join(10)
    assert job.state == "FAILED" and "Another Blender is installing" in job.error
    assert (part / HEARTBEAT).exists()
    past = time.time() - 3600
    for path in (part / HEARTBEAT, part):
        os.utime(path, (past, past))
    (part / "left").mkdir()
    os.utime(part, (past, past))
    job = install(folder, index)
    job.start()
    wait_for(job, "READY")
    assert not (part / "left").exists()
    job.cancel()


def test_what_a_deleted_runtime_left_goes_and_nothing_else(tmp_path):
    """Blender ended while gigabytes were being removed; another one may be installing."""
    assert clear_removed(tmp_path / "missing") is None and clear_removed(tmp_path) is None
    for name in ("environment", "environment.part", "environment.removed-1", "environment.removed-23"):
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "lib" / "file").touch()
    clear_removed(tmp_path).join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["environment", "environment.part"]
    assert clear_removed(tmp_path) is None


def test_too_full_a_disk_is_noticed_before(tmp_path, index, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(runtime_install.shutil, "disk_usage", lambda folder: usage)
    job = install(tmp_path / "runtime", index)
    job.start()
    job.join(60)
    assert job.state == "FAILED" and "only 0 MB are free" in job.error


def test_pip_ends_with_its_parent(tmp_path):
    """A killed Blender leaves no pip behind that goes on downloading."""
    code = """
import subprocess, sys
from backend.runtime_install import WATCHED
child = subprocess.Popen([sys.executable, "-c", WATCHED, "http.server", "--bind", "127.0.0.1", "0"],
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
input()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    state = Path(f"/proc/{pid}/stat")
    assert state.exists()
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 5
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < end:
        time.sleep(0.05)
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_pip_and_venv_start_does_not_share_their_stdin(tmp_path):
    """The pipe that tells when Blender ends: a thread reads it all the time."""
    (tmp_path / "probe.py").write_text(
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; print(repr(sys.stdin.read()))'])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", runtime_install.WATCHED, "probe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    try:
        assert child.wait(timeout=20) == 0 and child.stdout.read().split() == [b"''"]
    finally:
        child.kill()
        child.stdin.close()


def test_the_real_check_wants_pytorch():
    runtime_install.check_python(sys.executable)
    with pytest.raises(LwaeError, match="choose the executable"):
        runtime_install.check_python("/nowhere/python")


def test_default_python_is_one():
    assert subprocess.check_output([default_python(), "-c", "print(6 * 7)"], text=True).strip() == "42"


def test_sizes_are_readable():
    assert [as_size(count) for count in (0, 812e6, 2.94e9)] == ["0 MB", "812 MB", "2.9 GB"]


def test_no_registry_is_named():
    """Where packages come from is pip's own configuration."""
    for path in (ROOT / "backend").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text.replace("docs.", ""), path.name
