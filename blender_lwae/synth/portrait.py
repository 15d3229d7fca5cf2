# SPDX-License-Identifier: GPL-3.0-or-later
"""Thumbnails: a portrait of each face, rendered with Cycles on the CPU, without a display."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from ..backend.errors import LwaeError
from ..backend.model import MM_PER_METRE, FaceModel
from .exporters import last_line, need_addon, put_in_place
from .stage import Stage

SAMPLES, SAMPLES_TO_DENOISE = 24, 12
LENS_MM, SENSOR_MM = 85.0, 36.0
YAW, PITCH = math.radians(20), math.radians(3)  # A three-quarter view from the face's left, a little from above.
MARGIN = 1.28  # Room for larger heads than the mean, and for air around them.
BACKDROP_CENTRE, BACKDROP_EDGE = (0.25, 0.262, 0.275, 1), (0.06, 0.064, 0.07, 1)
AMBIENT = (0.11, 0.12, 0.135, 1)


class Portrait:
    """Photographs faces of one model: the same camera and light for each, so that sizes can be compared."""

    def __init__(self, model: FaceModel, size: int, scratch: Path):
        need_addon("cycles", "Pictures need")
        self._scratch = scratch
        self._stage = Stage(model)
        points = model.mean / MM_PER_METRE
        centre = Vector((points.min(0) + points.max(0)) / 2)
        radius = float(np.linalg.norm(points.max(0) - points.min(0))) / 2
        self._add_camera(points)
        self._add_lights(centre, radius)
        self._add_backdrop()
        self._use_quick_skin()
        self._set_up_render(size)

    def save(self, path: Path, vertices: np.ndarray) -> None:
        """Render vertices [N, 3] in mm to a PNG.

        Raises:
            LwaeError: when it cannot be rendered or written.
        """
        self._stage.show(vertices, "face")
        unfinished = self._scratch / path.name
        target = str(unfinished)
        if bpy.app.version >= (4, 5, 0):  # A template, where braces name variables.
            target = target.replace("{", "{{").replace("}", "}}")
        self._stage.scene.render.filepath = target
        try:
            bpy.ops.render.render(write_still=True, scene=self._stage.scene.name)
        except RuntimeError as error:
            raise LwaeError(f"Cannot render {path}: {last_line(error)}") from error
        if not unfinished.is_file() or not unfinished.read_bytes().endswith(b"IEND\xaeB`\x82"):
            raise LwaeError(f"Cannot write {path}: the picture is not whole; is the disk full?")
        put_in_place(unfinished, path)

    def _add_camera(self, points: np.ndarray) -> None:
        """Look at the middle of the mean face's outline, from where it fills the picture up to the margin."""
        backward = Vector((math.sin(YAW) * math.cos(PITCH), -math.cos(YAW) * math.cos(PITCH), math.sin(PITCH)))
        right = Vector((0, 0, 1)).cross(backward).normalized()
        axes = np.array([right, backward.cross(right), backward])
        outline = points @ axes.T
        low, high = outline.min(0), outline.max(0)
        half = MARGIN * float((high - low)[:2].max()) / 2
        distance = half * 2 * LENS_MM / SENSOR_MM
        middle = Vector(axes.T @ ((low + high) / 2))
        camera = bpy.data.cameras.new("portrait")
        camera.lens, camera.sensor_width = LENS_MM, SENSOR_MM
        camera.clip_start, camera.clip_end = distance / 100, distance * 100
        self._stage.scene.camera = self._add("camera", camera, middle + distance * backward, middle)

    def _add_lights(self, centre: Vector, radius: float) -> None:
        """A soft warm key from the upper front, a weak fill, a cool rim from behind; sizes in head radii."""
        for name, place, size, watts, colour in (
            ("key", (-1.2, -2.6, 1.7), 2.0, 112.0, (1.0, 0.94, 0.88)),
            ("fill", (2.8, -1.6, 0.0), 3.0, 16.0, (0.86, 0.93, 1.0)),
            ("rim", (1.7, 2.4, 1.9), 1.6, 100.0, (0.88, 0.94, 1.0)),
        ):
            light = bpy.data.lights.new(name, "AREA")
            light.shape, light.size, light.color = "DISK", size * radius, colour
            light.energy = watts * radius**2
            self._add(name, light, centre + radius * Vector(place), centre)

    def _add_backdrop(self) -> None:
        """Grey, brighter behind the head; what lights the head from all sides is even."""
        world = self._stage.scene.world = bpy.data.worlds.new("portrait")
        if world.node_tree is None:  # Before Blender 5.0.
            world.use_nodes = True
        tree = world.node_tree
        tree.nodes.clear()
        nodes = {
            name: tree.nodes.new(f"ShaderNode{kind}")
            for name, kind in (
                ("window", "TexCoord"),
                ("away", "VectorMath"),
                ("grey", "ValToRGB"),
                ("ray", "LightPath"),
                ("mix", "MixRGB"),
                ("background", "Background"),
                ("output", "OutputWorld"),
            )
        }
        nodes["away"].operation = "DISTANCE"
        nodes["away"].inputs[1].default_value = (0.5, 0.55, 0)
        ramp = nodes["grey"].color_ramp
        ramp.interpolation = "EASE"
        ramp.elements[0].color, ramp.elements[1].color = BACKDROP_CENTRE, BACKDROP_EDGE
        ramp.elements[1].position = 0.75
        nodes["mix"].inputs["Color1"].default_value = AMBIENT
        for source, output, target, socket in (
            ("window", "Window", "away", 0),
            ("away", "Value", "grey", 0),
            ("grey", "Color", "mix", "Color2"),
            ("ray", "Is Camera Ray", "mix", "Fac"),
            ("mix", "Color", "background", "Color"),
            ("background", "Background", "output", "Surface"),
        ):
            tree.links.new(nodes[source].outputs[output], nodes[target].inputs[socket])

    def _use_quick_skin(self) -> None:
        """A copy of the skin without subsurface scattering: thrice as fast, and a thumbnail hardly shows it."""
        slots = self._stage.head.data.materials
        skin = slots[0].copy()
        for node in skin.node_tree.nodes:
            if node.type == "BSDF_PRINCIPLED":
                node.inputs["Subsurface Weight"].default_value = 0
        slots[0] = skin

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
        scene.cycles.use_adaptive_sampling = False
        scene.cycles.use_denoising = _can_denoise()
        scene.cycles.denoising_prefilter = "FAST"
        scene.cycles.denoising_quality = "BALANCED"
        scene.cycles.samples = SAMPLES_TO_DENOISE if scene.cycles.use_denoising else SAMPLES
        scene.cycles.max_bounces = 3
        scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
        scene.render.use_persistent_data = True
        scene.render.resolution_x = scene.render.resolution_y = size
        scene.render.resolution_percentage = 100
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGB"
        scene.render.use_file_extension = False
        with contextlib.suppress(TypeError):  # A studio's own OCIO configuration may know no AgX.
            scene.view_settings.view_transform = "AgX"
            scene.view_settings.look = "AgX - Medium High Contrast"


def _can_denoise() -> bool:
    """Debian's Cycles comes without a denoiser, and a render that asks for one fails there."""
    try:
        import _cycles
    except ImportError:
        return False
    return bool(getattr(_cycles, "with_openimagedenoise", False))
