# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading OBJ, PLY, STL and npz meshes with vertex order, polygons and UVs as they stand in the file.

Mesh libraries split quads, and merge or reorder vertices; meshes in vertex correspondence need them left alone,
and thousands of files read fast. So only what correspondence needs is read. Polygons are parsed once as long as
the next file repeats them.
"""

from __future__ import annotations

import codecs
import re
import struct
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from backend.arrays import UNREADABLE
from backend.errors import LwaeError

from .dataset import Template
from .npz_files import read_npz

SUFFIXES = (".obj", ".ply", ".stl", ".npz")


def read_mesh(path: Path) -> tuple[np.ndarray, Template | None]:
    """Positions and polygons of one file.

    OBJ: several objects, negative indices and vertex colours are fine.
    PLY: ascii or binary of either byte order; UVs as vertex properties (s, t) or as the face list `texcoord`.
    STL: has no shared vertices: each triangle comes with three of its own.
    npz: `vertices` [N, 3] or [S, N, 3]; maybe `faces` [F, 3 or 4] or `polygon_sizes` and `polygon_vertices`, `uv`
    [L, 2] or [N, 2], `polygon_material` [F]; without `vertices` it is a template of polygons only.

    Returns:
        float [S, N, 3] in the file's own unit and axes (S = 0: a template only), and the polygons or None.

    Raises:
        LwaeError: when the file is missing, truncated, or not of the format that its name says.
    """
    path = Path(path)
    readers = {".obj": _read_obj, ".ply": _read_ply, ".stl": _read_stl, ".npz": _read_npz}
    try:
        return readers[path.suffix.lower()](path)
    except UNREADABLE as error:
        kind = path.suffix[1:].upper()
        raise LwaeError(f"{path} cannot be read as {kind} ({_reason(error)}); export it again.") from error


def is_template(path: Path) -> bool:
    """Whether an npz has polygons but no positions, like the `template.npz` of a headless synthesis.

    What is damaged is none: `read_mesh` says so.
    """
    if path.suffix.lower() != ".npz":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except UNREADABLE:
        return False
    return "vertices.npy" not in names and "polygon_sizes.npy" in names


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, struct.error):
        return "it is cut short"
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")


def _template(
    sizes: np.ndarray, corners: np.ndarray, vertex_count: int | None, uv=None, material=None
) -> Template | None:
    """Check indices; UVs may be given for each corner or each vertex."""
    if any(np.asarray(numbers).dtype.kind == "f" and np.mod(numbers, 1).any() for numbers in (sizes, corners)):
        raise ValueError("polygons are whole numbers of corners and vertices")
    sizes, corners = np.asarray(sizes, dtype=np.int64).ravel(), np.asarray(corners, dtype=np.int64).ravel()
    if len(sizes) == 0:
        return None
    if sizes.min() < 3:
        raise ValueError(f"polygon {sizes.argmin()} has {sizes.min()} corners")
    if sizes.sum() != len(corners):
        raise ValueError(f"the polygons need {sizes.sum()} corners and there are {len(corners)}")
    if corners.min() < 0 or (vertex_count is not None and corners.max() >= vertex_count):
        raise ValueError(f"a polygon names a vertex that is not among the {vertex_count}")
    uv = np.zeros((0, 2)) if uv is None else np.asarray(uv, dtype=np.float64).reshape(-1, 2)
    if len(uv) not in (0, len(corners)):
        if len(uv) != vertex_count:
            raise ValueError(f"there are {len(uv)} UVs for {len(corners)} corners")
        uv = uv[corners]
    material = np.zeros(len(sizes)) if material is None else np.ravel(material)
    if len(material) != len(sizes):
        raise ValueError(f"there are {len(material)} materials for {len(sizes)} polygons")
    if not np.isin(material, (0, 1)).all() or np.all(material):
        raise ValueError("materials are 0 (skin) and 1 (eyes), and some polygons are skin")
    if not np.isfinite(uv).all():
        raise ValueError("some UVs are NaN or infinite")
    return Template(
        polygon_sizes=sizes.astype(np.int32),
        polygon_vertices=corners.astype(np.int32),
        uv=uv.astype(np.float32),
        polygon_material=material.astype(np.uint8),
    )


# Wavefront OBJ


def _read_obj(path: Path) -> tuple[np.ndarray, Template | None]:
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ValueError("it is text in UTF-16")
    text = content.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\\\n", " ").replace("\t", " ")
    groups: dict[str, list[str]] = {"v ": [], "vt": [], "f ": []}
    lines = [line.lstrip() for line in text.split("\n")]
    for line in lines:
        groups.setdefault(line[:2], []).append(line)
    vertices = _table(groups["v "], 3, skip=1)
    if not len(vertices):
        raise ValueError("it has no vertices")
    faces = tuple(groups["f "])
    if not faces:
        return vertices[None], None
    relative = "-" in "".join(faces)
    sizes, corners, uv_index = _obj_polygons(faces, _obj_counts(lines) if relative else None)
    uv = None
    if uv_index is not None:
        # A texture coordinate may be one number: the other one is 0 then.
        coordinates = _table([f"{line.partition('#')[0]} 0" for line in groups["vt"]], 2, skip=1)
        if uv_index.min() < 0 or uv_index.max() >= len(coordinates):
            raise ValueError("a polygon names a UV that is not there")
        uv = coordinates[uv_index]
    return vertices[None], _template(sizes, corners, len(vertices), uv)


def _table(rows: list[str], columns: int, skip: int = 0) -> np.ndarray:
    """Columns of lines of numbers, float64 [rows, columns]; what follows them may be ragged."""
    if not rows:
        return np.zeros((0, columns))
    try:
        return np.loadtxt(rows, usecols=range(skip, skip + columns), ndmin=2)
    except ValueError:
        for row in rows:  # NumPy's own sentences count rows and columns that no text editor shows.
            try:
                numbers = [float(word) for word in row.split()[skip : skip + columns]]
            except ValueError:
                numbers = []
            if len(numbers) < columns:
                raise ValueError(f"its line {row.strip()[:60]!r} has not the {columns} numbers it needs") from None
        raise


def _obj_counts(lines: list[str]) -> tuple[tuple[int, int], ...]:
    """How many vertices and UVs stand before each face: negative indices count back from there."""
    counts, seen = [], {"v ": 0, "vt": 0}
    for line in lines:
        if line[:2] in seen:
            seen[line[:2]] += 1
        elif line[:2] == "f ":
            counts.append((seen["v "], seen["vt"]))
    return tuple(counts)


@lru_cache(maxsize=1)
def _obj_polygons(
    faces: tuple[str, ...], counts: tuple[tuple[int, int], ...] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Sizes [F], vertex [L] and UV [L] (None unless all corners have one) of lines like `f 1/1/1 2/2/2 3/3/3`."""
    polygons = [face.partition("#")[0].split()[1:] for face in faces]
    sizes = np.array([len(polygon) for polygon in polygons])
    corners = [corner.split("/") for polygon in polygons for corner in polygon]
    has_uv = all(len(corner) > 1 and corner[1] for corner in corners)
    columns = [np.array([int(corner[i]) for corner in corners]) for i in range(1 + has_uv)]
    for i, column in enumerate(columns):
        if (column == 0).any():
            raise ValueError("a polygon has the index 0, but OBJ counts from 1")
        if counts is None:
            column -= 1
        else:
            before = np.repeat(np.array(counts)[:, i], sizes)
            columns[i] = np.where(column < 0, before + column, column - 1)
    return sizes, columns[0], columns[1] if has_uv else None


