# SPDX-License-Identifier: GPL-3.0-or-later
import logging

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
