# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry: what the settings of a face make of the difference between its left and right side.

    x = even + (1 - symmetry) (1 + asymmetry) odd + random_asymmetry R(seed)

even and odd are the halves of the decoded face (`backend/symmetry.py`), R the odd half of a random person. That acts on
vertices, where it is exact; `seen_code` says nearly the same of codes.
"""

from __future__ import annotations

import numpy as np

from . import analysis, models
from .backend.model import FaceModel
from .backend.symmetry import odd_code, odd_part, random_odd_code

SETTINGS = ("symmetry", "asymmetry", "random_asymmetry")
KEPT_FIELDS = 8

_fields: dict[tuple[int, int], np.ndarray] = {}


def _odd_factor(settings: dict[str, float]) -> float:
    return (1 - settings["symmetry"]) * (1 + settings["asymmetry"])


def apply(model: FaceModel, positions: np.ndarray, settings: dict[str, float], seed: int) -> np.ndarray:
    """Positions with the settings, float32 [N, 3] in mm; on a template without left and right they do nothing.

    Args:
        positions: float32 [N, 3] as decoded; may be changed in place.
        settings: by name, see `SETTINGS`.
        seed: of the random asymmetry.
    """
    less, more = 1 - _odd_factor(settings), settings["random_asymmetry"]
    if not less and not more:
        return positions
    mirror = analysis.of(model).mirror
    if mirror is None:
        return positions
    if less:
        odd = odd_part(positions, mirror)
        odd *= np.float32(less)
        positions -= odd
    if more:
        positions += np.float32(more) * _random_field(model, mirror, seed)
    return positions


def _random_field(model: FaceModel, mirror: np.ndarray, seed: int) -> np.ndarray:
    """float32 [N, 3] in mm."""
    key = id(models.tools(model).model), seed
    field = _fields.get(key)
    if field is None:
        matrix = analysis.of(model).mirror_matrix
        if matrix is None:
            return np.zeros_like(model.mean)
        code = (model.prior.mean + random_odd_code(model, matrix, seed)).astype(np.float32)
        field = odd_part(models.decoder(model).decode(code[None])[0], mirror)
        while len(_fields) >= KEPT_FIELDS:
            _fields.pop(next(iter(_fields)))
        _fields[key] = field
    return field


def seen_code(model: FaceModel, code: np.ndarray, settings: dict[str, float], seed: int) -> np.ndarray:
    """The code that without settings would show what this one shows with them, to hundredths of a mm: float32 [D]."""
    less, more = 1 - _odd_factor(settings), settings["random_asymmetry"]
    matrix = analysis.of(model).mirror_matrix if less or more else None
    if matrix is None:
        return code
    result = code - less * odd_code(model, matrix, code)
    if more:
        result += more * random_odd_code(model, matrix, seed)
    return result.astype(np.float32)


def forget(model: FaceModel) -> None:
    """Drop what was made for a model that was removed or replaced."""
    for key in [key for key in _fields if key[0] == id(model)]:
        del _fields[key]


def register() -> None:
    pass


def unregister() -> None:
    _fields.clear()
