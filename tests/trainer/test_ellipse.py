# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from trainer.evaluation.ellipse import Ellipse


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(20000, 2)) @ np.array([[3.0, 1.0], [0.0, 0.5]]) + (5, -2)


def test_it_holds_95_percent(points):
    ellipse = Ellipse.of(points)
    assert ellipse.inside(points).mean() == pytest.approx(0.95, abs=0.005)
    assert ellipse.area == pytest.approx(np.pi * 5.991 * 1.5, rel=0.03)
    on = np.linalg.solve(ellipse.axes, (ellipse.outline - ellipse.centre).T)
    np.testing.assert_allclose((on**2).sum(axis=0), 1)


def test_containment(points):
    ellipse = Ellipse.of(points)
    wider = Ellipse.of(1.2 * (points - points.mean(axis=0)) + points.mean(axis=0))
    assert wider.contains(ellipse) and not ellipse.contains(wider)
    assert not Ellipse.of(points + (4, 0)).contains(ellipse)
    turned = Ellipse.of((points - points.mean(axis=0))[:, ::-1] * 1.2 + points.mean(axis=0))
    assert turned.area > ellipse.area and not turned.contains(ellipse)


@pytest.mark.parametrize("flat", [np.array([[0.0, 0], [1, 1], [2, 2]]), np.ones((1, 2)), np.zeros((5, 2))])
def test_flat_ones_hold_nothing(flat, points):
    ellipse = Ellipse.of(flat)
    assert ellipse.area == pytest.approx(0, abs=1e-6)
    assert not ellipse.contains(Ellipse.of(points)) and np.isfinite(ellipse.outline).all()
