# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing `.lwae` files: one zip of NumPy arrays and a JSON header, never a pickle.

Opening a stranger's file is safe: no code in it can run, sizes are checked before memory is taken, and every
array is checked against the others before a model is made of it. docs/file-format.md lists the arrays.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import reprlib
import zipfile
from pathlib import Path

import numpy as np

from .arrays import UNREADABLE, typed
from .controls import part_controls, readouts
from .errors import LwaeError
from .expression_arrays import expression_arrays, expressions_of
from .expressions import check_expressions
from .files import atomic_write
from .model import FARTHEST, MM_PER_METRE, WHOLE, Control, FaceModel
from .prior import Prior

FORMAT = "lwae"
# 2 has controls of the whole face; files without them are still written as 1, which older versions read.
FORMAT_VERSION = 2
MAX_BYTES = 1 << 30  # A 53,215-vertex model has 0.1 GB.
MAX_HEADER_BYTES = 1 << 23  # The default model's has 0.02 MB.
# Work and memory grow with their squares and cubes; the default model has 8 parts and 512 numbers.
MAX_PARTS, MAX_CODE = 60, 8192
# A tool shows each of them; the default model has some dozens.
MAX_CONTROLS, MAX_EXPRESSIONS = 4096, 1024
# Control characters, line breaks, and halves of what UTF-16 has in two.
UNSHOWABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
LARGEST_CODE = 1e6  # Codes have spreads around 1; products of what is much larger overflow.

_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def save_model(model: FaceModel, path: str | os.PathLike) -> None:
    """Write a model; the file appears complete or not at all, and equal models give equal bytes.

    Raises:
        LwaeError: when the file cannot be written.
    """
    header = dict(
        model.header,
        format=FORMAT,
        format_version=FORMAT_VERSION if part_controls(model, WHOLE) else 1,
        parts=list(model.part_names),
        code_sizes=[int(size) for size in model.code_sizes],
        topology_hash=model.topology_hash,
        hash=model.hash,
        controls=[
            {"name": control.name, "part": int(control.part), "description": control.description}
            for control in model.controls
        ],
        expressions=list(model.expressions.names),
    )
    arrays = {
        "header": np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8),
        "mean": model.mean.astype("<f4"),
        "polygon_sizes": model.polygon_sizes.astype("<i4"),
        "polygon_vertices": model.polygon_vertices.astype("<i4"),
        "uv": model.uv.astype("<f4"),
        "polygon_material": model.polygon_material.astype("u1"),
        "weights": model.weights.astype("<f2"),
        "control_directions": (
            np.concatenate([control.direction for control in model.controls] or [np.zeros(0)]).astype("<f4")
        ),
        "prior/mean": model.prior.mean.astype("<f4"),
        "prior/factors": model.prior.factors.astype("<f2"),
        "prior/tau": np.array([model.prior.tau], dtype="<f8"),
    }
    if part_controls(model, WHOLE):
        arrays["control_readouts"] = readouts(model).astype("<f4")
    arrays |= expression_arrays(model.expressions)
    arrays.update({f"network/{name}": array for name, array in model.network.items()})
    with atomic_write(path) as stream:
        # ZipInfo's fixed date, unlike np.savez's, makes equal content equal bytes in every Python version.
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
                info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, buffer.getvalue())


def read_header(path: str | os.PathLike) -> dict:
    """The JSON header alone, without reading the arrays.

    Raises:
        LwaeError: as `load_model` does.
    """
    path = Path(path)
    with _open(path) as archive:
        return _header(archive, path)


def read_shape(path: str | os.PathLike, name: str) -> tuple[int, ...]:
    """The shape of one array, without reading its numbers.

    Raises:
        LwaeError: when the file cannot be opened or has no such array.
    """
    path = Path(path)
    with _open(path) as archive:
        try:
            with archive.open(f"{name}.npy") as stream:
                version = np.lib.format.read_magic(stream)
                return _NPY_HEADERS[version](stream)[0]
        except UNREADABLE as error:
            raise LwaeError(f"{path.name} is damaged (the array {name} is malformed); export it again.") from error


def load_model(path: str | os.PathLike) -> FaceModel:
    """Read a model.

    Raises:
        LwaeError: when the file is missing, truncated, corrupt, pickled, of a newer format, or no model; the
            message says which.
    """
    path = Path(path)
    with _open(path) as archive:
        header = _header(archive, path)
        try:
            names = [name for name in archive.namelist() if name != "header.npy"]
            arrays = {name.removesuffix(".npy"): _read_array(archive, name) for name in names}
        except LwaeError as error:
            raise LwaeError(f"{path.name} is damaged ({error}); download or export it again.") from error
    try:
        model = _build(header, arrays)
        check_model(model)
    except LwaeError as error:
        raise LwaeError(f"{path.name} is not a usable model: {error} Export it again.") from error
    except UNREADABLE as error:
        what = error.args[0] if isinstance(error, KeyError) else "an entry of its header"
        raise LwaeError(
            f"{path.name} is not a usable model: {what} is missing or malformed. Export it again."
        ) from error
    return model


