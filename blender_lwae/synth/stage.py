# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene of its own with one head whose shape changes from face to face."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import bpy
import numpy as np

from ..backend.model import FaceModel
from ..mesh_build import new_face_mesh
from ..writer import write_positions


class Stage:
    """One object in one scene; never touches what else the file holds."""

    def __init__(self, model: FaceModel):
        self.scene = bpy.data.scenes.new("Face synthesis")
        self.head = bpy.data.objects.new("face", new_face_mesh(model, "face"))
        self.scene.collection.objects.link(self.head)

    def show(self, vertices: np.ndarray, name: str) -> None:
        """Give the head the shape of `vertices`, float32 [N, 3] in mm, and a name."""
        self.head.name = self.head.data.name = name
        write_positions(self.head.data, vertices)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The context in which exporters see this scene with the head selected."""
        window = bpy.context.window_manager.windows[0]  # In the background there is one too.
        before = window.scene
        window.scene = self.scene
        layer = self.scene.view_layers[0]
        self.head.select_set(True, view_layer=layer)
        layer.objects.active = self.head
        try:
            with bpy.context.temp_override(window=window):
                yield
        finally:
            window.scene = before
