# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker in this Python's PyTorch on the processor: equal numbers, and every way to lose it."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from backend import worker_decoder, worker_protocol
from backend.errors import LwaeError
from backend.lwae_file import load_model, save_model
from backend.numpy_decoder import NumpyDecoder
from backend.worker_client import Worker, WorkerError
from backend.worker_decoder import FallbackDecoder, WorkerDecoder
from tests.toy import toy_model

resource = pytest.importorskip("resource", reason="processes are watched as Linux shows them")
ROOT = Path(__file__).parents[2]
DEFAULT_MODEL = ROOT / "blender_lwae" / "models" / "default.lwae"
TOLERANCE = 1e-4  # mm

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One worker for the tests that do not end it."""
    worker = Worker(sys.executable, tmp_path_factory.mktemp("worker") / "worker.log")
    worker.start()
    yield worker
    worker.close()


@pytest.fixture
def worker(tmp_path):
    worker = Worker(sys.executable, tmp_path / "worker.log")
    worker.start()
    yield worker
    worker.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def ends_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_running(pid)


def codes_of(model, count, seed=0):
    return model.prior.sample(np.random.default_rng(seed), count)


def test_hello_names_versions_and_devices(shared):
    import torch

    assert shared.torch == torch.__version__
    assert shared.python == sys.version.split()[0].rstrip("+")
    assert shared.devices[-1].id == "cpu" and shared.devices[-1].memory > 1e9


@pytest.mark.parametrize("name", ["toy", "default"])
def test_equal_to_numpy(shared, name):
    if name == "default" and not DEFAULT_MODEL.is_file():
        pytest.skip("no bundled model")
    model = toy_model() if name == "toy" else load_model(DEFAULT_MODEL)
    path = "" if name == "toy" else str(DEFAULT_MODEL)
    steady, fast = NumpyDecoder(model), WorkerDecoder(model, shared, "cpu", path)
    codes = codes_of(model, 5)
    vertices = steady.decode(codes)
    assert np.abs(fast.decode(codes) - vertices).max() < TOLERANCE
    assert np.abs(fast.decode_one(codes[3]) - vertices[3]).max() < TOLERANCE
    assert fast.decode(codes[:0]).shape == (0, model.vertex_count, 3)
    again = fast.encode(vertices)
    assert np.abs(steady.decode(again) - steady.decode(steady.encode(vertices))).max() < TOLERANCE


def test_two_models_share_a_worker_and_its_memory_grows(shared):
    models = [toy_model(seed=0), toy_model(seed=1, parts=2)]
    decoders = [WorkerDecoder(model, shared) for model in models]
    for count in (1, 3, 2000, 2):  # 2000 toy faces are 6 MB, more than the memory shared at first.
        for model, decoder in zip(models, decoders, strict=True):
            codes = codes_of(model, count, seed=count)
            assert np.abs(decoder.decode(codes) - NumpyDecoder(model).decode(codes)).max() < TOLERANCE


def test_large_batches_go_in_pieces(shared, monkeypatch):
    model = toy_model()
    monkeypatch.setattr(worker_decoder, "MAX_BYTES", 12 * model.vertex_count * 3)
    codes = codes_of(model, 10)
    assert np.abs(WorkerDecoder(model, shared).decode(codes) - NumpyDecoder(model).decode(codes)).max() < TOLERANCE


def test_threads_get_their_own_answers(shared):
    """A render and the window decode at once."""
    model = toy_model()
    decoder, expected = WorkerDecoder(model, shared), NumpyDecoder(model)
    wrong = []

    def decode(seed):
        for code in codes_of(model, 50, seed):
            if np.abs(decoder.decode_one(code) - expected.decode(code[None])[0]).max() > TOLERANCE:
                wrong.append(seed)

    threads = [threading.Thread(target=decode, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_wrong_input_is_no_loss(shared):
    model = toy_model()
    decoder = WorkerDecoder(model, shared)
    with pytest.raises(LwaeError, match="takes codes of shape") as caught:
        decoder.decode(np.zeros((1, 3), np.float32))
    assert not isinstance(caught.value, WorkerError)
    assert decoder.decode_one(np.zeros(model.code_size, np.float32)).shape == (model.vertex_count, 3)


def test_a_replaced_file_is_noticed(shared, tmp_path):
    save_model(toy_model(seed=1), tmp_path / "toy.lwae")
    with pytest.raises(WorkerError, match="toy.lwae was replaced"):
        WorkerDecoder(toy_model(seed=0), shared, "cpu", str(tmp_path / "toy.lwae"))
    assert shared.is_alive
    with pytest.raises(WorkerError, match="There is no model file"):
        WorkerDecoder(toy_model(seed=0), shared, "cpu", str(tmp_path / "gone.lwae"))


def test_an_unknown_device_is_one_sentence(worker):
    with pytest.raises(WorkerError, match="The worker process failed"):
        WorkerDecoder(toy_model(), worker, "cuda:7")


def fallback(worker):
    model = toy_model()
    losses = []
    return FallbackDecoder(WorkerDecoder(model, worker), NumpyDecoder(model), losses.append), losses


def assert_goes_on(decoder, losses, match):
    """Every call gives NumPy's numbers, and the loss was told once."""
    expected = NumpyDecoder(decoder.model)
    for code in codes_of(decoder.model, 5):
        np.testing.assert_array_equal(decoder.decode_one(code), expected.decode_one(code))
    vertices = expected.decode(code[None])
    np.testing.assert_array_equal(decoder.encode(vertices), expected.encode(vertices))
    assert len(losses) == 1 and match in str(losses[0])


