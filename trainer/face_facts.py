# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON that `trainer encode` and `trainer fit` write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from backend.controls import control_label, split_code
from backend.files import atomic_write
from backend.model import FaceModel
from backend.similarity import Similarity


def write_facts(out: Path, model: FaceModel, measures: dict, pose: Similarity, code: np.ndarray) -> None:
    """Write the code, slider values and pose of a face as JSON.

    Args:
        measures: how near it is, by name.
        pose: from the mesh to the face.
        code: float32 [D].

    Raises:
        LwaeError: when the file cannot be written.
    """
    values, _ = split_code(model, code)
    names = [control_label(model, index) for index in range(len(model.controls))]
    facts = {
        "model": model.name,
        "model_hash": model.hash,
        **measures,
        "mm_per_unit": pose.scale,
        "matrix_to_mesh": pose.inverse().matrix.tolist(),
        "values": dict(zip(names, values.tolist(), strict=True)),
        "code": code.tolist(),
    }
    with atomic_write(out, "w", encoding="utf-8") as stream:
        json.dump(facts, stream, indent=1, allow_nan=False)
