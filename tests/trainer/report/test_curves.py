# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from trainer.report.curves import curves_plate


def lines(history):
    axes = curves_plate(history).figure.axes[0]
    assert axes.get_yscale() == "log"
    return {line.get_label(): line.get_ydata().tolist() for line in axes.lines}


def test_each_loss_is_a_curve():
    history = [{"reconstruction": 1 / n, "cycle": 2 / n} for n in range(1, 6)]
    expected = {name: [losses[name] for losses in history] for name in ("reconstruction", "cycle")}
    assert lines(history) == expected
    assert lines(history[:1]) == {"reconstruction": [1.0], "cycle": [2.0]}


def test_a_loss_that_is_off_is_left_out():
    assert lines([{"reconstruction": 0.5, "cycle": 0.0}] * 3) == {"reconstruction": [0.5] * 3}


@pytest.mark.parametrize("history", [[], [{"reconstruction": 0.0, "cycle": 0.0}]])
def test_nothing_to_draw(history):
    assert curves_plate(history) is None


@pytest.mark.parametrize("span", [1.01, 3, 50, 1e4])
def test_every_range_has_a_labelled_tick(span, tmp_path):
    history = [{"reconstruction": float(value)} for value in np.geomspace(0.017 * span, 0.017, 40)]
    plate = curves_plate(history)
    plate.save(tmp_path)
    axes = plate.figure.axes[0]
    low, high = axes.get_ylim()
    assert 1 <= sum(low <= tick <= high for tick in axes.yaxis.get_majorticklocs()) <= 12
    assert all(tick == int(tick) for tick in axes.get_xticks())
