# SPDX-License-Identifier: GPL-3.0-or-later
import logging
import os
import sys

import pytest

from backend.errors import LwaeError
from trainer import cli


@pytest.mark.parametrize("arguments", [["--up", "-z", "--front", "-y"], ["--up=-z", "--front=-y"]])
def test_axes_may_be_negative(arguments, monkeypatch, capsys):
    def prepare(_source, _out, **options):
        raise LwaeError(f"up {options['up']}, front {options['front']}")

    monkeypatch.setattr("trainer.datasets.meshes.prepare_meshes", prepare)
    assert cli.main(["prepare", "meshes", "folder", *arguments, "--out", "data"]) == 1
    assert "up -z, front -y" in capsys.readouterr().err


def test_another_librarys_remarks_stay_away():
    torch = logging.getLogger("torch")
    level = torch.level
    try:
        torch.setLevel(logging.NOTSET)  # as it is before PyTorch is imported
        assert cli.main(["encode", "none.lwae", "none.obj", "--out", "none.json"]) == 1
        assert not logging.getLogger("torch.any").isEnabledFor(logging.INFO)
    finally:
        torch.setLevel(level)


@pytest.mark.parametrize("place", ["full", "pipe"])
def test_results_that_cannot_be_shown_are_written(place, monkeypatch, capsys):
    written = []
    monkeypatch.setattr("trainer.evaluation.evaluate_runs.evaluate_runs", lambda *_: "results")
    monkeypatch.setattr("trainer.evaluation.evaluate_runs.write_results", lambda *given: written.append(given[0]))
    monkeypatch.setattr("trainer.evaluation.table.format_table", lambda _results: "table")
    read, write = os.pipe()
    os.close(read)  # As `| head` does.
    with open("/dev/full" if place == "full" else write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(["evaluate", "run"]) == (1 if place == "full" else 0)
    said = capsys.readouterr().err
    assert written == ["results"]
    assert said == ("error: The result is written, but cannot be shown: No space left on device.\n" * (place == "full"))


def test_a_table_is_shown_where_it_cannot_be_written(monkeypatch, capsys):
    def full(*_):
        raise LwaeError("No space left.")

    monkeypatch.setattr("trainer.evaluation.evaluate_runs.evaluate_runs", lambda *_: "results")
    monkeypatch.setattr("trainer.evaluation.evaluate_runs.write_results", full)
    monkeypatch.setattr("trainer.evaluation.table.format_table", lambda _results: "table")
    assert cli.main(["evaluate", "run"]) == 1
    said = capsys.readouterr()
    assert said.out == "table\n" and said.err == "error: No space left.\n"
