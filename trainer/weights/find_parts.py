# SPDX-License-Identifier: GPL-3.0-or-later
"""From a data set to its parts: weights, names, figures and a picture, all beside the data."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from backend.files import atomic_write
from trainer.datasets.dataset import load_dataset
from trainer.mesh.topology import polygon_edges, triangulate, vertex_areas
from trainer.mirror import find_image

from .local_weights import local_weights, mean_face, weights_report
from .part_names import name_parts
from .picture import save_parts_picture
from .weights_file import save_weights

log = logging.getLogger(__name__)

# A part that is the strongest at less than this has hardly anything to say; it is a fold or a rim, not a place.
LEAST_VERTICES, LEAST_SURFACE = 30, 0.005


def find_parts(data: Path, parts: int, *, seed: int = 0, command: str = "", **options) -> str:
    """Compute the local weights of a data set; writes weights.npz, weights.json and weights.png into its folder.

    Args:
        command: how to say this on the command line; goes into models made from these weights.
        options: of `local_weights.local_weights`.

    Returns:
        A table of the parts.

    Raises:
        LwaeError: see `local_weights`.
    """
    dataset = load_dataset(data)
    template = dataset.template
    triangles = triangulate(template.polygon_sizes, template.polygon_vertices)
    faces = dataset.faces(dataset.train)
    edges = polygon_edges(template.polygon_sizes, template.polygon_vertices)
    mean = mean_face(faces)
    given = {"edges": edges, "image": find_image(mean, template)}
    weights = local_weights(faces, triangles, parts, rng=np.random.default_rng(seed), **given, **options)
    areas = vertex_areas(mean, triangles)
    names = name_parts(weights, mean, template.region_names, template.region_of_vertex, areas)
    report = weights_report(weights, mean, triangles)
    _warn_of_tiny_parts(names, weights.argmax(axis=0), areas)
    save_weights(data, weights, names, command)
    with atomic_write(Path(data) / "weights.json", "w", encoding="utf-8") as stream:
        json.dump({"parts": names, "command": command, "report": report}, stream, indent=1)
    save_parts_picture(Path(data) / "weights.png", mean, triangles, weights, names)
    lines = [f"{'part':16} {'vertices':>8} {'surface':>8} {'pieces':>7} {'symmetry':>9}"]
    for name, part in zip(names, report["parts"], strict=True):
        lines.append(
            f"{name:16} {part['vertices']:8d} {part['share']:8.1%} {part['pieces']:7d} {part['symmetry']:9.3f}"
        )
    lines.append(
        f"coverage {report['coverage']:.3f}, balance {report['balance']:.3f}; picture: {data}/weights.png"
    )
    return "\n".join(lines)


def _warn_of_tiny_parts(names: list[str], strongest: np.ndarray, areas: np.ndarray) -> None:
    """Say which parts are the strongest nearly nowhere.

    Args:
        strongest: int [N], the strongest part of each vertex.
        areas: [N] mm^2.
    """
    count = np.bincount(strongest, minlength=len(names))
    surface = np.bincount(strongest, areas, len(names)) / areas.sum()
    tiny = [
        f"{name} ({vertices} vertices, {share:.1%} of the surface)"
        for name, vertices, share in zip(names, count, surface, strict=True)
        if vertices < LEAST_VERTICES or share < LEAST_SURFACE
    ]
    if tiny:
        log.warning("Hardly a part: %s; ask for fewer parts than %d.", ", ".join(tiny), len(names))
