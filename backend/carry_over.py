# SPDX-License-Identifier: GPL-3.0-or-later
"""A face of one model as a face of another one: exactly where both have the same vertices, else slider by slider."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from .controls import part_controls, slider_signature, split_code
from .decoder import Decoder
from .face_file import SHAPE, DonorRecord, FaceRecord, PartRecord, fits, join_parts, own_code, split_parts
from .model import WHOLE, FaceModel

LISTED = 4  # Names that a phrase spells out.
NAMELESS = re.compile(r"Shape \d+")  # Principal directions of one model: in another the same name means something else.


@dataclass(frozen=True)
class Carried:
    """What `carry_over` gives.

    Attributes:
        record: the face in words of the new model; it fits that model (`face_file.fits`).
        how: "same" (the very model), "vertices" (encoded again) or "sliders" (by part and slider name).
        error: mean distance of the vertices before donors and settings, mm; 0 for "same", NaN for "sliders".
        left: what the new model has no place for, as phrases ("the part ears"); empty when all was kept.
        unsaid: parts of which a record of the very model says nothing, as in a damaged file; they stay average.
    """

    record: FaceRecord
    how: str
    error: float
    left: list[str]
    unsaid: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What happened, for the person who asked for it; empty when there is nothing to say."""
        if self.how == "same" and not self.left:
            return ""
        if self.how == "vertices":
            text = f"The face was encoded again for the model {self.record.model_name} (mean error {self.error:.2f} mm)"
        else:
            text = f"Sliders of the same name were carried over to the model {self.record.model_name}"
        if self.unsaid:
            text += f"; it has no entry for {', '.join(self.unsaid)}, now average"
        return f"{text}; left out: {', '.join(self.left)}" if self.left else text


def carry_over(record: FaceRecord, source: Decoder | None, target: Decoder) -> Carried:
    """Describe a face in words of another model, keeping what can be kept.

    Args:
        record: of any model.
        source: decoder of the model that the face was made with, None where that is not installed; one that the record
            does not fit counts as none.
        target: decoder of the model that it shall have.
    """
    if fits(record, target.model):
        return Carried(record, "same", 0.0, [])
    if source is not None and not fits(record, source.model):
        source = None
    if source is not None and source.model.topology_hash == target.model.topology_hash:
        return _by_vertices(record, source, target)
    if _has_shape(record, target.model):
        return _by_shape(record, target)
    return _by_sliders(record, source.model if source else None, target.model)


def _empty(record: FaceRecord, model: FaceModel) -> FaceRecord:
    """The average face of a model, with the record's settings of the face and of the parts that exist."""
    parts = {}
    for k, name in enumerate(model.part_names):
        sliders = dict.fromkeys((model.controls[index].name for index in part_controls(model, k)), 0.0)
        settings = dict(record.parts[name].settings) if name in record.parts else {}
        parts[name] = PartRecord(sliders, [], settings)
    whole = dict.fromkeys((model.controls[index].name for index in part_controls(model, WHOLE)), 0.0)
    return replace(
        record,
        model_name=model.name,
        model_hash=model.hash,
        topology_hash=model.topology_hash,
        sliders=slider_signature(model),
        parts=parts,
        whole=whole,
        donors=[],
        settings=dict(record.settings),
        whole_settings={name: dict(said) for name, said in record.whole_settings.items() if name in whole},
        arrays=_other_arrays(record) if record.topology_hash == model.topology_hash else {},
    )


def _other_arrays(record: FaceRecord) -> dict[str, list[float]]:
    """What is held in place; the shape is the old code's."""
    return {name: numbers for name, numbers in record.arrays.items() if name != SHAPE}


def _set_code(record: FaceRecord, model: FaceModel, code: np.ndarray) -> None:
    """Sliders and rest of a record from a code; those of the whole face say what the code shows."""
    values, rest = split_code(model, code)
    record.whole = dict(zip(record.whole, values[part_controls(model, WHOLE)].tolist(), strict=True))
    for k, part in enumerate(record.parts.values()):
        numbers = values[part_controls(model, k)].tolist()
        part.sliders = dict(zip(part.sliders, numbers, strict=True))
        part.rest = rest[model.part_slice(k)].tolist() if rest.any() else []


def _by_vertices(record: FaceRecord, source: Decoder, target: Decoder) -> Carried:
    model = target.model
    result, left = _empty(record, model), []
    codes = [own_code(record, source.model), *(join_parts(source.model, donor.code) for donor in record.donors)]
    if source.model.hash == model.hash:  # Only the sliders differ.
        encoded, error = np.stack(codes), 0.0
    else:
        vertices = source.decode(np.stack(codes))
        encoded = target.encode(vertices)
        error = float(np.linalg.norm(target.decode(encoded[:1])[0] - vertices[0], axis=1).mean())
    _set_code(result, model, encoded[0])
    for donor, code in zip(record.donors, encoded[1:], strict=True):
        result.donors.append(DonorRecord(donor.name, split_parts(model, code), _amounts(donor, model), donor.settings))
    lost = {name for donor in record.donors for name, amount in donor.amounts.items() if amount}
    left += _phrases("what donors give to", sorted(lost.difference(model.part_names)))
    return Carried(result, "vertices", error, left)


