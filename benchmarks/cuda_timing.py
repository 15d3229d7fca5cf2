# SPDX-License-Identifier: GPL-3.0-or-later
"""Timing on a GPU, where calls return before their work is done, and what its memory could deliver."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer.cuda_graph import WARM_UPS, beside, record

COPIED = 1 << 28  # floats


def times(call: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Seconds of each call, the device's queue empty before and after."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(3):
        call()
    result = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        call()
        wait()
        result.append(time.perf_counter() - start)
    return result


def graphed(call: Callable[[], object], device: str) -> Callable[[], object]:
    """On CUDA the call recorded as a graph; its inputs stay where they are in memory."""
    if device != "cuda":
        return call
    for _ in range(WARM_UPS):
        beside(call, torch.device(device))
    return record(call, torch.device(device))


def bandwidth(device: str) -> float:
    """Bytes per second that a plain copy reads and writes."""
    source = torch.empty(COPIED if device == "cuda" else COPIED >> 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / float(np.median(times(lambda: target.copy_(source), device, 20)))


class Traffic(TorchDispatchMode):
    """Bytes that PyTorch's operations read and write, each operand of each operation once.

    Less than that is possible where operations are fused, or where the second one finds the first one's result in a
    cache; a sparse product reads its operand more than once.
    """

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        written = [item.alias_info for item in function._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in written)
        if not is_view and "empty" not in function._schema.name:
            touched = tree_leaves((arguments, options, result))
            self.bytes += sum(tensor.nbytes for tensor in touched if isinstance(tensor, torch.Tensor))
        return result
