# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing `.lwae` files: one zip of NumPy arrays and a JSON header, never a pickle.

Opening a stranger's file is safe: no code in it can run, sizes are checked before memory is taken, and every
array is checked against the others before a model is made of it. docs/file-format.md lists the arrays.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .errors import LwaeError
from .files import atomic_write
from .model import Control, FaceModel
from .prior import Prior

FORMAT = "lwae"
FORMAT_VERSION = 1
MAX_BYTES = 8 << 30  # A 53,215-vertex model has 0.1 GB.

_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)


def save_model(model: FaceModel, path: str | os.PathLike) -> None:
    """Write a model; the file appears complete or not at all, and equal models give equal bytes.

    Raises:
        LwaeError: when the file cannot be written.
    """
    header = dict(
        model.header,
        format=FORMAT,
        format_version=FORMAT_VERSION,
        parts=list(model.part_names),
        code_sizes=[int(size) for size in model.code_sizes],
        topology_hash=model.topology_hash,
        controls=[
            {"name": control.name, "part": int(control.part), "description": control.description}
            for control in model.controls
        ],
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
        "prior/tau": np.array(model.prior.tau, dtype="<f8"),
    }
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
            arrays = {
                name.removesuffix(".npy"): _read_array(archive, name)
                for name in archive.namelist()
                if name != "header.npy"
            }
        except _UNREADABLE as error:
            raise LwaeError(f"{path.name} is damaged ({_why(error)}); download or export it again.") from error
    try:
        model = _build(header, arrays)
        _check(model)
    except LwaeError as error:
        raise LwaeError(f"{path.name} is not a usable model: {error} Export it again.") from error
    except _UNREADABLE as error:
        raise LwaeError(
            f"{path.name} is not a usable model: {_why(error)} is missing or malformed. Export it again."
        ) from error
    return model


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise LwaeError(f"There is no model file {path}; check the path.")
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise LwaeError(f"Cannot read {path}: {error.strerror or error}.") from error
    except _UNREADABLE as error:
        raise LwaeError(
            f"{path.name} is not a .lwae model, or only a part of one; download or export it again."
        ) from error
    if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
        archive.close()
        raise LwaeError(f"{path.name} claims to hold more than {MAX_BYTES >> 30} GiB; it is not opened.")
    return archive


def _header(archive: zipfile.ZipFile, path: Path) -> dict:
    try:
        header = json.loads(_read_array(archive, "header.npy").tobytes())
        is_model = header["format"] == FORMAT
        version = int(header["format_version"])
    except _UNREADABLE as error:
        raise LwaeError(f"{path.name} is not a .lwae model: it has no readable header.") from error
    if not is_model:
        raise LwaeError(f"{path.name} is not a .lwae model.")
    if version > FORMAT_VERSION:
        raise LwaeError(
            f"{path.name} has format version {version}, but this version reads up to {FORMAT_VERSION}; "
            "please update the add-on."
        )
    return header


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # The size that the zip directory states bounds what may be allocated for the array's stated shape.
    content = archive.read(name)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = read[version](stream)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise ValueError(f"array {name} holds {dtype}, not numbers")
    count = 1
    for length in shape:
        count *= length
    if count * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"array {name} is cut short")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _build(header: dict, arrays: dict[str, np.ndarray]) -> FaceModel:
    code_sizes = [int(size) for size in header["code_sizes"]]
    directions = arrays["control_directions"].astype(np.float32)
    controls, position = [], 0
    for control in header["controls"]:
        part = int(control["part"])
        if not 0 <= part < len(code_sizes):
            raise LwaeError(f"the control {control['name']!r} belongs to no part.")
        size = code_sizes[part]
        controls.append(
            Control(str(control["name"]), part, directions[position : position + size], str(control["description"]))
        )
        position += size
    if position != len(directions):
        raise LwaeError("the controls' directions do not have the length of the part codes.")
    tau = float(arrays["prior/tau"].item())
    return FaceModel(
        header=header,
        mean=arrays["mean"].astype(np.float32),
        polygon_sizes=arrays["polygon_sizes"].astype(np.int32),
        polygon_vertices=arrays["polygon_vertices"].astype(np.int32),
        uv=arrays["uv"].astype(np.float32),
        polygon_material=arrays["polygon_material"].astype(np.uint8),
        part_names=[str(name) for name in header["parts"]],
        code_sizes=code_sizes,
        weights=arrays["weights"].astype(np.float32),
        controls=controls,
        prior=Prior(arrays["prior/mean"].astype(np.float32), arrays["prior/factors"].astype(np.float32), tau),
        network={
            name.removeprefix("network/"): array for name, array in arrays.items() if name.startswith("network/")
        },
    )


def _check(model: FaceModel) -> None:
    """Shapes that fit each other, finite numbers, indices in range."""
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
    if not n or not k or min(model.code_sizes) < 1 or len(model.code_sizes) != k or len(set(model.part_names)) != k:
        raise LwaeError("it needs vertices, and parts with different names and codes.")
    if not isinstance(model.name, str) or not all(model.part_names):
        raise LwaeError("it or one of its parts has no name.")
    if (model.polygon_sizes < 3).any() or model.polygon_sizes.sum(dtype=np.int64) != corners:
        raise LwaeError("the polygon sizes do not fit the polygon corners.")
    if corners and not (0 <= model.polygon_vertices.min() and model.polygon_vertices.max() < n):
        raise LwaeError("a polygon names a vertex that does not exist.")
    if not (np.isfinite(model.prior.tau) and model.prior.tau >= 0):
        raise LwaeError("the prior's tau is not a variance.")
    for array in (model.mean, model.uv, model.weights, model.prior.mean, model.prior.factors):
        if not np.isfinite(array).all():
            raise LwaeError("it contains NaN or infinite numbers.")
    for control in model.controls:
        if not np.isfinite(control.direction).all():
            raise LwaeError(f"the control {control.name!r} contains NaN or infinite numbers.")
    for name, array in model.network.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise LwaeError(f"the network array {name!r} contains NaN or infinite numbers.")
    # The network's own arrays are checked by building it.
    from .numpy_decoder import NumpyDecoder

    decoded = NumpyDecoder(model).decode(np.zeros((1, d), dtype=np.float32))
    if decoded.shape != (1, n, 3):
        raise LwaeError("its network does not make faces of the model's own vertices.")


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__