# Stanford PLY

PLY_TYPES = {
    "char": "b",
    "uchar": "B",
    "short": "h",
    "ushort": "H",
    "int": "i",
    "uint": "I",
    "float": "f",
    "double": "d",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "float64": "d",
}
PLY_UV = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))

# A property is (name, type, type of the list's length or ""). A column is an array of one number for each row, or
# for a list property (lengths [rows], all numbers one row after the other).
Property = tuple[str, str, str]
Column = np.ndarray | tuple[np.ndarray, np.ndarray]


def _read_ply(path: Path) -> tuple[np.ndarray, Template | None]:
    data = path.read_bytes()
    kind, elements, start = _ply_header(data)
    table: dict[str, dict[str, Column]] = {}
    if kind == "ascii":
        lines = tuple(line for line in data[start:].decode("latin-1").splitlines() if line.strip())
        for name, count, properties in elements:
            if len(lines) < count:
                raise ValueError(f"the file ends within its {count} rows of {name}")
            rows, lines = lines[:count], lines[count:]
            parse = _ply_ascii_lists if _has_list(properties) else _ply_ascii
            table[name] = parse(rows, properties)
    else:
        order = "<" if kind == "binary_little_endian" else ">"
        for name, count, properties in elements:
            if _has_list(properties):
                table[name], used = _ply_binary_lists(data[start:], count, properties, order)
            else:
                layout = np.dtype([(p, order + code) for p, code, _ in properties])
                rows = np.frombuffer(data, layout, count, start)
                table[name], used = {p: rows[p] for p, _, _ in properties}, rows.nbytes
            start += used
    return _ply_mesh(table)


