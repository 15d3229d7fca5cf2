# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GPU does: single faces and batches of the `local` preset, training steps of the `paper` preset.

On a machine without one the same code runs on the CPU at a small size, so that it is known to run; its rows say so.

Memory-bound work is compared with the roofline: a figure's share of what the device's memory could deliver, as a
plain copy measures it in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from backend.numpy_decoder import NumpyDecoder
from backend.torch_decoder import TorchDecoder
from trainer.losses import loss_terms, loss_weights
from trainer.paper_preset import DEFAULTS
from trainer.training import make_optimiser

from . import large_head
from .measure import Row, missing, row, value
from .paper_scale import untrained_paper_network

FACES, EPOCHS, BATCH = 1780, 300, 32  # the paper's training
DECODED = 512  # faces in a batch
COPIED = 1 << 28  # floats


def run(quick: bool = False) -> list[Row]:
    if not torch.cuda.is_available():
        note = "no GPU here: the CPU at 4,344 vertices shows that the code runs"
        rows = [missing("limits of the GPU", note)]
        return rows + _decoding("cpu", large_head.bundled_model(), 16, False) + _training("cpu", True, 4)
    name = torch.cuda.get_device_name()
    rows = [missing(f"on {name}", f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}")]
    bandwidth = _bandwidth()
    rows.append(value("memory bandwidth, plain copy", bandwidth / 1e9, "GB/s", baseline=True))
    model = large_head.bundled_model() if quick else large_head.large_model()
    rows += _decoding("cuda", model, DECODED, True, bandwidth)
    return rows + _training("cuda", quick, BATCH)


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


def graphed(call: Callable[[], object]) -> Callable[[], object]:
    """The call recorded as a CUDA graph: one launch for all its kernels. Its inputs stay where they are in memory."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def _bandwidth() -> float:
    """Bytes per second, read and written."""
    source = torch.empty(COPIED, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / float(np.median(times(lambda: target.copy_(source), "cuda", 20)))


def _decoding(device: str, model, batch: int, is_gpu: bool, bandwidth: float = 0.0) -> list[Row]:
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

    calls = {"one": graphed(one), "many": graphed(many)} if is_gpu else {"one": one, "many": many}
    alone = times(calls["one"], device, 200 if is_gpu else 10)
    together = times(calls["many"], device, 50 if is_gpu else 5)
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
        share = read / float(np.median(alone)) / bandwidth
        rows.append(value("one face: its bases' bytes against a copy's speed", 100 * share, "% of the roofline"))
        written = batch * model.vertex_count * 12
        share = (read + written) / float(np.median(together)) / bandwidth
        rows.append(value("a batch: bases and faces against a copy's speed", 100 * share, "% of the roofline"))
    return rows


def _training(device: str, quick: bool, batch: int) -> list[Row]:
    """Training steps with the faces on the device, in full precision and with faster matrix products."""
    model = large_head.bundled_model() if quick else large_head.large_model()
    torch.manual_seed(0)
    network = untrained_paper_network(model).to(device)
    config = DEFAULTS | {"preset": "paper"}
    weights, optimiser = loss_weights(config), make_optimiser(network, config)
    sizes = [network.config["latent"]] * model.part_count
    noise = torch.randn(batch, *model.mean.shape, device=device)
    faces = torch.as_tensor(model.mean, device=device) + noise
    size = f"{model.vertex_count:,} vertices, batch {batch}"
    rows = []
    kinds = {"float32": False, "tf32": True} if device == "cuda" else {"float32": False}
    for kind, fast in kinds.items():
        torch.backends.cuda.matmul.allow_tf32 = fast

        def step():
            torch.manual_seed(0)
            terms = loss_terms(network, faces, config, sizes)
            loss = sum(weight * terms[name] for name, weight in weights.items())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = times(step, device, 20 if device == "cuda" else 2)
        rows.append(row(f"a training step, {kind}, {size}", seconds))
        if device == "cuda":
            minutes = np.median(seconds) * (FACES // batch) * EPOCHS / 60
            what = f"the paper's training at this step, {kind}"
            rows.append(value(what, minutes, "minutes", most=None if quick else 10))
            rows.append(value(f"peak memory, {kind}", torch.cuda.max_memory_allocated() / 1e9, "GB"))
    torch.backends.cuda.matmul.allow_tf32 = False
    return rows
