# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a thread that says how far it is, for modal operators. What runs there never touches Blender's data."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from .backend.errors import LwaeError
from .backend.fit_mesh import Progress


class Job:
    """Runs a generator of `Progress` and, last, a result.

    Attributes:
        progress: the last one.
        result: what came last; None until then.
        error: the LwaeError, or another exception, that ended it.
    """

    def __init__(self, steps: Iterator):
        self.progress, self.result, self.error = Progress(0.0, ""), None, None
        self._steps, self._cancelled = steps, False
        self._thread = threading.Thread(target=self._run, name="face fit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run(self) -> None:
        """All of it, here and now.

        Raises:
            LwaeError: as the generator does.
        """
        self._run()
        if self.error is not None:
            raise self.error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def cancel(self) -> None:
        """End it after the step that it is at."""
        self._cancelled = True

    def _run(self) -> None:
        try:
            for step in self._steps:
                if self._cancelled:
                    return
                if isinstance(step, Progress):
                    self.progress = step
                else:
                    self.result = step
        except LwaeError as error:
            self.error = error
        except Exception as error:  # A thread's exception would be lost; the operator raises it again.
            self.error = error