def _open(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path) if path.is_file() else None
    except OSError as error:
        raise LwaeError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UNREADABLE as error:
        raise LwaeError(
            f"{path.name} is not a .lwae model, or only a part of one; download or export it again."
        ) from error
    if archive is None:
        raise LwaeError(f"There is no model file {path}; check the path.")
    if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
        archive.close()
        raise LwaeError(f"{path.name} claims to hold more than {MAX_BYTES >> 30} GiB; it is not opened.")
    # Other ways of packing have no bound on what a read takes.
    packed = all(info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in archive.infolist())
    if not packed or len(set(archive.namelist())) < len(archive.namelist()):
        archive.close()
        raise LwaeError(f"{path.name} is not packed as a .lwae model is; export it again.")
    return archive


def _header(archive: zipfile.ZipFile, path: Path) -> dict:
    if any(info.file_size > MAX_HEADER_BYTES for info in archive.infolist() if info.filename == "header.npy"):
        raise LwaeError(f"{path.name} is not a usable model: its header is too long.")
    try:
        header = json.loads(_read_array(archive, "header.npy").tobytes())
        is_model = header["format"] == FORMAT
        version = int(header["format_version"])
    except UNREADABLE as error:
        raise LwaeError(f"{path.name} is not a .lwae model: it has no readable header.") from error
    if not is_model:
        raise LwaeError(f"{path.name} is not a .lwae model.")
    if version > FORMAT_VERSION:
        raise LwaeError(
            f"{path.name} has format version {reprlib.repr(version)}, but this version reads up to {FORMAT_VERSION}; "
            "please update the add-on."
        )
    return header


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    try:
        # The size that the zip directory states bounds what may be allocated for the array's stated shape.
        with archive.open(name) as packed:
            content = packed.read(archive.getinfo(name).file_size)
        stream = io.BytesIO(content)
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _NPY_HEADERS[version](stream)
        if dtype.hasobject or dtype.kind not in "fiu":
            raise LwaeError(f"the array {name} holds {dtype}, not numbers")
        if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
            raise LwaeError(f"the array {name} is cut short")
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
        return array.astype(dtype.newbyteorder("="), copy=False)  # PyTorch takes no other byte order.
    except LwaeError:
        raise
    except UNREADABLE as error:
        # NumPy's own messages would advise to allow pickles.
        raise LwaeError(f"the array {name} is malformed") from error


def _build(header: dict, arrays: dict[str, np.ndarray]) -> FaceModel:
    parts, code_sizes = header["parts"], header["code_sizes"]
    if not isinstance(parts, list) or not all(isinstance(name, str) for name in parts):
        raise LwaeError("its parts are no list of names.")
    if not isinstance(code_sizes, list) or not all(type(size) is int and size > 0 for size in code_sizes):
        raise LwaeError("its code sizes are no list of positive integers.")
    if len(parts) > MAX_PARTS or sum(code_sizes) > MAX_CODE:
        raise LwaeError(f"it has more than {MAX_PARTS} parts, or more than {MAX_CODE:,} numbers for a face.")
    names = header.get("expressions", [])
    if len(names) > MAX_EXPRESSIONS:
        raise LwaeError(f"it has more than {MAX_EXPRESSIONS:,} expressions.")
    return FaceModel(
        header=header,
        mean=typed(arrays, "mean", np.float32, 2),
        polygon_sizes=typed(arrays, "polygon_sizes", np.int32, 1),
        polygon_vertices=typed(arrays, "polygon_vertices", np.int32, 1),
        uv=typed(arrays, "uv", np.float32, 2),
        polygon_material=typed(arrays, "polygon_material", np.uint8, 1),
        part_names=parts,
        code_sizes=code_sizes,
        weights=typed(arrays, "weights", np.float32, 2),
        controls=_controls(header["controls"], code_sizes, arrays),
        prior=Prior(
            typed(arrays, "prior/mean", np.float32, 1),
            typed(arrays, "prior/factors", np.float32, 2),
            float(typed(arrays, "prior/tau", np.float64, 1).item()),
        ),
        network={
            name.removeprefix("network/"): array for name, array in arrays.items() if name.startswith("network/")
        },
        expressions=expressions_of(names, arrays),
    )


def _controls(entries: list[dict], code_sizes: list[int], arrays: dict[str, np.ndarray]) -> list[Control]:
    """Sliders are stored part after part, then those of the whole face, so that slider values can be too."""
    if len(entries) > MAX_CONTROLS:
        raise LwaeError(f"it has more than {MAX_CONTROLS:,} controls.")
    directions = typed(arrays, "control_directions", np.float32, 1)
    rows = typed(arrays, "control_readouts", np.float32, 2) if "control_readouts" in arrays else None
    controls, known, position, read = [], set(), 0, 0
    for entry in entries:
        name, part = entry["name"], entry["part"]
        if type(part) is not int or not (0 <= part < len(code_sizes) or part == WHOLE):
            raise LwaeError(f"the control {name!r} belongs to no part.")
        if controls and (controls[-1].part == WHOLE != part or WHOLE != part < controls[-1].part):
            raise LwaeError("its controls do not come part after part.")
        if not isinstance(name, str) or (part, name) in known:
            raise LwaeError(f"a part has two controls called {name!r}, or one without a name.")
        known.add((part, name))
        size, readout = code_sizes[part] if part != WHOLE else sum(code_sizes), None
        if part == WHOLE:
            if rows is None or rows.shape[1] != size or read >= len(rows):
                raise LwaeError(f"nothing says how to read the control {name!r} from a face.")
            readout, read = rows[read], read + 1
        controls.append(Control(name, part, directions[position : position + size], str(entry["description"]), readout))
        position += size
    if position != len(directions) or read != (0 if rows is None else len(rows)):
        raise LwaeError("the controls' directions do not have the length of the part codes.")
    return controls


