# SPDX-License-Identifier: GPL-3.0-or-later
"""A pull on a face: which point was pressed, and the sliders that follow it. `backend.pull` has the maths."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree
from mathutils.interpolate import poly_3d_calc

from . import face, models, shape, sync, writer
from .backend.controls import readouts
from .backend.errors import LwaeError
from .backend.model import MM_PER_METRE, FaceModel
from .backend.pull import Pull
from .backend.pull_space import Handle, Puller

_pullers: dict[int, Puller] = {}  # By id(model), which stays taken because a puller holds its model.
LEAST_SHARE = 0.05  # Of a part that is the face's own beside its donors; with less it cannot be pulled.


def puller(mesh: bpy.types.Mesh) -> Puller:
    """What pulling needs of a face's model; made on first use, in a fraction of a second.

    Raises:
        LwaeError: as `face.model_of` does.
    """
    model = face.model_of(mesh)
    if id(model) not in _pullers:
        _pullers[id(model)] = Puller(models.decoder(model))
    return _pullers[id(model)]


def forget(model: FaceModel) -> None:
    """Drop what was made for a model that was removed or replaced."""
    _pullers.pop(id(model), None)


def clear() -> None:
    """Forget what was made for models, on disabling the add-on."""
    _pullers.clear()


def handle_at(item: bpy.types.Object, point: Vector, polygon: int, seen: bpy.types.Mesh) -> Handle:
    """The point of a face's surface where its evaluated mesh was hit.

    Args:
        item: an object whose data is a face.
        point: where, in the object's space.
        polygon: number of the polygon of `seen` that was hit.
        seen: the evaluated mesh. Where modifiers gave it other vertices, the nearest point of the face stands for it.
    """
    mesh = item.data
    if (len(seen.vertices), len(seen.polygons)) != (len(mesh.vertices), len(mesh.polygons)):
        return handle_near(mesh, point)
    vertices = list(seen.polygons[polygon].vertices)
    return _handle(vertices, [seen.vertices[vertex].co for vertex in vertices], point)


def handle_near(mesh: bpy.types.Mesh, place: Vector) -> Handle:
    """The point of a face's surface that is nearest to a place in the mesh's space, in metres."""
    positions = [Vector(position) for position in writer.read_positions(mesh).tolist()]
    tree = BVHTree.FromPolygons(positions, [polygon.vertices for polygon in mesh.polygons])
    point, _normal, polygon, _distance = tree.find_nearest(place)
    if polygon is None:
        raise LwaeError(f"There is no such place on {mesh.name}; choose one near its surface.")
    vertices = list(mesh.polygons[polygon].vertices)
    return _handle(vertices, [positions[vertex] for vertex in vertices], point)


def _handle(vertices: list[int], corners: list[Vector], point: Vector) -> Handle:
    weights = np.array(poly_3d_calc(corners, point))
    return Handle(np.array(vertices), weights / weights.sum())


class FacePull:
    """One pull of one face. It can be followed any number of times, and taken back to the last bit."""

    def __init__(self, mesh: bpy.types.Mesh, handle: Handle):
        """
        Raises:
            LwaeError: when the model is missing.
        """
        self.mesh, self._handle = mesh, handle
        self._puller = puller(mesh)
        self._model = self._puller.model
        self._snapshot = Snapshot(mesh)
        self._own = shape.own_code(mesh, self._model)
        self._seen = shape.read_code(mesh, self._model)
        self._vertices = writer.read_positions(mesh) * np.float32(MM_PER_METRE)
        self._amounts = [[amount.value for amount in donor.amounts] for donor in mesh.lwae.donors]
        shares = 1 - np.sum(self._amounts, axis=0) if self._amounts else np.ones(self._model.part_count)
        self._parts = [
            index
            for index, part in enumerate(mesh.lwae.parts)
            if not part.locked and abs(shares[index]) > LEAST_SHARE
        ]
        self._shares = np.repeat(shares, self._model.code_sizes)
        self._options: tuple[float, bool, bool] | None = None
        self._pull: Pull | None = None
        self._free: tuple[int, ...] = ()
        self.paths: list[str] = []

    @property
    def start(self) -> np.ndarray:
        """Where the point was, float64 [3] in mm of the mesh's space."""
        return self._handle.at(self._vertices)

    @property
    def point(self) -> np.ndarray:
        """Where the point is now, float64 [3] in mm."""
        return self._handle.at(writer.read_positions(self.mesh) * MM_PER_METRE)

    @property
    def part_name(self) -> str:
        """The part that moves the point most."""
        return self._model.part_names[self._puller.part_at(self._handle)]

    def prepare(self, radius: float, mirror: bool, part_only: bool) -> None:
        """Say how to pull; may be changed while the pull goes on.

        Args:
            radius: mm.

        Raises:
            LwaeError: when nothing that could move is free, or the model has no mirror image there.
        """
        # Where symmetry is on, what happens to one side is shown on both.
        mirror = mirror or self.mesh.lwae.symmetry >= 0.5
        if (radius, mirror, part_only) == self._options:
            return
        free = tuple(self._parts)
        if part_only:
            part = self._puller.part_at(self._handle)
            if part not in free:
                reason = "locked" if self.mesh.lwae.parts[part].locked else "its donors' alone"
                raise LwaeError(f"The {self._model.part_names[part]} cannot be pulled: this part is {reason}.")
            free = (part,)
        kept = readouts(self._model)[face.whole_kept(self.mesh.lwae)]
        pull = Pull(self._puller, self._seen, self._vertices, self._handle, free, radius, mirror, kept)
        if self._free and self._free != free:
            self.restore()  # Parts that were free before go back.
        self._pull, self._free, self._options = pull, free, (radius, mirror, part_only)

    def follow(self, displacement: np.ndarray) -> float:
        """Move the point by [3] mm from where it was; call `prepare` before.

        Returns:
            How far it is from there, mm.
        """
        return self._pull.follow(displacement, self._show)

    def restore(self) -> None:
        """Take the pull back."""
        self._snapshot.restore()

    def _show(self, code: np.ndarray) -> np.ndarray:
        own = self._own.copy()
        for part in self._free:
            columns = self._model.part_slice(part)
            own[columns] += (code[columns] - self._seen[columns]) / self._shares[columns]
        with sync.paused():
            # Not the whole face's sliders, which would creep while a nose is pulled.
            whole = face.whole_values(self.mesh.lwae)
            paths = face.store_code(self.mesh, self._model, own, self._free, whole)
            for donor, values in zip(self.mesh.lwae.donors, self._amounts, strict=True):  # They go on giving.
                for amount, value in zip(donor.amounts, values, strict=True):
                    amount.value = value
        self.paths = [path for path in paths if not path.startswith("lwae.donors")]
        sync.write(self.mesh)
        return writer.read_positions(self.mesh) * np.float32(MM_PER_METRE)


class Snapshot:
    """A face as it was: its code, vertices and shape keys, to the last bit."""

    def __init__(self, mesh: bpy.types.Mesh):
        sync.settle(mesh)
        state = mesh.lwae
        self._mesh = mesh
        self._texts = {name: getattr(state, name) for name in ("rest", "applied", "stamp")}
        self._values = [[control.value for control in controls] for controls in _sliders(state)]
        self._positions = writer.Positions(mesh)

    def restore(self) -> None:
        state = self._mesh.lwae
        with sync.paused():
            for controls, values in zip(_sliders(state), self._values, strict=True):
                for control, value in zip(controls, values, strict=True):
                    control.value = value
        for name, text in self._texts.items():
            setattr(state, name, text)
        self._positions.restore()


def _sliders(state: bpy.types.PropertyGroup) -> list:
    return [*(part.controls for part in state.parts), state.whole, *(donor.amounts for donor in state.donors)]
