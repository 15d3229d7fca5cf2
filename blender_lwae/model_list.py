# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model files there are: the bundled one and those in the folder of the preferences. Reads headers only, and
only when asked, so that a big folder does not slow Blender's start."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import bpy

from .backend.errors import LwaeError
from .backend.model_folder import ModelFacts, model_files, read_facts

BUNDLED = "BUNDLED"
BUNDLED_PATH = Path(__file__).parent / "models" / "default.lwae"


@dataclass(frozen=True)
class ModelFile:
    """A model file that Blender knows.

    Attributes:
        key: names it in preferences, menus and operators: `BUNDLED`, or the file's name in the folder.
        facts: what its header says; None where that is unusable.
        error: the sentence that says why.
    """

    key: str
    path: Path
    facts: ModelFacts | None
    error: str = ""

    @property
    def name(self) -> str:
        return self.facts.name if self.facts else self.path.name


# By (path, modification time, size), so that a file is read once until it changes.
_read: dict[tuple[str, int, int], ModelFacts | str] = {}
# The last list and what it was made from, because panels ask on each redraw.
_listed: tuple[tuple, list[ModelFile]] | None = None


def preferences() -> bpy.types.AddonPreferences | None:
    """None while the add-on is enabled by a script that keeps no preferences."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def folder(create: bool = False) -> Path:
    """Where the user's models are.

    Raises:
        LwaeError: when it should be created and cannot.
    """
    settings = preferences()
    chosen = settings.models_folder if settings else ""
    try:
        if not chosen:
            return Path(bpy.utils.extension_path_user(__package__, path="models", create=create))
        path = Path(bpy.path.abspath(chosen))
        if create:
            path.mkdir(parents=True, exist_ok=True)
        return path
    except OSError as error:
        raise LwaeError(f"Cannot make the folder for models: {error.strerror or error}; choose another.") from error


def file_key(path: Path) -> tuple[str, int, int]:
    """Changes when the file does.

    Raises:
        OSError: when there is no such file.
    """
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size


def _model_file(key: str, path: Path) -> ModelFile:
    try:
        known = file_key(path)
        if known not in _read:
            _read[known] = read_facts(path)
        result = _read[known]
    except OSError as error:
        result = f"Cannot read {path.name}: {error.strerror or error}."
    except LwaeError as error:
        result = _read[known] = str(error)
    return ModelFile(key, path, None, result) if isinstance(result, str) else ModelFile(key, path, result)


def mark_damaged(path: Path, sentence: str) -> None:
    """Note what loading a file found, which its header did not tell."""
    global _listed
    try:
        _read[file_key(path)] = sentence
    except OSError:
        return
    _listed = None


def state_of_folder() -> tuple:
    """Changes when a file is added to the folder, removed or replaced; costs two looks at the disk."""
    return tuple((str(path), _changed(path)) for path in (folder(), BUNDLED_PATH))


def _changed(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def model_list() -> list[ModelFile]:
    """The bundled model, then those of the folder by file name. Damaged files are listed with their sentence."""
    global _listed
    state = state_of_folder()
    if _listed is None or _listed[0] != state:
        found = [_model_file(BUNDLED, BUNDLED_PATH)]
        where = Path(state[0][0])
        try:
            found += [_model_file(path.name, path) for path in model_files(where)]
        except LwaeError as error:
            found.append(ModelFile("", where, None, str(error)))
        _listed = state, found
    return _listed[1]


def usable() -> list[ModelFile]:
    """Those whose header is sound, the default one first."""
    default = default_key()
    return sorted((item for item in model_list() if item.facts), key=lambda item: item.key != default)


def default_key() -> str:
    """The model that new faces get: the preferences' choice while it is there, else the bundled one."""
    settings = preferences()
    chosen = settings.default_model if settings else ""
    return chosen if any(item.key == chosen and item.facts for item in model_list()) else BUNDLED


def by_key(key: str) -> ModelFile:
    """The file of that key; "" means the default one.

    Raises:
        LwaeError: when it is gone.
    """
    wanted = key or default_key()
    for item in model_list():
        if item.key == wanted:
            return item
    raise LwaeError(f"The model {wanted} is not in the folder of models any more.")


def find(text: str) -> Path:
    """The file that a command line means: a path, or the name of an installed model or of its file.

    Raises:
        LwaeError: when there is none, or several models have that name.
    """
    if Path(text).is_file() or not text:
        return Path(text) if text else BUNDLED_PATH
    installed = model_list()
    for names in (lambda item: (item.key, Path(item.key).stem), lambda item: (item.name,)):
        found = [item.path for item in installed if text in names(item)]
        if len(found) == 1:
            return found[0]
        if found:
            raise LwaeError(f"{len(found)} installed models are called {text!r}; give the name of the file instead.")
    raise LwaeError(
        f"There is no model file {text}, and no installed model has that name; `lwae models` lists those there are."
    )


def clear() -> None:
    """Read all files again when they are next asked for."""
    global _listed
    _listed = None
    _read.clear()


def enum_number(key: str) -> int:
    """What an EnumProperty keeps of a model: the same however many others there are, in whatever order."""
    return zlib.crc32(key.encode()) & 0x7FFFFFFF


_items: list[tuple] = []  # Blender does not keep the strings of dynamic menus.


def enum_items(_self, _context) -> list[tuple]:
    """The usable models, the default one first, for an EnumProperty."""
    global _items
    _items = [
        (item.key, item.facts.name, f"{describe(item.facts)}, {item.path.name}", "USER", enum_number(item.key))
        for item in usable()
    ] or [(BUNDLED, "None", "No model is installed", "ERROR", enum_number(BUNDLED))]
    return _items


def describe(facts: ModelFacts) -> str:
    return f"{len(facts.parts)} parts, {facts.vertex_count:,} vertices, {facts.control_count} sliders"