def check_model(model: FaceModel) -> None:
    """Shapes that fit each other, finite numbers, indices in range: raises LwaeError with what is wrong."""
    n, k, d = len(model.mean), model.part_count, model.code_size
    corners = len(model.polygon_vertices)
    expected = {
        "mean": (model.mean, (n, 3)),
        "uv": (model.uv, (corners if len(model.uv) else 0, 2)),
        "polygon_material": (model.polygon_material, (len(model.polygon_sizes),)),
        "weights": (model.weights, (k, n)),
        "prior/mean": (model.prior.mean, (d,)),
        "prior/factors": (model.prior.factors, (d, model.prior.factors.shape[-1])),
    }
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise LwaeError(f"the array {name!r} has shape {array.shape} instead of {shape}.")
    if not n or not k or len(model.code_sizes) != k or len(set(model.part_names)) != k:
        raise LwaeError("it needs vertices, and parts with different names and codes.")
    if not isinstance(model.name, str) or not all(model.part_names):
        raise LwaeError("it or one of its parts has no name.")
    names = [*model.part_names, *(control.name for control in model.controls), *model.expressions.names]
    for text in (model.name, model.header.get("licence", ""), *names):
        require_label(text)
    if any("," in name for name in model.part_names):  # Command lines list parts.
        raise LwaeError("the name of a part has a comma.")
    if (model.polygon_sizes < 3).any() or model.polygon_sizes.sum(dtype=np.int64) != corners:
        raise LwaeError("the polygon sizes do not fit the polygon corners.")
    if corners and not (0 <= model.polygon_vertices.min() and model.polygon_vertices.max() < n):
        raise LwaeError("a polygon names a vertex that does not exist.")
    if not (model.polygon_material == 0).any() or model.polygon_material.max() > 1:
        raise LwaeError("it has no skin, or polygons of an unknown material.")
    if not 0 < model.prior.tau <= LARGEST_CODE**2:
        raise LwaeError("the prior's tau is not a variance.")
    for array in (model.mean, model.uv, model.weights, model.prior.mean, model.prior.factors):
        if not np.isfinite(array).all():
            raise LwaeError("it contains NaN or infinite numbers.")
    if max(np.abs(array).max(initial=0) for array in (model.prior.mean, model.prior.factors)) > LARGEST_CODE:
        raise LwaeError("its prior has numbers that no code of a face has.")
    if model.weights.min() < 0 or np.abs(model.weights.sum(axis=0) - 1).max() > 0.01:
        raise LwaeError("the parts' weights do not add up to 1 at every vertex.")
    for control in model.controls:
        if not all(np.isfinite(row).all() for row in (control.direction, control.readout) if row is not None):
            raise LwaeError(f"the control {control.name!r} contains NaN or infinite numbers.")
        if np.abs(control.direction).max(initial=0) > LARGEST_CODE:
            raise LwaeError(f"the control {control.name!r} has numbers that no code of a face has.")
    check_expressions(model.expressions, n)
    for name, array in model.network.items():
        if array.dtype.kind == "f" and not _is_finite(array):
            raise LwaeError(f"the network array {name!r} contains NaN or infinite numbers.")
    _check_faces(model)


def require_label(text: str) -> None:
    """LwaeError unless it is text of one line, which terminals, tables and Blender's names take."""
    if not isinstance(text, str) or UNSHOWABLE.search(text):
        raise LwaeError(f"{reprlib.repr(text)} is no name or licence: control characters and line breaks are in none.")


def _is_finite(array: np.ndarray) -> bool:
    """Whether it is, as the float32 that decoders take."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(array.astype(np.float32, copy=False) if array.itemsize > 4 else array).all())


def _check_faces(model: FaceModel) -> None:
    """The network's own arrays are checked by building it, and by what it makes of some codes."""
    from .numpy_decoder import NumpyDecoder

    drawn = model.prior.sample(np.random.default_rng(0), 1)
    codes = np.concatenate([np.zeros_like(drawn), model.prior.mean[None], drawn])
    with np.errstate(over="ignore", invalid="ignore"):
        faces = NumpyDecoder(model).decode(codes)
    if faces.shape != (len(codes), len(model.mean), 3):
        raise LwaeError("its network does not make faces of the model's own vertices.")
    if not all((np.abs(positions) <= FARTHEST).all() for positions in (faces, model.mean)):  # False of NaN too.
        raise LwaeError(f"its faces are not finite, or reach farther than {FARTHEST / MM_PER_METRE:g} m.")
