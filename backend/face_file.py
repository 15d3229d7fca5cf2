# SPDX-License-Identifier: GPL-3.0-or-later
"""A face as a small JSON text that people can read, compare and mail: what its sliders say, and for which model.

    {"format": "lwae-face", "version": 1, "name": "Ada",
     "model": {"name": ..., "hash": ..., "topology": ..., "sliders": ...},
     "settings": {"seed": 3, ...},
     "whole": {"Age": 0.4}, "whole_settings": {"Age": {"locked": true}},
     "parts": {"nose": {"sliders": {"Width": 0.54, ...}, "settings": {"locked": false, ...}, "rest": [...]}, ...},
     "donors": [{"name": ..., "amounts": {"nose": 0.5}, "settings": {...}, "code": {"nose": [...], ...}}],
     "arrays": {"shape": [x, y, z, x, ...], ...}}

`rest` is what no slider holds of a part's code (`backend.controls`), empty for zeros; `settings` are all other
properties, so that a face made by a newer version keeps what an older one knows; `arrays` are numbers that belong to
vertices of the model, among them the shape that the code stands for, donors included, in mm: with it a face comes back
where its model does not exist any more but another one of the same vertices. Numbers have as many digits as float32
needs to come back exactly, those of the shape two.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .controls import control_matrix, part_controls, slider_signature
from .errors import LwaeError
from .files import atomic_write
from .model import WHOLE, FaceModel

FORMAT = "lwae-face"
VERSION = 1
SUFFIX = ".json"
SHAPE = "shape"  # among the arrays
MAX_BYTES = 16 << 20  # A face of 512 numbers, 8 donors and 53,215 vertices has 1.3 MB.
LARGEST = 1e6  # No code or slider is ever so large.

Value = bool | int | float | str | list


@dataclass
class PartRecord:
    """One part.

    Attributes:
        sliders: values by name.
        rest: what no slider holds of its code, or empty for zeros.
        settings: its other properties.
    """

    sliders: dict[str, float] = field(default_factory=dict)
    rest: list[float] = field(default_factory=list)
    settings: dict[str, Value] = field(default_factory=dict)


@dataclass
class DonorRecord:
    """A face that is mixed in: its code and how much of it, by part."""

    name: str
    code: dict[str, list[float]]
    amounts: dict[str, float]
    settings: dict[str, Value] = field(default_factory=dict)


@dataclass
class FaceRecord:
    """A face by the names of what it is made of, in words of the model that it was made with.

    Attributes:
        name: of the face.
        model_name, model_hash, topology_hash: see `FaceModel`.
        parts: by name, in the model's order.
        whole: sliders of the whole face.
        whole_settings: their other properties, by slider.
        donors: faces that are mixed in.
        settings: other properties of the face.
        arrays: numbers that mean something for this model's mesh alone.
        sliders: the model's `slider_signature`; "" where a file does not say, as older ones.
    """

    name: str
    model_name: str
    model_hash: str
    topology_hash: str = ""
    parts: dict[str, PartRecord] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    donors: list[DonorRecord] = field(default_factory=list)
    settings: dict[str, Value] = field(default_factory=dict)
    whole_settings: dict[str, dict[str, Value]] = field(default_factory=dict)
    arrays: dict[str, list[float]] = field(default_factory=dict)
    sliders: str = ""


def fits(record: FaceRecord, model: FaceModel) -> bool:
    """Whether a face was made with this very model: the same code, parts and sliders."""
    sizes = dict(zip(model.part_names, model.code_sizes, strict=True))
    return (
        record.model_hash == model.hash
        and record.sliders in ("", slider_signature(model))
        and list(record.parts) == model.part_names
        and list(record.whole) == _slider_names(model, WHOLE)
        and all(list(part.sliders) == _slider_names(model, k) for k, part in enumerate(record.parts.values()))
        and all(len(part.rest) in (0, sizes[name]) for name, part in record.parts.items())
        and all({name: len(code) for name, code in donor.code.items()} == sizes for donor in record.donors)
    )


def own_code(record: FaceRecord, model: FaceModel) -> np.ndarray:
    """The code before donors are mixed in, float32 [D], of a record that fits the model."""
    values = [value for part in record.parts.values() for value in part.sliders.values()]
    rest = [part.rest or [0.0] * size for part, size in zip(record.parts.values(), model.code_sizes, strict=True)]
    sliders = np.array([*values, *record.whole.values()], dtype=np.float32)
    return np.concatenate(rest).astype(np.float32) + control_matrix(model) @ sliders


def split_parts(model: FaceModel, code: np.ndarray) -> dict[str, list[float]]:
    """A flat code [D] as lists of numbers by part name."""
    return {name: code[model.part_slice(k)].tolist() for k, name in enumerate(model.part_names)}


def join_parts(model: FaceModel, code: dict[str, list[float]]) -> np.ndarray:
    """The flat code, float32 [D], of lists by part name."""
    return np.concatenate([code[name] for name in model.part_names]).astype(np.float32)


def _slider_names(model: FaceModel, part: int) -> list[str]:
    return [model.controls[index].name for index in part_controls(model, part)]


def write_face(record: FaceRecord, path: str | os.PathLike) -> None:
    """Write a face file; it appears complete or not at all.

    Raises:
        LwaeError: when the operating system refuses.
    """
    with atomic_write(path, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(dump_face(record))


def dump_face(record: FaceRecord) -> str:
    """The text of a face file."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": record.name,
        "model": {
            "name": record.model_name,
            "hash": record.model_hash,
            "topology": record.topology_hash,
            **({"sliders": record.sliders} if record.sliders else {}),
        },
        "settings": record.settings,
        "whole": record.whole,
        "whole_settings": record.whole_settings,
        "parts": {
            name: {"sliders": part.sliders, "settings": part.settings, "rest": part.rest}
            for name, part in record.parts.items()
        },
        "donors": [
            {"name": donor.name, "amounts": donor.amounts, "settings": donor.settings, "code": donor.code}
            for donor in record.donors
        ],
        "arrays": record.arrays,
    }
    return _format(content, "") + "\n"


