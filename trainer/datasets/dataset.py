# SPDX-License-Identifier: GPL-3.0-or-later
"""The data set folder: faces in vertex correspondence, a template mesh, labels and a fixed split.

    dataset.json   name, licence, provenance, the command that made it, split, label names
    vertices.npy   float32 [S, N, 3], mm, Z up, faces look along -Y; memory-mapped when read
    template.npz   polygon_sizes, polygon_vertices, uv, polygon_material, region_names, region_of_vertex
    labels.npy     float32 [S, labels]
    expressions.npz  facial actions, see `expression_set`; only where the source knows them
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.arrays import UNREADABLE, typed
from backend.errors import LwaeError
from backend.expressions import Expressions
from backend.files import atomic_folder, atomic_write
from backend.model import FARTHEST, MM_PER_METRE

from ..mesh.topology import polygon_starts
from .expression_set import save_expressions
from .npz_files import read_npz

TEST_SHARE = 0.11  # 220 of 2,000, as in the paper.


@dataclass
class Template:
    """The mesh that all faces share.

    Attributes:
        polygon_sizes: int32 [F].
        polygon_vertices: int32 [L].
        uv: float32 [L, 2] or [0, 2].
        polygon_material: uint8 [F], 0 skin, 1 eyes.
        region_names: names that the source knows for places on the face; may be empty.
        region_of_vertex: int32 [N], index into `region_names`, -1 where unknown; [0] when there are none.
    """

    polygon_sizes: np.ndarray
    polygon_vertices: np.ndarray
    uv: np.ndarray
    polygon_material: np.ndarray
    region_names: list[str] = field(default_factory=list)
    region_of_vertex: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    def of_vertices(self, kept: np.ndarray) -> Template:
        """The polygons that have kept vertices only, bool [N], renumbered: vertices keep their order."""
        whole = np.logical_and.reduceat(kept[self.polygon_vertices], polygon_starts(self.polygon_sizes))
        corners = np.repeat(whole, self.polygon_sizes)
        return Template(
            polygon_sizes=self.polygon_sizes[whole],
            polygon_vertices=(np.cumsum(kept) - 1)[self.polygon_vertices[corners]],
            uv=self.uv[corners] if len(self.uv) else self.uv,
            polygon_material=self.polygon_material[whole],
            region_names=self.region_names,
            region_of_vertex=self.region_of_vertex[kept] if len(self.region_of_vertex) else self.region_of_vertex,
        )


@dataclass
class Dataset:
    """An opened data set folder. `vertices` stays on disk until it is indexed."""

    path: Path
    name: str
    licence: str
    provenance: str
    vertices: np.ndarray
    template: Template
    train: np.ndarray
    test: np.ndarray
    label_names: list[str]
    labels: np.ndarray
    command: str = ""  # that made it

    @property
    def vertex_count(self) -> int:
        return self.vertices.shape[1]

    def faces(self, which: np.ndarray) -> np.ndarray:
        """Some faces in memory, float32 [n, N, 3].

        Raises:
            LwaeError: when positions are not finite, or no face's.
        """
        faces = self.vertices[which]
        if not max(faces.max(initial=0), -faces.min(initial=0)) <= FARTHEST:  # of NaN too
            raise LwaeError(
                f"Some faces of {self.path} are NaN or infinite, or reach farther than {FARTHEST / MM_PER_METRE:g} m; "
                "prepare the data set again."
            )
        return faces


def split_faces(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random train and test indices, sorted; the test share is the paper's 220 of 2,000, at least one face."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 0x5911])).permutation(count)
    held_out = max(1, round(TEST_SHARE * count))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def write_dataset(
    path: Path,
    blocks: Iterator[np.ndarray],
    count: int,
    template: Template,
    *,
    name: str,
    licence: str,
    provenance: str,
    command: str = "",
    seed: int,
    label_names: list[str] | None = None,
    labels: np.ndarray | None = None,
    expressions: Expressions | None = None,
    reference: np.ndarray | None = None,
) -> Dataset:
    """Write a data set folder from blocks of faces, without holding all of them in memory.

    The folder appears under its name only when it is complete.

    Args:
        blocks: float32 [b, N, 3] arrays, `count` faces in all.
        expressions, reference: facial actions on a face [N, 3] in the data set's frame.

    Raises:
        LwaeError: when the folder exists already, positions are not finite, or the disk is full.
    """
    path = Path(path)
    if path.exists():
        raise LwaeError(f"{path} exists already; choose another folder or delete it first.")
    train, test = split_faces(count, seed)
    if not (len(train) and len(test)):
        raise LwaeError(f"{count} face{'s' * (count != 1)} cannot be split for training and testing; make more.")
    with atomic_folder(path) as folder:
        _write_vertices(folder / "vertices.npy", blocks, count)
        with atomic_write(folder / "template.npz") as stream:
            np.savez_compressed(
                stream,
                polygon_sizes=template.polygon_sizes.astype(np.int32),
                polygon_vertices=template.polygon_vertices.astype(np.int32),
                uv=template.uv.astype(np.float32),
                polygon_material=template.polygon_material.astype(np.uint8),
                region_names=np.array(template.region_names, dtype=str),
                region_of_vertex=template.region_of_vertex.astype(np.int32),
            )
        with atomic_write(folder / "labels.npy") as stream:
            np.save(stream, np.zeros((count, 0)) if labels is None else labels.astype(np.float32))
        if expressions is not None:
            save_expressions(folder, expressions, reference)
        facts = {
            "format": "lwae-dataset",
            "format_version": 1,
            "name": name,
            "licence": licence,
            "provenance": provenance,
            "command": command,
            "seed": seed,
            "units": "mm",
            "up": "Z",
            "label_names": label_names or [],
            "train": train.tolist(),
            "test": test.tolist(),
        }
        with atomic_write(folder / "dataset.json", "w", encoding="utf-8") as stream:
            json.dump(facts, stream, indent=1)
    return load_dataset(path)


def _write_vertices(path: Path, blocks: Iterator[np.ndarray], count: int) -> None:
    """Write a float32 .npy [count, N, 3] front to back: on a full disk a memory map would crash, not raise."""
    filled = 0
    with atomic_write(path) as stream:
        for block in blocks:
            block = np.ascontiguousarray(block, dtype="<f4")
            finite = np.isfinite(block).all(axis=(1, 2))
            if not finite.all():
                face = filled + int(np.flatnonzero(~finite)[0])
                raise LwaeError(f"Face {face} has NaN or infinite positions; repair or remove it.")
            if filled == 0:
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, *block.shape[1:])}
                np.lib.format.write_array_header_1_0(stream, header)
            stream.write(block.data)
            filled += len(block)


def load_dataset(path: Path) -> Dataset:
    """Open a data set folder.

    Raises:
        LwaeError: when the folder is missing, damaged, or not a data set.
    """
    path = Path(path)
    if not (path / "dataset.json").is_file():
        raise LwaeError(f"{path} is not a data set; make one with `python -m trainer prepare`.")
    try:
        facts = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
        if facts["format"] != "lwae-dataset" or facts["format_version"] != 1:
            raise LwaeError(f"{path} was made by another version of the trainer; prepare it again.")
        vertices = np.load(path / "vertices.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(path / "labels.npy", allow_pickle=False)
        template = _read_template(path / "template.npz")
        dataset = Dataset(
            path=path,
            name=facts["name"],
            licence=facts["licence"],
            provenance=facts["provenance"],
            command=facts["command"],
            vertices=vertices,
            template=template,
            train=np.array(facts["train"], dtype=np.int64),
            test=np.array(facts["test"], dtype=np.int64),
            label_names=facts["label_names"],
            labels=labels,
        )
        split = np.sort(np.concatenate([dataset.train, dataset.test]))
        complete = (
            vertices.ndim == 3
            and vertices.shape[2] == 3
            and vertices.dtype == np.float32
            and labels.dtype.kind in "fiu"
            and labels.shape == (len(vertices), len(dataset.label_names))
            and template.region_of_vertex.shape in ((0,), (vertices.shape[1],))
            and all(isinstance(facts[key], str) for key in ("name", "licence", "provenance", "command"))
            and min(len(dataset.train), len(dataset.test)) > 0
            and np.array_equal(split, np.arange(len(vertices)))
            and template.polygon_sizes.min() >= 3
            and template.polygon_sizes.sum() == len(template.polygon_vertices)
            and 0 <= template.polygon_vertices.min() <= template.polygon_vertices.max() < vertices.shape[1]
        )
    except LwaeError:
        raise
    except UNREADABLE as error:
        raise LwaeError(f"The data set {path} is damaged ({error}); prepare it again.") from error
    if not complete:
        raise LwaeError(f"The data set {path} is incomplete; prepare it again.")
    return dataset


def _read_template(path: Path) -> Template:
    kinds = {"polygon_sizes": np.int32, "polygon_vertices": np.int32, "uv": np.float32, "polygon_material": np.uint8}
    arrays = read_npz(path, (*kinds, "region_names", "region_of_vertex"))
    try:
        known = {name: typed(arrays, name, kind, 2 if name == "uv" else 1) for name, kind in kinds.items()}
        places = typed(arrays, "region_of_vertex", np.int32, 1)
    except LwaeError as error:
        raise ValueError(f"in {path.name} {str(error).rstrip('.')}") from error
    regions = [str(region) for region in arrays["region_names"]]
    return Template(**known, region_names=regions, region_of_vertex=places)
