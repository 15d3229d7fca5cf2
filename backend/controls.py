# SPDX-License-Identifier: GPL-3.0-or-later
"""Sliders and codes: z = r + C c.

c are the slider values, C the directions of the controls, r the rest of the code that no slider holds. A part's
controls move that part's code alone; those of the whole face (age, weight, ...) come last and move all of it. What
the latter show is read from the whole code by regression; the parts' controls then explain what they leave.
"""

from __future__ import annotations

import zlib

import numpy as np

from .model import WHOLE, FaceModel


def control_matrix(model: FaceModel) -> np.ndarray:
    """C of all controls: float32 [D, number of controls], zero outside each control's own part."""
    matrix = np.zeros((model.code_size, len(model.controls)), dtype=np.float32)
    for column, control in enumerate(model.controls):
        matrix[model.part_slice(control.part), column] = control.direction
    return matrix


def slider_signature(model: FaceModel) -> str:
    """Identifies a model's sliders: parts, names, order and what each does. Models of one hash may differ in it."""
    names = repr((model.part_names, [(control.part, control.name) for control in model.controls]))
    directions = control_matrix(model).astype("<f4")
    return f"{zlib.crc32(names.encode()):08x}{zlib.crc32(directions.tobytes()):08x}"


def part_controls(model: FaceModel, part: int) -> list[int]:
    """Numbers of the controls of one part, or of the whole face (`WHOLE`), in slider order."""
    return [index for index, control in enumerate(model.controls) if control.part == part]


def control_label(model: FaceModel, control: int) -> str:
    """A control's name with its part's: "nose.Width", or "whole.Age" for one of the whole face."""
    part = model.controls[control].part
    return f"{'whole' if part == WHOLE else model.part_names[part]}.{model.controls[control].name}"


def whole_directions(model: FaceModel) -> np.ndarray:
    """Directions of the whole face's controls, float32 [D, W]."""
    columns = [model.controls[index].direction for index in part_controls(model, WHOLE)]
    return np.stack(columns, axis=1) if columns else np.zeros((model.code_size, 0), dtype=np.float32)


def readouts(model: FaceModel) -> np.ndarray:
    """What reads the whole face's controls from a code, float32 [W, D]."""
    rows = [model.controls[index].readout for index in part_controls(model, WHOLE)]
    return np.stack(rows) if rows else np.zeros((0, model.code_size), dtype=np.float32)


def read_whole(model: FaceModel, code: np.ndarray) -> np.ndarray:
    """Values of the whole face's controls that a code [D] shows, float32 [W]."""
    return readouts(model) @ np.asarray(code, dtype=np.float32)


def slider_matrix(model: FaceModel) -> np.ndarray:
    """What makes slider values of codes, as `split_code` does for one: float32 [number of controls, D]."""
    whole = part_controls(model, WHOLE)
    parts = control_matrix(model)[:, : len(model.controls) - len(whole)].astype(np.float64)
    read = readouts(model).astype(np.float64)
    left = np.eye(model.code_size) - whole_directions(model).astype(np.float64) @ read
    own = np.linalg.pinv(parts)
    return np.concatenate([own @ left if len(whole) else own, read]).astype(np.float32)


def split_code(model: FaceModel, code: np.ndarray, whole: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Slider values that explain as much of a code as sliders can, and what is left.

    Args:
        code: float32 [D].
        whole: values of the whole face's controls, float32 [W]; what the code shows of them when left out.

    Returns:
        values float32 [number of controls], of part k pinv(C_k) times what the whole face's controls leave of z_k,
        and rest float32 [D] = z - C values.
    """
    code = np.asarray(code, dtype=np.float32)
    values = np.zeros(len(model.controls), dtype=np.float32)
    values[part_controls(model, WHOLE)] = read_whole(model, code) if whole is None else whole
    rest = code - join_code(model, values, np.zeros_like(code))
    for part in range(model.part_count):
        indices = part_controls(model, part)
        if indices:
            directions = np.stack([model.controls[index].direction for index in indices], axis=1)
            values[indices] = np.linalg.lstsq(directions, rest[model.part_slice(part)], rcond=None)[0]
    return values, code - join_code(model, values, np.zeros_like(code))


def join_code(model: FaceModel, values: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The code that the sliders and the rest stand for, float32 [D]."""
    code = np.array(rest, dtype=np.float32)
    for value, control in zip(values, model.controls, strict=True):
        if value:
            code[model.part_slice(control.part)] += np.float32(value) * control.direction
    return code