def _ply_header(data: bytes) -> tuple[str, list[tuple[str, int, tuple[Property, ...]]], int]:
    """Format, elements (name, count, properties), and where the body begins."""
    end = re.search(rb"^end_header[ \t]*(\r\n|\n|\r)", data[:100_000], re.MULTILINE)
    if not data.startswith(b"ply") or not end:
        raise ValueError("its header is incomplete")
    kind, elements = "", []
    for line in data[: end.start()].decode("latin-1").splitlines():
        words = line.split() or [""]
        if words[0] == "format":
            kind = words[1]
        elif words[0] == "element":
            elements.append((words[1], int(words[2]), []))
        elif words[0] == "property":
            codes = [PLY_TYPES[word] for word in words[1:-1] if word != "list"]
            elements[-1][2].append((words[-1], codes[-1], codes[0] if words[1] == "list" else ""))
    if kind not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise ValueError(f"its format is {kind or 'not given'}")
    return kind, [(name, count, tuple(properties)) for name, count, properties in elements], end.end()


def _has_list(properties: tuple[Property, ...]) -> bool:
    return any(length for _, _, length in properties)


def _ply_mesh(table: dict[str, dict[str, Column]]) -> tuple[np.ndarray, Template | None]:
    vertex, face = table["vertex"], table.get("face", {})
    vertices = np.stack([vertex[axis] for axis in "xyz"], axis=1).astype(np.float64)
    polygons = face.get("vertex_indices", face.get("vertex_index"))
    if polygons is None:
        return vertices[None], None
    sizes, corners = polygons
    uv = None
    if "texcoord" in face and np.array_equal(face["texcoord"][0], 2 * sizes):
        uv = face["texcoord"][1].reshape(-1, 2)
    for u, v in PLY_UV:
        if uv is None and u in vertex and v in vertex:
            uv = np.stack([vertex[u], vertex[v]], axis=1)[corners]
    return vertices[None], _template(sizes, corners, len(vertices), uv)


def _ply_ascii(rows: tuple[str, ...], properties: tuple[Property, ...]) -> dict[str, Column]:
    table = _table(list(rows), len(properties))
    return {name: table[:, i] for i, (name, _, _) in enumerate(properties)}


@lru_cache(maxsize=1)
def _ply_ascii_lists(rows: tuple[str, ...], properties: tuple[Property, ...]) -> dict[str, Column]:
    def values(row: str):
        words = row.split()
        at = 0
        for _, code, length in properties:
            size = int(words[at]) if length else 1
            at += bool(length)
            if len(words) < at + size:
                raise ValueError("a row of a list has too few numbers")
            yield [float(word) if code in "fd" else int(word) for word in words[at : at + size]]
            at += size

    return _columns([list(values(row)) for row in rows], properties)


