# SPDX-License-Identifier: GPL-3.0-or-later
"""Two processes on one machine (gloo) train as one does."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from backend.errors import LwaeError
from tests.trainer.test_training import ROOT, SMALL, data, parameters  # noqa: F401 (a fixture)
from trainer import training
from trainer.cli import main
from trainer.distributed import Team, team
from trainer.run import create_run, open_run

OPTIONS = {
    "paper": SMALL["paper"],
    # Without what each process draws for its own share: dropout, and mixes of the faces it has.
    "local": SMALL["local"] | {"dropout": 0.0, "seam": 0.0},
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def become_one_of(rank, size, port):
    """What `torchrun` sets."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)


def say_what_main_does(rank, port, arguments, answers):
    become_one_of(rank, 2, port)
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        answers[rank] = main(arguments), errors.getvalue()


def train_as_one_of(rank, size, port, path, stop_after, answers):
    """The last process is asked to stop at a step, and all must."""
    become_one_of(rank, size, port)
    factor, steps = training.learning_rate_factor, []

    def counted(*arguments):
        steps.append(1)
        if len(steps) == stop_after and rank == size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return factor(*arguments)

    training.learning_rate_factor = counted
    run = open_run(path)
    if rank > 0:
        training.atomic_write = None  # whoever else writes fails
    answers[rank] = int(training.train(run)), len(steps)


def train_in_two(path, stop_after=0):
    answers = mp.Manager().dict()
    mp.spawn(train_as_one_of, args=(2, free_port(), path, stop_after, answers), nprocs=2)
    assert answers[0] == answers[1]
    return answers[0]


def assert_equal_runs(one, other):
    for name, tensor in parameters(one).items():
        torch.testing.assert_close(parameters(other)[name], tensor, atol=2e-5, rtol=2e-4, msg=lambda m, n=name: n + m)
    for first, second in zip(one.read_checkpoint()["history"], other.read_checkpoint()["history"], strict=True):
        assert second == pytest.approx(first, rel=1e-4)


@pytest.mark.parametrize("preset", OPTIONS)
def test_two_processes_train_as_one(preset, data, tmp_path):  # noqa: F811
    alone = create_run(tmp_path / "alone", data, preset, OPTIONS[preset])
    assert training.train(alone)
    start = {name: tensor.clone() for name, tensor in training.torch_network(alone.start_model()).state_dict().items()}
    assert any(not torch.equal(start[name], tensor) for name, tensor in parameters(alone).items())

    both = create_run(tmp_path / "both", data, preset, OPTIONS[preset])
    done, steps = train_in_two(both.path)
    assert done and steps > 6
    assert_equal_runs(alone, both)


def test_another_number_of_processes_continues(data, tmp_path):  # noqa: F811
    alone = create_run(tmp_path / "alone", data, "paper", OPTIONS["paper"])
    assert training.train(alone)
    turns = create_run(tmp_path / "turns", data, "paper", OPTIONS["paper"])
    assert train_in_two(turns.path, stop_after=3) == (0, 3)  # two, stopped by the second one
    assert turns.read_checkpoint()["batch"] == 3
    assert training.train(open_run(turns.path))  # then one
    assert_equal_runs(alone, turns)
    assert turns.read_checkpoint()["epoch"] == OPTIONS["paper"]["epochs"]


def test_torchrun_starts_it(data, tmp_path):  # noqa: F811
    options = [f"--set={name}={value}" for name, value in OPTIONS["paper"].items() if name != "filters"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    command += ["-m", "trainer", "train", data, "--preset", "paper", "--out", tmp_path / "run"]
    result = subprocess.run(
        [*map(str, command), "--set=filters=[4,4]", *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("trained; next") == 1
    alone = create_run(tmp_path / "alone", data, "paper", OPTIONS["paper"])
    assert training.train(alone)
    assert_equal_runs(alone, open_run(tmp_path / "run"))


def test_what_stops_the_first_process_is_said_once(data, tmp_path):  # noqa: F811
    answers = mp.Manager().dict()
    arguments = ["train", str(data), "--out", str(tmp_path)]
    mp.spawn(say_what_main_does, args=(free_port(), arguments, answers), nprocs=2)
    code, errors = answers[0]
    assert code == 1 and errors.startswith(f"error: {tmp_path} exists already;") and errors.count("\n") == 1
    assert answers[1] == (1, "")


def test_shares_of_a_batch_are_whole_pairs():
    shares = [Team(rank, 3).rows(12) for rank in range(3)]
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(12))
    for rank, share in enumerate(shares):
        np.testing.assert_array_equal(share[2:] - share[:2], 6)
        np.testing.assert_array_equal(Team(rank, 3).pairs(6), share[:2])
    np.testing.assert_array_equal(Team().rows(7), np.arange(7))
    with pytest.raises(LwaeError, match="multiple of 6"):
        Team(0, 3).check_batch(8)
    Team().check_batch(7)


def test_a_number_of_processes_that_is_none(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(LwaeError, match="WORLD_SIZE is 'two', and no number of processes; unset it"), team("cpu"):
        pass
