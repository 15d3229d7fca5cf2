# SPDX-License-Identifier: GPL-3.0-or-later
"""A small complete model, so that most tests need neither data nor training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.model import WHOLE, Control, FaceModel
from backend.prior import Prior


def sphere(rings: int = 12, segments: int = 24, radius: float = 100.0):
    """A closed sphere of quads with triangles at the poles: vertices [N, 3] in mm, sizes [F], corners [L]."""
    theta = np.linspace(0, np.pi, rings + 1)[1:-1]
    phi = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    grid = np.stack(
        [
            np.outer(np.sin(theta), np.sin(phi)),
            -np.outer(np.sin(theta), np.cos(phi)),
            np.repeat(np.cos(theta)[:, None], segments, 1),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.concatenate([grid, [[0, 0, 1], [0, 0, -1]]]) * radius
    top, bottom = len(grid), len(grid) + 1
    faces = []
    for s in range(segments):
        following = (s + 1) % segments
        faces.append([top, s, following])
        for r in range(rings - 2):
            a, b = r * segments, (r + 1) * segments
            faces.append([a + s, b + s, b + following, a + following])
        last = (rings - 2) * segments
        faces.append([last + s, bottom, last + following])
    sizes = np.array([len(face) for face in faces], dtype=np.int32)
    return vertices.astype(np.float32), sizes, np.concatenate(faces).astype(np.int32)


def toy_model(
    seed: int = 0,
    parts: int = 3,
    code_size: int = 4,
    residuals: bool = True,
    border_strength: float | None = None,
    sharpness: float = 1.5,
) -> FaceModel:
    """A sphere whose parts are horizontal bands with smooth borders; preset `local`, linear without residuals."""
    if border_strength is None:
        border_strength = 0.8 if residuals else 0.0
    rng = np.random.default_rng(seed)
    mean, sizes, corners = sphere()
    n = len(mean)
    centres = np.linspace(80, -80, parts)
    weights = np.exp(-(((mean[:, 2] - centres[:, None]) / 35) ** 2)) ** sharpness
    weights = (weights / weights.sum(0)).astype(np.float32)
    weights[weights < 0.01] = 0
    # Multiples of 1/1024, which a model file holds exactly.
    weights = np.round(1024 * weights / weights.sum(0)) / 1024
    weights[weights.argmax(0), np.arange(n)] += 1 - weights.sum(0)
    network = {"mass": np.full(n, 4096 / n, dtype=np.float32)}
    for k in range(parts):
        vertices = np.flatnonzero(weights[k] > 0).astype(np.int32)
        smooth = rng.normal(size=(code_size, 3, 4)) @ np.stack([np.ones(n), *(mean / 100).T])[:, vertices]
        basis = 2 * smooth.transpose(0, 2, 1) * np.sqrt(weights[k, vertices])[:, None]
        network[f"part{k}/vertices"] = vertices
        network[f"part{k}/basis"] = basis.astype(np.float16)
    blocks = [[0], [0, 1]] if residuals else []
    for index, block in enumerate(blocks):
        shared = np.flatnonzero(np.prod([weights[k] > 0 for k in block], axis=0)).astype(np.int32)
        arrays = {
            "vertices": shared,
            "basis": (0.3 * rng.normal(size=(2, len(shared), 3))).astype(np.float16),
            "weight0": rng.normal(size=(5, code_size * len(block))).astype(np.float32),
            "bias0": rng.normal(size=5).astype(np.float32),
            "weight1": rng.normal(size=(2, 5)).astype(np.float32),
            "bias1": rng.normal(size=2).astype(np.float32),
            "skip": rng.normal(size=(2, code_size * len(block))).astype(np.float32),
        }
        network.update({f"residual{index}/{name}": array for name, array in arrays.items()})
    d = parts * code_size
    factors = rng.normal(size=(d, d)) / np.sqrt(d)
    controls = []
    for k in range(parts):
        for name, column in (("Width", 0), ("Shape 1", 1)):
            direction = np.zeros(code_size, dtype=np.float32)
            direction[column] = 1
            controls.append(Control(name, k, direction, f"{name} of band {k}"))
    return FaceModel(
        header={
            "name": "toy",
            "preset": "local",
            "units": "mm",
            "up": "Z",
            "licence": "CC0-1.0",
            "network": {
                "encoder_iterations": 2,
                "sigma_n": 0.05,
                "border_strength": border_strength,
                "residuals": [{"parts": b} for b in blocks],
            },
        },
        mean=mean,
        polygon_sizes=sizes,
        polygon_vertices=corners,
        uv=rng.random((len(corners), 2)).astype(np.float32),
        polygon_material=(mean[corners[np.cumsum(sizes) - 1], 2] > 50).astype(np.uint8),
        part_names=["top", "middle", "bottom", "extra", "more"][:parts],
        code_sizes=[code_size] * parts,
        weights=weights,
        controls=controls,
        prior=Prior(np.zeros(d, np.float32), factors.astype(np.float32), 0.01),
        network=network,
    )


def with_whole_controls(model: FaceModel, count: int = 2) -> FaceModel:
    """The model with controls of the whole face, which read back what they do."""
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(model.code_size, count)).astype(np.float32)
    readouts = np.linalg.pinv(directions) + 0.02 * rng.normal(size=(count, model.code_size))
    readouts = (np.linalg.inv(readouts @ directions) @ readouts).astype(np.float32)
    names = ("Age", "Weight", "Height")
    whole = [
        Control(names[i], WHOLE, directions[:, i].copy(), f"Changes the {names[i]}", readouts[i]) for i in range(count)
    ]
    return replace(model, controls=[*model.controls, *whole])
