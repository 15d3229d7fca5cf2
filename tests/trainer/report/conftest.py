# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from backend import sky
from tests.trainer.test_training import data  # noqa: F401 (a fixture)
from trainer.report import interpolation, mixes, part_weights, reconstructions


@pytest.fixture
def small_pictures(monkeypatch):
    """Reports in a few seconds."""
    for module in (interpolation, mixes, part_weights, reconstructions):
        monkeypatch.setattr(module, "HEIGHT", 60)
    monkeypatch.setattr(mixes, "SHEET_HEIGHT", 40)
    monkeypatch.setattr(sky, "DIRECTIONS", 16)
