# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest

from backend.numpy_decoder import NumpyDecoder
from backend.slopes import LocalSlopes, NumericSlopes
from tests.toy import toy_model


def wider_block(model):
    """The last residual block also moves vertices that its parts do not."""
    network = dict(model.network)
    vertices, basis = network["residual1/vertices"], network["residual1/basis"]
    others = np.setdiff1d(np.arange(model.vertex_count), vertices)[:20].astype(np.int32)
    network["residual1/vertices"] = np.concatenate([vertices, others])
    more = 0.3 * np.random.default_rng(1).normal(size=(len(basis), len(others), 3))
    network["residual1/basis"] = np.concatenate([basis, more.astype(basis.dtype)], axis=1)
    return dataclasses.replace(model, network=network)


@pytest.mark.parametrize(
    "model",
    [toy_model(border_strength=0), wider_block(toy_model(border_strength=0)), toy_model(residuals=False)],
)
def test_exact_slopes_are_those_of_decoded_faces(model):
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(model.code_size, 7)))[0]
    exact, numeric = LocalSlopes(model, axes), NumericSlopes(NumpyDecoder(model), axes, np.full(7, 0.02))
    mass, fields = rng.uniform(size=model.vertex_count), rng.normal(size=(2, model.vertex_count, 3))
    for code in model.prior.sample(rng, 3):
        exact.renew(code), numeric.renew(code)
        scale = exact.curvature(mass).max()
        np.testing.assert_allclose(exact.curvature(mass), numeric.curvature(mass), atol=1e-2 * scale)
        scale = np.abs(exact.project(fields, mass)).max()
        np.testing.assert_allclose(exact.project(fields, mass), numeric.project(fields, mass), atol=2e-2 * scale)


def test_curvature_follows_the_mass():
    model = toy_model()
    slopes = LocalSlopes(model, np.eye(model.code_size))
    slopes.renew(model.prior.mean)
    mass = np.ones(model.vertex_count)
    whole = slopes.curvature(mass)
    np.testing.assert_allclose(slopes.curvature(0.5 * mass), 0.5 * whole)