def _format(value, indent: str) -> str:
    """JSON with each entry on a line of its own, but a list of numbers on one line."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        lines = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {_format(entry, inner)}" for key, entry in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + indent + "}"
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        inner = indent + " "
        return "[\n" + ",\n".join(inner + _format(entry, inner) for entry in value) + "\n" + indent + "]"
    if isinstance(value, list):
        return "[" + ", ".join(_format(entry, indent) for entry in value) + "]"
    if isinstance(value, float):
        return json.dumps(float(str(np.float32(value))))
    return json.dumps(value, ensure_ascii=False)


def read_face(path: str | os.PathLike) -> FaceRecord:
    """Read a face file.

    Raises:
        LwaeError: when it is missing, too large, damaged, of a newer version or no face; one sentence says which.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise LwaeError(f"Cannot read {path.name}: {error.strerror or error}.") from error
    if len(content) > MAX_BYTES:
        raise LwaeError(f"{path.name} has more than {MAX_BYTES >> 20} MB, so it is no face file.")
    try:
        return load_face(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LwaeError(f"{path.name} is no face file: it is not text.") from error
    except LwaeError as error:
        raise LwaeError(f"{path.name} {error}") from error


def load_face(text: str) -> FaceRecord:
    """The face that a text describes.

    Raises:
        LwaeError: a predicate for the file's name ("is no face file.").
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LwaeError("is no face file, or a damaged one: it is not JSON.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LwaeError("is no face file.")
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise LwaeError("is damaged: its version is not a number.")
    if version > VERSION:
        raise LwaeError(
            f"has format version {version}, but this version reads up to {VERSION}; please update the add-on."
        )
    model = _typed(content, "model", dict)
    return FaceRecord(
        name=_text(content, "name"),
        model_name=_text(model, "name"),
        model_hash=_text(model, "hash"),
        topology_hash=_text(model, "topology"),
        sliders=_text(model, "sliders"),
        parts={name: _part(name, part) for name, part in _entries(content, "parts").items()},
        whole=_numbers_by_name(content, "whole"),
        donors=[_donor(donor) for donor in _typed(content, "donors", list)],
        settings=_settings(content),
        whole_settings={name: _settings({"settings": it}) for name, it in _entries(content, "whole_settings").items()},
        arrays={name: _numbers(numbers, name) for name, numbers in _entries(content, "arrays").items()},
    )


def _part(name: str, content) -> PartRecord:
    if not isinstance(content, dict):
        raise LwaeError(f"is damaged: the part {name!r} is not described.")
    return PartRecord(_numbers_by_name(content, "sliders"), _numbers(content.get("rest", []), name), _settings(content))


def _donor(content) -> DonorRecord:
    if not isinstance(content, dict):
        raise LwaeError("is damaged: a donor is not described.")
    code = {name: _numbers(numbers, name) for name, numbers in _entries(content, "code").items()}
    return DonorRecord(_text(content, "name"), code, _numbers_by_name(content, "amounts"), _settings(content))


def _typed(content: dict, name: str, kind: type):
    value = content.get(name, kind())
    if not isinstance(value, kind):
        raise LwaeError(f"is damaged: its entry {name!r} has another kind of value than expected.")
    return value


def _text(content: dict, name: str) -> str:
    text = _typed(content, name, str)
    if len(text) > 1000 or not _can_be_written(text):
        raise LwaeError(f"is damaged: its entry {name!r} is no name.")
    return text


def _can_be_written(text: str) -> bool:
    """What any object may be called, joiners and spaces of all scripts included; but no half of a character."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)


def _entries(content: dict, name: str) -> dict:
    entries = _typed(content, name, dict)
    if any(len(key) > 1000 or not _can_be_written(key) for key in entries):
        raise LwaeError(f"is damaged: in its entry {name!r} a name is no name.")
    return entries


def _is_number(value) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST and math.isfinite(value)


def _numbers_by_name(content: dict, name: str) -> dict[str, float]:
    entries = _entries(content, name)
    for key, value in entries.items():
        if not _is_number(value):
            raise LwaeError(f"is damaged: the value of {key!r} in its entry {name!r} is not a number.")
    return {key: float(value) for key, value in entries.items()}


def _numbers(content, name: str) -> list[float]:
    if not isinstance(content, list) or not all(_is_number(value) for value in content):
        raise LwaeError(f"is damaged: what stands for {name!r} does not consist of numbers.")
    return [float(value) for value in content]


def _settings(content: dict) -> dict[str, Value]:
    """Entries of simple kinds; whoever uses them knows which ones exist and what they may be."""
    entries = _entries(content, "settings")
    for key, value in entries.items():
        values = value if isinstance(value, list) else [value]
        # Seeds are larger than any shape's number.
        if len(values) > 100 or not all(
            isinstance(item, bool)
            or (isinstance(item, str) and _can_be_written(item))
            or (type(item) in (int, float) and abs(item) < 2**53)
            for item in values
        ):
            raise LwaeError(f"is damaged: the setting {key!r} has no simple value.")
    return dict(entries)