def _has_shape(record: FaceRecord, model: FaceModel) -> bool:
    """Whether the record's own shape serves another model; the same code says more."""
    numbers = record.arrays.get(SHAPE, [])
    same_vertices = record.topology_hash == model.topology_hash and len(numbers) == model.mean.size
    return same_vertices and record.model_hash != model.hash


def _by_shape(record: FaceRecord, target: Decoder) -> Carried:
    result = _empty(record, target.model)
    vertices = np.array(record.arrays[SHAPE], dtype=np.float32).reshape(1, -1, 3)
    encoded = target.encode(vertices)
    error = float(np.linalg.norm(target.decode(encoded)[0] - vertices[0], axis=1).mean())
    _set_code(result, target.model, encoded[0])
    left = ["its donors, though what they gave stays"] if record.donors else []
    return Carried(result, "vertices", error, left)


def _by_sliders(record: FaceRecord, source: FaceModel | None, target: FaceModel) -> Carried:
    result = _empty(record, target)
    # Codes mean the same where only the sliders differ.
    same_code = record.model_hash == target.hash
    left = _by_names(record if same_code else _named(record), result)
    sliders = [item for part in record.parts.values() for item in part.sliders.items()]
    if not same_code and any(value and NAMELESS.fullmatch(name) for name, value in sliders):
        left.append("the sliders Shape 1, 2, ..., which mean something else there")
    sizes = dict(zip(target.part_names, target.code_sizes, strict=True))
    for name, part in record.parts.items():
        if same_code and len(part.rest) == sizes.get(name):
            result.parts[name].rest = part.rest
    if not same_code and any(any(part.rest) for part in record.parts.values()):
        left.append("the finer shape that no slider holds")
    for donor in record.donors:
        code = None
        if same_code and {name: len(numbers) for name, numbers in donor.code.items()} == sizes:
            code = join_parts(target, donor.code)
        elif source is not None:
            code = _code_by_names(join_parts(source, donor.code), source, target)
        if code is not None:
            parts = split_parts(target, code)
            result.donors.append(DonorRecord(donor.name, parts, _amounts(donor, target), donor.settings))
    if any(numbers for name, numbers in _other_arrays(record).items() if name not in result.arrays):
        left.append("what is held in place")
    missing = len(record.donors) - len(result.donors)
    if missing:
        left.append("its donor" if missing == 1 else f"{missing} donors")
    unsaid = [name for name in target.part_names if same_code and name not in record.parts]
    return Carried(result, "sliders", float("nan"), left, tuple(unsaid))


def _named(record: FaceRecord) -> FaceRecord:
    """Without the sliders that mean something in their own model alone."""
    parts = {}
    for name, part in record.parts.items():
        sliders = {slider: value for slider, value in part.sliders.items() if not NAMELESS.fullmatch(slider)}
        parts[name] = replace(part, sliders=sliders)
    return replace(record, parts=parts)


def _by_names(record: FaceRecord, result: FaceRecord) -> list[str]:
    """Set the sliders of `result` that `record` has too; phrases for those that move something and are missing."""
    lost, sliders = [], []
    for name, part in record.parts.items():
        if name not in result.parts:
            if any(part.sliders.values()) or any(part.rest):
                lost.append(name)
            continue
        known = result.parts[name].sliders
        known.update({slider: value for slider, value in part.sliders.items() if slider in known})
        sliders += [f"{name} {slider}" for slider, value in part.sliders.items() if value and slider not in known]
    result.whole.update({name: value for name, value in record.whole.items() if name in result.whole})
    sliders += [name for name, value in record.whole.items() if value and name not in result.whole]
    return _phrases("the parts" if len(lost) > 1 else "the part", lost) + _phrases(
        "the sliders" if len(sliders) > 1 else "the slider", sliders
    )


def _code_by_names(code: np.ndarray, source: FaceModel, target: FaceModel) -> np.ndarray:
    """The code whose sliders of the same names say the same."""
    values, _ = split_code(source, code)
    said = {}
    for control, value in zip(source.controls, values, strict=True):
        said[_part(source, control.part), control.name] = value
    result = np.zeros(target.code_size, dtype=np.float32)
    for control in target.controls:
        if NAMELESS.fullmatch(control.name):
            continue
        value = said.get((_part(target, control.part), control.name), 0.0)
        result[target.part_slice(control.part)] += np.float32(value) * control.direction
    return result


def _part(model: FaceModel, part: int) -> str | None:
    return None if part == WHOLE else model.part_names[part]


def _amounts(donor: DonorRecord, model: FaceModel) -> dict[str, float]:
    return {name: donor.amounts.get(name, 0.0) for name in model.part_names}


def _phrases(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return [f"{what} {', '.join(names[:LISTED])}{more}"]