@lru_cache(maxsize=1)
def _ply_binary_lists(
    data: bytes, count: int, properties: tuple[Property, ...], order: str
) -> tuple[dict[str, Column], int]:
    """Columns of the first `count` rows, and how many bytes these take."""
    if count == 0:
        return _columns([], properties), 0
    # Where all lists are as long as the first row's, the rows are an array.
    at, fields = 0, []
    for name, code, length in properties:
        size = 1
        if length:
            (size,) = struct.unpack_from(order + length, data, at)
            at += struct.calcsize(length)
            fields.append((name + " length", order + length))
        fields.append((name, order + code, (size,)))
        at += size * struct.calcsize(code)
    layout = np.dtype(fields)
    if count * layout.itemsize <= len(data):
        rows = np.frombuffer(data, layout, count)
        if all((rows[p + " length"] == layout[p].shape[0]).all() for p, _, length in properties if length):
            columns = {
                p: (rows[p + " length"].astype(np.int64), rows[p].ravel()) if length else rows[p][:, 0]
                for p, _, length in properties
            }
            return columns, rows.nbytes
    at, table = 0, []
    for _ in range(count):
        row = []
        for _, code, length in properties:
            size = 1
            if length:
                (size,) = struct.unpack_from(order + length, data, at)
                at += struct.calcsize(length)
            row.append(struct.unpack_from(f"{order}{size}{code}", data, at))
            at += size * struct.calcsize(code)
        table.append(row)
    return _columns(table, properties), at


def _columns(rows: list[list], properties: tuple[Property, ...]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for i, (name, code, length) in enumerate(properties):
        flat = np.array(
            [value for row in rows for value in row[i]], dtype=float if code in "fd" else np.int64
        )
        columns[name] = (np.array([len(row[i]) for row in rows], dtype=np.int64), flat) if length else flat
    return columns


# STL and npz


def _read_stl(path: Path) -> tuple[np.ndarray, Template | None]:
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    # A binary header may begin with "solid" too: the size decides.
    if len(data) >= 84 and len(data) == 84 + 50 * count:
        layout = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        vertices = np.frombuffer(data, layout, count, 84)["corners"].reshape(-1, 3)
    elif data.lstrip()[:5].lower() == b"solid" and b"\0" not in data:
        text = data.decode("latin-1")
        vertices = _table(re.findall(r"^\s*vertex\s+(.*)", text, re.MULTILINE | re.IGNORECASE), 3)
        if len(vertices) % 3 or "endsolid" not in text.lower():
            raise ValueError("the file ends within a triangle or its solid")
    else:
        raise ValueError(f"{count} triangles need {84 + 50 * count} bytes and there are {len(data)}")
    triangles = len(vertices) // 3
    return vertices[None], _template(np.full(triangles, 3), np.arange(3 * triangles), len(vertices))


def _read_npz(path: Path) -> tuple[np.ndarray, Template | None]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is cut short or no npz")
    wanted = ("vertices", "faces", "polygon_sizes", "polygon_vertices", "uv", "polygon_material")
    with zipfile.ZipFile(path) as archive:
        there = {name.removesuffix(".npy") for name in archive.namelist()}
    arrays = read_npz(path, [name for name in wanted if name in there])
    only_polygons = "vertices" not in arrays and "polygon_sizes" in arrays
    vertices = np.zeros((0, 0, 3)) if only_polygons else arrays["vertices"]
    vertices = vertices[None] if vertices.ndim == 2 else vertices
    if vertices.ndim != 3 or vertices.shape[2] != 3 or vertices.dtype.kind not in "fiu":
        raise ValueError(f"vertices has the shape {list(vertices.shape)}, not [N, 3] or [S, N, 3]")
    if "faces" in arrays and "polygon_sizes" not in arrays:
        faces = arrays["faces"]
        if faces.ndim != 2:
            raise ValueError(f"faces has the shape {list(faces.shape)}, not [F, 3] or [F, 4]")
        sizes, corners = np.full(len(faces), faces.shape[1]), faces
    elif "polygon_sizes" in arrays:
        sizes, corners = arrays["polygon_sizes"], arrays["polygon_vertices"]
    else:
        return vertices, None
    vertex_count = vertices.shape[1] if "vertices" in arrays else None
    return vertices, _template(sizes, corners, vertex_count, arrays.get("uv"), arrays.get("polygon_material"))
