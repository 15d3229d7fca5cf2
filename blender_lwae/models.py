# SPDX-License-Identifier: GPL-3.0-or-later
"""Face models: found and loaded on first use, never at start-up."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .backend.controls import control_matrix
from .backend.errors import LwaeError
from .backend.expressions import Follower
from .backend.lwae_file import load_model
from .backend.model import FaceModel
from .backend.numpy_decoder import NumpyDecoder

FOLDER = Path(__file__).parent / "models"

# What loading a file gave, by (path, modification time, size): a model, or the sentence of its error, so that
# a damaged file is not read again on each redraw.
_loaded: dict[tuple[str, int, int], FaceModel | str] = {}


@dataclass(frozen=True)
class Tools:
    """What is made once for a model.

    Attributes:
        model: the model itself.
        decoder: its decoder.
        controls: float32 [D, number of controls], the directions of all sliders.
        sliders: identifies its sliders: parts, names, order and what each does.
        expressions: its facial actions on any face.
    """

    model: FaceModel
    decoder: NumpyDecoder
    controls: np.ndarray
    sliders: str
    expressions: Follower


_tools: dict[int, Tools] = {}  # By id(model), which stays taken because the tools hold the model.


def default_path() -> Path:
    """The model that came with the add-on."""
    return FOLDER / "default.lwae"


def load(path: str | Path) -> FaceModel:
    """The model in a file, read once until the file changes.

    Raises:
        LwaeError: when the file is missing, damaged or no model.
    """
    path = Path(path)
    try:
        found = path.stat()
    except OSError as error:
        raise LwaeError(f"The face model {path.name} is missing; install the add-on again.") from error
    key = (str(path), found.st_mtime_ns, found.st_size)
    if key not in _loaded:
        try:
            _loaded[key] = load_model(path)
        except LwaeError as error:
            _loaded[key] = str(error)
    result = _loaded[key]
    if isinstance(result, str):
        raise LwaeError(result)
    return result


def default() -> FaceModel:
    """The model that came with the add-on.

    Raises:
        LwaeError: as `load` does.
    """
    return load(default_path())


def by_hash(model_hash: str, name: str = "") -> FaceModel:
    """The model that a face was made with.

    Args:
        model_hash: FaceModel.hash of that model.
        name: its name, for the message.

    Raises:
        LwaeError: when no model here has that hash.
    """
    for result in _loaded.values():
        if isinstance(result, FaceModel) and result.hash == model_hash:
            return result
    model = default()
    if model.hash != model_hash:
        raise LwaeError(f"This face needs the model {name or model_hash!r}, which is not installed.")
    return model


def tools(model: FaceModel) -> Tools:
    """The decoder of a model and what else is made once for it."""
    if id(model) not in _tools:
        names = repr((model.part_names, [(control.part, control.name) for control in model.controls]))
        controls = control_matrix(model)
        sliders = f"{zlib.crc32(names.encode()):08x}{zlib.crc32(controls.astype('<f4').tobytes()):08x}"
        follower = Follower(model.expressions, model.mean, model.skin)
        _tools[id(model)] = Tools(model, NumpyDecoder(model), controls, sliders, follower)
    return _tools[id(model)]


def decoder(model: FaceModel) -> NumpyDecoder:
    """The one decoder of a model."""
    return tools(model).decoder


def clear() -> None:
    """Forget all models, on disabling the add-on."""
    _loaded.clear()
    _tools.clear()