def test_killed_in_the_middle_of_a_drag(worker):
    decoder, losses = fallback(worker)
    for number, code in enumerate(codes_of(decoder.model, 5)):
        if number == 3:
            os.kill(worker.pid, signal.SIGKILL)
        assert np.isfinite(decoder.decode_one(code)).all()
    assert_goes_on(decoder, losses, "ended unexpectedly (exit code -9")
    assert not worker.is_alive


def test_what_a_lost_worker_shared_is_given_back(worker):
    """While it is asked too: on Windows a file that is mapped cannot be removed."""
    decoder, losses = fallback(worker)
    codes = codes_of(decoder.model, 2)
    decoder.decode_one(codes[0])
    arena = worker._arena
    os.kill(worker.pid, signal.SIGKILL)
    decoder.decode_one(codes[1])
    assert len(losses) == 1 and arena.memory.closed


def test_closed_by_another_thread_between_question_and_answer(worker, monkeypatch):
    decoder, losses = fallback(worker)
    codes = codes_of(decoder.model, 5)
    decoder.decode_one(codes[0])
    ask = worker._ask
    monkeypatch.setattr(worker, "_ask", lambda *arguments: (ask(*arguments), worker.close()))
    assert_goes_on(decoder, losses, "was ended")


def test_hung(worker, monkeypatch):
    monkeypatch.setitem(worker_decoder.TIMEOUTS, "decode", (0.3, 0))
    decoder, losses = fallback(worker)
    pid = worker.pid
    os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    decoder.decode_one(codes_of(decoder.model, 1)[0])
    assert time.monotonic() - start < 2
    assert_goes_on(decoder, losses, "did not answer within")
    assert ends_within(pid, 2), "a hung worker must be killed"


def test_out_of_memory(worker):
    """The worker's address space is limited, so that PyTorch itself finds no memory."""
    decoder, losses = fallback(worker)
    pid = worker.pid
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (used + (1 << 20), used + (1 << 20)))
    codes = codes_of(decoder.model, 20_000)
    np.testing.assert_array_equal(decoder.decode(codes), NumpyDecoder(decoder.model).decode(codes))
    assert_goes_on(decoder, losses, "memory")
    assert ends_within(pid, 2)


@pytest.mark.parametrize("do", ["map", "decode"])
@pytest.mark.parametrize("answer", [{"kind": "input"}, {"kind": "input", "error": {"a": [1]}}])
def test_rows_that_the_worker_refuses_go_to_numpy(worker, monkeypatch, do, answer):
    """They were checked before it was asked."""
    decoder, losses = fallback(worker)
    said, send, before = [], worker_protocol.send, set(Path("/dev/shm").glob("lwae_worker_*"))
    real = worker._answer

    def note(stream, message):
        said.append(message["do"])
        send(stream, message)

    monkeypatch.setattr(worker_protocol, "send", note)
    monkeypatch.setattr(worker, "_answer", lambda timeout: real(timeout) | (answer if said[-1] == do else {}))
    assert_goes_on(decoder, losses, "refused its input" if "error" not in answer else "{'a': [1]}")
    assert not worker.is_alive and set(Path("/dev/shm").glob("lwae_worker_*")) <= before


def test_numbers_that_are_none_are_not_believed(worker, monkeypatch):
    decoder, losses = fallback(worker)
    ask = worker._ask

    def nan(request, timeout):
        ask(request, timeout)
        if request["do"] == "decode":
            np.frombuffer(worker._arena.memory, np.float32, 7)[3] = np.nan

    monkeypatch.setattr(worker, "_ask", nan)
    assert_goes_on(decoder, losses, "not finite")


def test_nobody_to_share_memory_with(worker, monkeypatch):
    def full(size):
        raise OSError(28, "No space left on device")

    decoder, losses = fallback(worker)
    monkeypatch.setattr(worker_protocol.Arena, "create", full)
    assert_goes_on(decoder, losses, "No space left on device")


