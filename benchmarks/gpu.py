# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GPU does: single faces and batches of the `local` preset, training steps of the `paper` preset.

On a machine without one the same code runs on the CPU at a small size, so that it is known to run; its rows say so.

Memory-bound work is compared with the roofline: a figure's share of what the device's memory could deliver, as a
plain copy measures it in the same run.
"""

from __future__ import annotations

import numpy as np
import torch

from backend.numpy_decoder import NumpyDecoder
from backend.torch_decoder import TorchDecoder

from . import large_head
from .cuda_timing import bandwidth, graphed, times
from .gpu_training import tf32_errors, training_rows
from .measure import Row, missing, row, value

DECODED = 512  # faces in a batch


def run(quick: bool = False) -> list[Row]:
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        device, first = "cuda", missing(f"on {name}", f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    else:
        device, quick = "cpu", True
        first = missing("limits of the GPU", "no GPU here: the CPU at 4,344 vertices shows that the code runs")
    delivered = bandwidth(device)
    rows = [first, value("memory bandwidth, plain copy", delivered / 1e9, "GB/s", baseline=True)]
    model = large_head.bundled_model() if quick else large_head.large_model()
    return rows + _decoding(device, model, delivered) + training_rows(device, quick, delivered)


def _decoding(device: str, model, delivered: float) -> list[Row]:
    is_gpu = device == "cuda"
    batch = DECODED if is_gpu else 16
    decoder, slow = TorchDecoder(model, device), NumpyDecoder(model)
    codes = model.prior.sample(np.random.default_rng(0), batch)
    apart = float(np.abs(decoder.decode(codes[:8]) - slow.decode(codes[:8])).max())
    network, tensor = decoder._network, torch.as_tensor(codes, device=device)
    size = f"{model.vertex_count:,} vertices"

    @torch.inference_mode()
    def one():
        return network.decode(tensor[:1])

    @torch.inference_mode()
    def many():
        return network.decode(tensor)

    alone = times(graphed(one, device), device, 200 if is_gpu else 10)
    together = times(graphed(many, device), device, 50 if is_gpu else 5)
    rows = [
        value(f"largest difference from NumPy, {size}", apart, "mm", most=1e-4),
        row(f"one face alone, {size}", alone, median=0.5 if is_gpu else None),
        value(
            f"faces in batches of {batch}, {size}",
            batch / float(np.median(together)),
            "faces/s",
            least=20_000 if is_gpu else None,
        ),
    ]
    if is_gpu:
        read = sum(item.nbytes for name, item in network.named_buffers() if "basis" in name)
        share = read / float(np.median(alone)) / delivered
        rows.append(value("one face: its bases' bytes against a copy's speed", 100 * share, "% of the roofline"))
        written = batch * model.vertex_count * 12
        share = (read + written) / float(np.median(together)) / delivered
        rows.append(value("a batch: bases and faces against a copy's speed", 100 * share, "% of the roofline"))
        faces = torch.as_tensor(decoder.decode(codes[:8]), device=device)
        rows += tf32_errors(network, faces, f"preset local, {size}")
    return rows
