# SPDX-License-Identifier: GPL-3.0-or-later
"""The `paper` preset, untrained, on the mesh of a given model: how long it takes does not depend on its numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

from backend.model import FaceModel
from backend.polygons import triangulate
from backend.prior import Prior
from trainer import paper_preset


def untrained_paper_network(model: FaceModel, **options):
    """A `PaperNetwork` on a model's mesh and parts."""
    triangles = triangulate(model.polygon_sizes, model.polygon_vertices)
    rng = np.random.default_rng(0)
    faces = model.mean + rng.standard_normal((2, *model.mean.shape)).astype(np.float32)
    return paper_preset.build(faces, model.mean, triangles, model.weights, paper_preset.DEFAULTS | options)


def untrained_paper_model(model: FaceModel) -> FaceModel:
    network = untrained_paper_network(model)
    sizes = [network.config["latent"]] * model.part_count
    total = sum(sizes)
    return dataclasses.replace(
        model,
        header={**model.header, "preset": "paper", "network": network.config},
        code_sizes=sizes,
        controls=[],
        prior=Prior(np.zeros(total, np.float32), np.zeros((total, 1), np.float32), 1.0),
        network=network.export_arrays(),
    )
