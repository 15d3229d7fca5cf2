# SPDX-License-Identifier: GPL-3.0-or-later
"""Thumbnails: a portrait of each face, rendered with Cycles on the CPU, without a display."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from ..backend.errors import LwaeError
from ..backend.model import MM_PER_METRE, FaceModel
from .exporters import put_in_place
from .stage import Stage

SAMPLES = 32
LENS_MM, SENSOR_MM = 85.0, 36.0
YAW, PITCH = math.radians(24), math.radians(3)  # A three-quarter view from the face's left, a little from above.
MARGIN = 1.12


class Portrait:
    """Photographs faces of one model: the same camera and light for each, so that sizes can be compared."""

    def __init__(self, model: FaceModel, size: int, scratch: Path):
        self._scratch = scratch
        self._stage = Stage(model)
        low, high = model.mean.min(0) / MM_PER_METRE, model.mean.max(0) / MM_PER_METRE
        centre, radius = Vector((low + high) / 2), float(np.linalg.norm(high - low)) / 2
        self._add_camera(centre, radius)
        self._add_lights(centre, radius)
        self._set_up_render(size)

    def save(self, path: Path, vertices: np.ndarray) -> None:
        """Render vertices [N, 3] in mm to a PNG.

        Raises:
            LwaeError: when it cannot be rendered or written.
        """
        self._stage.show(vertices, "face")
        self._scratch.mkdir(exist_ok=True)
        unfinished = self._scratch / path.name
        self._stage.scene.render.filepath = str(unfinished)
        try:
            bpy.ops.render.render(write_still=True, scene=self._stage.scene.name)
        except RuntimeError as error:
            raise LwaeError(f"Cannot render {path}: {str(error).strip()}") from error
        if not unfinished.is_file() or not unfinished.read_bytes().endswith(b"IEND\xaeB`\x82"):
            raise LwaeError(f"Cannot write {path}: the picture is not whole; is the disk full?")
        put_in_place(unfinished, path)

    def _add_camera(self, centre: Vector, radius: float) -> None:
        camera = bpy.data.cameras.new("portrait")
        camera.lens, camera.sensor_width = LENS_MM, SENSOR_MM
        distance = MARGIN * radius / math.sin(math.atan(SENSOR_MM / 2 / LENS_MM))
        camera.clip_start, camera.clip_end = distance / 100, distance * 100
        towards = Vector((math.sin(YAW) * math.cos(PITCH), -math.cos(YAW) * math.cos(PITCH), math.sin(PITCH)))
        self._camera = self._add("camera", camera, centre + distance * towards, centre)
        self._stage.scene.camera = self._camera

    def _add_lights(self, centre: Vector, radius: float) -> None:
        """A soft warm key from the upper front, a weak fill, a cool rim from behind; sizes in head radii."""
        for name, place, size, watts, colour in (
            ("key", (-1.6, -2.6, 1.9), 2.2, 90.0, (1.0, 0.93, 0.86)),
            ("fill", (2.8, -1.8, 0.2), 3.0, 20.0, (0.85, 0.92, 1.0)),
            ("rim", (1.9, 2.2, 1.6), 1.4, 90.0, (0.86, 0.93, 1.0)),
        ):
            light = bpy.data.lights.new(name, "AREA")
            light.shape, light.size, light.color = "DISK", size * radius, colour
            light.energy = watts * radius**2
            self._add(name, light, centre + radius * Vector(place), centre)

    def _add(self, name: str, data: bpy.types.ID, place: Vector, target: Vector) -> bpy.types.Object:
        item = bpy.data.objects.new(name, data)
        item.location = place
        item.rotation_euler = (target - place).to_track_quat("-Z", "Y").to_euler()
        self._stage.scene.collection.objects.link(item)
        return item

    def _set_up_render(self, size: int) -> None:
        scene = self._stage.scene
        scene.render.engine = "CYCLES"
        scene.cycles.device = "CPU"
        scene.cycles.samples = SAMPLES
        scene.cycles.use_adaptive_sampling = False
        scene.cycles.use_denoising = False
        scene.cycles.max_bounces = 3
        scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
        scene.render.use_persistent_data = True
        scene.render.resolution_x = scene.render.resolution_y = size
        scene.render.resolution_percentage = 100
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGB"
        scene.render.use_file_extension = False
        scene.world = bpy.data.worlds.new("portrait")
        scene.world.color = (0.2, 0.2, 0.2)
