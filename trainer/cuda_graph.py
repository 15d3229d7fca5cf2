# SPDX-License-Identifier: GPL-3.0-or-later
"""Repeated work on a GPU recorded as a CUDA graph: one launch for all its kernels."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable

import torch

log = logging.getLogger(__name__)

WARM_UPS = 3


class Graphed:
    """A function that is called a few times, then recorded, and replayed from then on.

    Every call does the function's work once: the first ones are calls like others, and recording, which does nothing
    yet, is followed by a replay. Where it cannot be recorded, one sentence is logged and plain calls go on.

    Its inputs and outputs must stay where they are in memory, it must not wait for the device, and what it draws must
    be drawn on the device.
    """

    def __init__(self, function: Callable[[], object], device: str | torch.device):
        self._function, self._device = function, torch.device(device)
        self._warm_ups = 0
        self._next: Callable[[], object] | None = None

    def __call__(self) -> None:
        if self._next is None and self._warm_ups < WARM_UPS:
            beside(self._function, self._device)
            self._warm_ups += 1
            return
        if self._next is None:
            try:
                self._next = record(self._function, self._device)
            except RuntimeError as error:
                # What went wrong, before what ending the recording had to say about it.
                reason = str(error.__context__ or error).partition("\n")[0]
                log.warning("This training cannot be recorded as a CUDA graph, so it goes step by step: %s", reason)
                self._next = self._function
        self._next()


def beside(function: Callable[[], object], device: torch.device) -> None:
    """Call on a stream of its own, which CUDA asks of calls before a recording."""
    with torch.cuda.device(device):
        current, side = torch.cuda.current_stream(), _side_stream(device)
        side.wait_stream(current)
        with torch.cuda.stream(side), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True.*")  # It will be captured.
            function()
        current.wait_stream(side)


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Always the same one: PyTorch keeps freed memory for each stream apart."""
    return torch.cuda.Stream(device)


def record(function: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Record one call without doing its work; what it returns does the work.

    Raises:
        RuntimeError: when something in it cannot be recorded, or memory is short. Random numbers then go on as if
            nothing had been tried.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        state = generator.get_state()
        try:
            # A recording that fails does not leave its stream by itself.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
                function()
        except RuntimeError:
            # Nor does the generator leave the recording, and then refuses to draw: the same numbers, afresh.
            fresh = torch.Generator(torch.device("cuda", torch.cuda.current_device()))
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh.graphsafe_get_state())
            raise
    return graph.replay
