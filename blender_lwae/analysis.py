# SPDX-License-Identifier: GPL-3.0-or-later
"""What is worked out once for a model, some tenths of a second each: left and right, plausibility, harmonising.

The panel asks `ready`, which never waits: a thread works, and the sidebar is drawn again when it is done. Operators ask
`of`, which waits. The thread touches NumPy alone, never Blender.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cached_property

import bpy
import numpy as np

from . import viewport
from .backend.errors import LwaeError
from .backend.harmonise import Harmoniser
from .backend.model import FaceModel
from .backend.plausibility import Plausibility
from .backend.symmetry import mirror_map, mirror_matrix

log = logging.getLogger(__name__)


class Analysis:
    """Of one model; everything is made on first use, once, by whichever thread comes first."""

    def __init__(self, model: FaceModel):
        self.model = model
        self._lock = threading.RLock()
        self._harmoniser_lock = threading.RLock()  # Its own: the sidebar must not wait for a harmoniser.
        self._warm: threading.Thread | None = None
        self._thread: threading.Thread | None = None

    @property
    def mirror(self) -> np.ndarray | None:
        """Mirror image of each vertex, int64 [N]; None where the template is not symmetric."""
        with self._lock:
            return self._mirror[0]

    @property
    def mirror_trouble(self) -> str:
        """The sentence why there is no `mirror`, else empty."""
        with self._lock:
            return self._mirror[1]

    @property
    def mirror_matrix(self) -> np.ndarray | None:
        """The code of the mirrored face from a code, float64 [D, D]; None where there is none."""
        with self._lock:
            return self._mirror_matrix

    @property
    def plausibility(self) -> Plausibility:
        with self._lock:
            return self._plausibility

    @property
    def harmoniser(self) -> Harmoniser:
        """
        Raises:
            LwaeError: when the model has no linear bases.
        """
        with self._harmoniser_lock:
            return self._harmoniser

    @cached_property
    def _mirror(self) -> tuple[np.ndarray | None, str]:
        model = self.model
        try:
            return mirror_map(model.mean, model.polygon_sizes, model.polygon_vertices), ""
        except LwaeError as error:
            return None, str(error)

    @cached_property
    def _mirror_matrix(self) -> np.ndarray | None:
        if self._mirror[0] is None:
            return None
        try:
            return mirror_matrix(self.model, self._mirror[0])
        except LwaeError as error:
            log.info("%s", error)
            return None

    @cached_property
    def _plausibility(self) -> Plausibility:
        return Plausibility(self.model)

    @cached_property
    def _harmoniser(self) -> Harmoniser:
        return Harmoniser(self.model)

    def warm(self) -> bool:
        """Whether the plausibility and the mirror are there; starts making them where they are not."""
        if self._warm is None:
            self._warm = self._start(self._make)
        return not self._warm.is_alive()

    def look_at(self, parts: tuple[int, ...]) -> None:
        """Let `Plausibility.look_at` work in a thread, one at a time; the sidebar is drawn again afterwards."""
        if not self.is_busy():
            self._thread = self._start(lambda: self.plausibility.look_at(parts))
            _redraw_later()

    def is_busy(self) -> bool:
        return any(thread is not None and thread.is_alive() for thread in (self._warm, self._thread))

    def _make(self) -> None:
        _ = self.plausibility, self.mirror, self.mirror_matrix

    @staticmethod
    def _start(work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work, name="lwae analysis", daemon=True)
        thread.start()
        return thread


_known: dict[int, Analysis] = {}  # By id(model), which stays taken because the analysis holds the model.


def of(model: FaceModel) -> Analysis:
    return _known.setdefault(id(model), Analysis(model))


def ready(model: FaceModel) -> Analysis | None:
    """The analysis if it can be used without waiting, else None, and the sidebar is drawn again in a moment."""
    analysis = of(model)
    if analysis.warm():
        return analysis
    _redraw_later()
    return None


def forget(model: FaceModel) -> None:
    """Drop what was made for a model that was removed or replaced."""
    _known.pop(id(model), None)


def _redraw_later() -> None:
    if not bpy.app.timers.is_registered(_redraw_when_done):
        bpy.app.timers.register(_redraw_when_done, first_interval=0.05)


def _redraw_when_done() -> float | None:
    if any(analysis.is_busy() for analysis in _known.values()):
        return 0.05
    viewport.redraw_sidebars()
    return None


def register() -> None:
    pass


def unregister() -> None:
    if bpy.app.timers.is_registered(_redraw_when_done):
        bpy.app.timers.unregister(_redraw_when_done)
    _known.clear()
