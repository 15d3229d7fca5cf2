# SPDX-License-Identifier: GPL-3.0-or-later
"""Face models: found and loaded on first use, never at start-up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from . import model_list, runtime
from .backend.controls import control_matrix, slider_signature
from .backend.decoder import Decoder
from .backend.errors import LwaeError
from .backend.expressions import Follower
from .backend.lids import Lids
from .backend.lwae_file import load_model
from .backend.model import FaceModel
from .backend.neck import Neck
from .backend.numpy_decoder import NumpyDecoder

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
        sliders: its `slider_signature`.
        expressions: its facial actions on any face.
        path: the file it came from; "" when it came from none.
    """

    model: FaceModel
    decoder: NumpyDecoder
    controls: np.ndarray
    sliders: str
    expressions: Follower
    path: str

    @cached_property
    def lids(self) -> Lids:
        return Lids(self.model)

    @cached_property
    def neck(self) -> Neck:
        return Neck(self.model)


_tools: dict[int, Tools] = {}  # By id(model), which stays taken because the tools hold the model.


def load(path: str | Path) -> FaceModel:
    """The model in a file, read once until the file changes.

    Raises:
        LwaeError: when the file is missing, damaged or no model.
    """
    path = Path(path)
    try:
        key = model_list.file_key(path)
    except OSError as error:
        advice = "install the add-on again" if path == model_list.BUNDLED_PATH else "install it again"
        raise LwaeError(f"The face model {path.name} is missing; {advice}.") from error
    if key not in _loaded:
        _drop(path)  # What the file held before.
        try:
            _loaded[key] = load_model(path)
        except LwaeError as error:
            _loaded[key] = str(error)
            model_list.mark_damaged(path, str(error))
    result = _loaded[key]
    if isinstance(result, str):
        raise LwaeError(result)
    return result


def by_key(key: str = "") -> FaceModel:
    """The model of a key of `model_list`; "" means the one that new faces get.

    Raises:
        LwaeError: as `load` does, or when there is none.
    """
    return load(model_list.by_key(key).path)


def default() -> FaceModel:
    """The model that new faces get.

    Raises:
        LwaeError: as `load` does.
    """
    return by_key()


# What was looked for in vain, and in which state of the folder, so that panels do not look on each redraw.
_missing: dict[tuple[str, str, str], tuple] = {}


def by_hash(model_hash: str, name: str = "", sliders: str = "") -> FaceModel:
    """The model that a face was made with: loaded already, bundled or in the folder of models.

    Files of one hash decode alike but may have different sliders.

    Args:
        model_hash: FaceModel.hash of that model.
        name: its name, for the message and to find files whose header does not state the hash.
        sliders: Tools.sliders of the model that is preferred among those with that hash; "" takes the first.

    Raises:
        LwaeError: when no model here has that hash.
    """
    first = None
    for result in [result for result in _loaded.values() if isinstance(result, FaceModel)]:
        if result.hash == model_hash:
            if sliders in ("", tools(result).sliders):
                return result
            first = first or result
    state = model_list.state_of_folder()
    if _missing.get((model_hash, name, sliders)) != state:
        for item in model_list.model_list():
            # A header may lie or lack the hash: the model itself decides, but only likely files are loaded.
            likely = item.facts and (item.facts.hash == model_hash if item.facts.hash else item.facts.name == name)
            if likely or item.key == model_list.BUNDLED:
                model = _loaded_or_none(item.path)
                if model is not None and model.hash == model_hash:
                    if sliders in ("", tools(model).sliders):
                        return model
                    first = first or model
        _missing[model_hash, name, sliders] = state
    if first is not None:
        return first
    load(model_list.BUNDLED_PATH)  # Where that one is damaged, its own sentence says so.
    if any(item.facts and item.facts.name == name for item in model_list.model_list()):
        raise LwaeError(
            f"This face was made with another version of the model {name!r} than the one installed. Switch Model gives "
            "it the installed one and keeps its shape; or install the other version's file in the add-on's preferences."
        )
    raise LwaeError(
        f"This face needs the model {name or model_hash!r}, which is not installed. Install its file in the add-on's "
        "preferences, or switch the face to another model."
    )


def _loaded_or_none(path: Path) -> FaceModel | None:
    try:
        return load(path)
    except LwaeError:
        return None


def forget(path: Path) -> list[FaceModel]:
    """Drop the model of a file that was removed or replaced.

    Returns:
        What was dropped; other modules may hold something of it too.
    """
    dropped = _drop(path)
    model_list.clear()
    _missing.clear()
    return [model for model in dropped if isinstance(model, FaceModel)]


def _drop(path: Path) -> list[FaceModel | str]:
    dropped = [_loaded.pop(key) for key in list(_loaded) if key[0] == str(path)]
    for model in dropped:
        _tools.pop(id(model), None)
    return dropped


def tools(model: FaceModel) -> Tools:
    """The decoder of a model and what else is made once for it."""
    if id(model) not in _tools:
        controls, sliders = control_matrix(model), slider_signature(model)
        follower = Follower(model.expressions, model.mean, model.skin)
        path = next((key[0] for key, result in _loaded.items() if result is model), "")
        _tools[id(model)] = Tools(model, NumpyDecoder(model), controls, sliders, follower, path)
    return _tools[id(model)]


def decoder(model: FaceModel) -> Decoder:
    """What decodes a model: the worker process that the preferences chose, once it runs, else NumPy."""
    return runtime.decoder(model, tools(model).decoder, tools(model).path)


def clear() -> None:
    """Forget all models, on disabling the add-on."""
    _loaded.clear()
    _tools.clear()
    _missing.clear()
    model_list.clear()