def test_ends_when_its_parent_is_killed():
    """Also in the middle of its work: here, of importing PyTorch and then of waiting."""
    code = """
import sys
from backend.worker_client import Worker
worker = Worker(sys.executable)
if sys.argv[1] == "starting":
    worker._answer = lambda timeout: (print(worker.pid, flush=True), input())
worker.start()
print(worker.pid, flush=True)
input()
"""
    for moment in ("starting", "ready"):
        parent = subprocess.Popen(
            [sys.executable, "-c", code, moment], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        parent.communicate()
        assert ends_within(pid, 5), moment


def test_nothing_is_left_behind(tmp_path):
    before = set(Path("/dev/shm").glob("lwae_worker_*")) | set(Path("/tmp").glob("lwae_worker_*"))
    worker = Worker(sys.executable, tmp_path / "worker.log")
    worker.start()
    pid = worker.pid
    model = toy_model()
    WorkerDecoder(model, worker).decode(codes_of(model, 3))
    worker.close()
    worker.close()
    assert not is_running(pid)
    assert set(Path("/dev/shm").glob("lwae_worker_*")) | set(Path("/tmp").glob("lwae_worker_*")) <= before
    with pytest.raises(WorkerError, match="was ended"):
        worker.load("x", "x", "x", "cpu")


@pytest.mark.parametrize(
    "script, match",
    [
        ("exit 3", "exit code 3"),
        ("echo Segmentation fault >&2; exit 1", "Segmentation fault"),
        ("echo this is no message, but long enough", "ended unexpectedly"),
        ("sleep 60", "did not answer within"),
    ],
)
def test_programs_that_are_no_python_are_one_sentence(tmp_path, script, match):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    worker = Worker(program, tmp_path / "log")
    with pytest.raises(WorkerError, match=match):
        worker.start(timeout=1)
    assert not worker.is_alive


def test_what_cannot_be_started_is_one_sentence(tmp_path):
    for python in (tmp_path / "nothing", tmp_path, "bad\0name"):
        with pytest.raises(WorkerError, match="choose the executable of a Python"):
            Worker(python).start()


@pytest.mark.parametrize(
    "version, found, match",
    [((3, 8), True, "3.10 or newer"), ((3, 12), False, "no module torch"), ((3, 12), True, "broken")],
)
def test_unfit_pythons_say_why(monkeypatch, version, found, match):
    from backend import worker_server

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "torch" and not found:
                raise ModuleNotFoundError("No module named 'torch'", name="torch")
            if name == "torch":
                raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(worker_server, "sys", type("Sys", (), {"version_info": version, "stderr": sys.stderr}))
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert match in worker_server._hello()["error"]


def test_another_version_of_the_protocol_is_refused(monkeypatch):
    monkeypatch.setattr(worker_protocol, "VERSION", 2)
    worker = Worker(sys.executable)
    with pytest.raises(WorkerError, match="another version"):
        worker.start()
    assert not worker.is_alive


HUGE = {"id": "cpu", "name": "", "memory": float("inf")}


@pytest.mark.parametrize(
    "devices", [{}, {"devices": None}, {"devices": ["cpu"]}, {"devices": [{"id": "cpu"}]}, {"devices": [HUGE]}]
)
def test_a_malformed_hello_is_a_loss(monkeypatch, devices):
    monkeypatch.setattr(Worker, "_answer", lambda self, timeout: {"protocol": worker_protocol.VERSION, **devices})
    worker = Worker(sys.executable)
    with pytest.raises(WorkerError, match="choose another Python"):
        worker.start()
    assert not worker.is_alive and not worker.devices


def test_messages_survive_and_noise_is_refused():
    stream = io.BytesIO()
    worker_protocol.send(stream, {"id": 1, "path": "C:\\Gesichter\\ä.lwae"})
    content = stream.getvalue()
    assert worker_protocol.receive(io.BytesIO(content)) == {"id": 1, "path": "C:\\Gesichter\\ä.lwae"}
    assert worker_protocol.receive(io.BytesIO(content[:-1])) is None
    assert worker_protocol.receive(io.BytesIO(b"")) is None
    deep = content[:4] + (100_000).to_bytes(4, "little") + b"[" * 100_000
    for noise in (b"Hello, world", content[:4] + b"\xff" * 20, content[:8] + b"[1" + content[10:], deep):
        with pytest.raises(worker_protocol.ProtocolError):
            worker_protocol.receive(io.BytesIO(noise))


def test_the_other_python_does_not_see_ours(tmp_path, monkeypatch):
    """Blender's settings and folder must not leak: a module called torch or queue there would hide the real one."""
    (tmp_path / "torch.py").write_text("raise SystemExit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    worker = Worker(sys.executable)
    worker.start()
    worker.close()
