# SPDX-License-Identifier: GPL-3.0-or-later
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
