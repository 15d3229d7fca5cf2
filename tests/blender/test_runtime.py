# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process behind the sliders: chosen, used, lost, stopped. LWAE_TORCH_PYTHON names a Python with PyTorch;
otherwise the one that runs these tests is tried."""

import importlib.util
import logging
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import addon_utils
import bpy
import numpy as np
import pytest
from conftest import ADDON
from helpers import positions, slide

PYTHON = os.environ.get("LWAE_TORCH_PYTHON") or (sys.executable if importlib.util.find_spec("torch") else "")
needs_torch = pytest.mark.skipif(not PYTHON, reason="no Python with PyTorch")


@pytest.fixture
def settings(addon):
    yield addon("model_list").preferences()
    addon("runtime").stop()
    preferences = addon("model_list").preferences()  # Another one after disabling and enabling.
    preferences.gpu_device = preferences.gpu_python = ""
    preferences.gpu_python_source = "INSTALLED"


@pytest.fixture
def chosen(settings, addon, new_face):
    """A face whose sliders the worker moves."""
    settings.gpu_python_source, settings.gpu_python = "OWN", PYTHON
    assert bpy.ops.lwae.use_device(device="cpu") == {"FINISHED"}
    face = new_face()
    wait_for_worker(addon, face.data)
    return face


def is_running(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def wait_for_worker(addon, mesh):
    models, runtime = addon("models"), addon("runtime")
    model = addon("face").model_of(mesh)
    end = time.monotonic() + 120
    while models.decoder(model) is models.tools(model).decoder and time.monotonic() < end:
        assert not runtime.session().lost, runtime.session().lost
        time.sleep(0.05)
    assert models.decoder(model) is not models.tools(model).decoder


def numpy_positions(addon, mesh):
    """What NumPy alone makes of the sliders, metres."""
    shape, model = addon("shape"), addon("face").model_of(mesh)
    decoder, models = addon("models").tools(model).decoder, addon("models")
    original, models.decoder = models.decoder, lambda _model: decoder
    try:
        return shape.shape(mesh, model, shape.read_values(mesh.lwae)) / 1000
    finally:
        models.decoder = original


def test_nothing_starts_unasked(addon, settings, new_face):
    mesh = new_face().data
    slide(mesh, 1)
    assert addon("runtime").session() is None
    assert not addon("runtime").is_chosen()


@needs_torch
def test_sliders_by_way_of_the_worker(addon, chosen):
    mesh = chosen.data
    session = addon("runtime").session()
    calls, original = [], session.worker.compute
    session.worker.compute = lambda *arguments: calls.append(arguments[0]) or original(*arguments)
    for value in (0.5, -2, 3):
        slide(mesh, value)
        assert np.abs(positions(mesh) - numpy_positions(addon, mesh)).max() < 1e-7 + 1e-4 / 1000
    assert calls == ["decode"] * 3
    assert addon("face").trouble(mesh) is None
    assert addon("runtime").device_name().startswith("Processor")


@needs_torch
def test_killed_in_the_middle_of_a_drag(addon, chosen, caplog):
    mesh, runtime = chosen.data, addon("runtime")
    panel = bpy.types.LWAE_PT_runtime
    assert not panel.poll(bpy.context)
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            if number == 4:
                os.kill(runtime.session().worker.pid, signal.SIGKILL)
            slide(mesh, number / 5)
            assert np.abs(positions(mesh) - numpy_positions(addon, mesh)).max() < 2e-7
    told = [record for record in caplog.records if "NumPy" in record.getMessage()]
    assert len(told) == 1 and "ended unexpectedly" in told[0].getMessage()
    assert panel.poll(bpy.context) and runtime.session().lost
    assert bpy.ops.lwae.restart_worker() == {"FINISHED"}
    wait_for_worker(addon, mesh)
    assert not panel.poll(bpy.context)


@needs_torch
def test_back_to_numpy_and_disabling_end_the_process(addon, chosen, settings):
    first = addon("runtime").session().worker.pid
    bpy.ops.lwae.use_device(device="")
    assert addon("runtime").session() is None and not is_running(first)
    slide(chosen.data, 1)
    assert addon("runtime").session() is None
    bpy.ops.lwae.use_device(device="cpu")
    wait_for_worker(addon, chosen.data)
    second = addon("runtime").session().worker.pid
    addon_utils.disable(ADDON)
    try:
        assert not is_running(second)
    finally:
        addon_utils.enable(ADDON)


@needs_torch
def test_devices_are_listed_before_one_is_chosen(addon, settings):
    settings.gpu_python_source, settings.gpu_python = "OWN", PYTHON
    bpy.ops.lwae.restart_worker()
    session = addon("runtime").session()
    end = time.monotonic() + 120
    while not session.has_started and not session.lost and time.monotonic() < end:
        time.sleep(0.05)
    assert session.lost == "" and session.worker.devices[-1].id == "cpu"
    assert not addon("runtime").is_chosen()


def test_a_python_that_is_none_is_one_sentence(addon, settings, new_face, tmp_path):
    mesh = new_face().data
    settings.gpu_python_source, settings.gpu_python = "OWN", str(tmp_path / "nothing")
    bpy.ops.lwae.use_device(device="cpu")
    end = time.monotonic() + 20
    while not addon("runtime").session().lost and time.monotonic() < end:
        time.sleep(0.02)
    assert "choose the executable of a Python" in addon("runtime").session().lost
    before = positions(mesh)
    slide(mesh, 2)
    assert np.abs(positions(mesh) - before).max() > 1e-3, "sliders work all the same"


@pytest.mark.parametrize("error", [ValueError("odd answer"), KeyError("devices"), OSError()])
def test_whatever_fails_at_the_start_is_a_loss_and_is_not_tried_again(addon, settings, new_face, monkeypatch, error):
    mesh, starts = new_face().data, []

    def start(_worker, **_):
        starts.append(1)
        raise error

    monkeypatch.setattr(addon("backend.worker_client").Worker, "start", start)
    settings.gpu_python_source, settings.gpu_python = "OWN", sys.executable
    bpy.ops.lwae.use_device(device="cpu")
    end = time.monotonic() + 20
    while addon("runtime").session().is_busy and time.monotonic() < end:
        time.sleep(0.02)
    assert addon("runtime").session().lost
    for value in (1, 2):
        slide(mesh, value)
    assert len(starts) == 1


def test_disabling_does_not_wait_for_a_server(addon):
    """An installation that asks a server for sizes cannot be cancelled at once."""
    runtime = addon("runtime")
    job = SimpleNamespace(is_running=True, waits=[])
    job.cancel = lambda wait=True: job.waits.append(wait)
    job.join = lambda timeout=None: job.waits.append(timeout)
    runtime._installation = job
    runtime.end()
    assert job.waits[0] is False and 0 < job.waits[1] < 5 and runtime.installation() is None


def test_without_a_python_numpy_goes_on(addon, settings, new_face):
    """The installed runtime was removed by hand."""
    settings.gpu_device = "cuda:0"
    mesh = new_face().data
    before = positions(mesh)
    slide(mesh, 2)
    assert np.abs(positions(mesh) - before).max() > 1e-3 and addon("runtime").session() is None
    with pytest.raises(RuntimeError, match="Choose or install a Python"):
        bpy.ops.lwae.restart_worker()


def test_installing_needs_online_access():
    if not bpy.app.online_access:
        with pytest.raises(RuntimeError, match="Allow Online Access"):
            bpy.ops.lwae.install_runtime()
    for name in ("continue_runtime", "cancel_runtime"):
        with pytest.raises(RuntimeError):
            getattr(bpy.ops.lwae, name)()
    assert bpy.ops.lwae.remove_runtime() == {"FINISHED"}, "nothing to remove is no error"


@pytest.mark.parametrize(
    "system, words",
    [("posix", ["--find-links", "C:wheels", "a b"]), ("nt", ["--find-links", "C:\\wheels", "a b"])],
)
def test_options_of_pip_keep_the_paths_of_windows(addon, monkeypatch, system, words):
    operators = addon("operators.runtime")
    monkeypatch.setattr(operators, "os", SimpleNamespace(name=system))
    assert operators._split('--find-links C:\\wheels "a b"') == words
    with pytest.raises(ValueError):
        operators._split('"a b')


def test_the_next_start_cleans_up_after_a_deleted_runtime(addon):
    runtime = addon("runtime")
    left = runtime.folder() / "environment.removed-17"
    left.mkdir()
    runtime.clean_up()
    end = time.monotonic() + 5
    while left.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not left.exists()
    shutil.rmtree(runtime.folder(create=False))
    runtime.clean_up()
    assert not runtime.folder(create=False).exists()


def test_looking_at_the_preferences_makes_no_folder(addon, settings):
    runtime = addon("runtime")
    folder = runtime.folder(create=False)
    shutil.rmtree(folder, ignore_errors=True)
    assert runtime.python_path() == "" and not folder.exists()
