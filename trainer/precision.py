# SPDX-License-Identifier: GPL-3.0-or-later
"""How exactly matrix products are computed during training; models are exported and measured in float32 always."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from backend.errors import LwaeError

# tf32: NVIDIA's tensor cores, factors of products rounded to 10 bits, sums in float32.
PRECISIONS = ("float32", "tf32")


def require_precision(precision: str, device: str) -> None:
    """Raises LwaeError when there is no such precision, or the device does not have it."""
    if precision not in PRECISIONS:
        raise LwaeError(f"There is no precision {precision!r}; use {' or '.join(PRECISIONS)}.")
    if precision == "tf32" and torch.device(device).type != "cuda":
        raise LwaeError(f"tf32 is a precision of NVIDIA GPUs, not of {device}; leave out --precision.")


@contextlib.contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Matrix products of that precision on CUDA, until the block ends."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
