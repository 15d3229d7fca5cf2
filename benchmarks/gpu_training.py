# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's training on a GPU: the training's own step, as it is recorded and fed there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from backend.torch_sparse import use_csr
from trainer.cuda_graph import WARM_UPS, Graphed
from trainer.distributed import ALONE
from trainer.face_store import FaceStore
from trainer.losses import Losses, loss_weights
from trainer.optimiser import make_optimiser, set_rate
from trainer.paper_preset import DEFAULTS
from trainer.precision import matrix_products
from trainer.step import Step
from trainer.training import STEPS_BETWEEN_LOOKS

from . import large_head
from .cuda_timing import Traffic, graphed, times
from .measure import Row, row, value
from .paper_scale import untrained_paper_network

FACES, EPOCHS, BATCH = 1780, 300, 32  # the paper's training
SMALL_BATCH = 4  # where there is no GPU
MINUTES = 10


class Training:
    """The paper preset on a model's mesh, as far as its time goes: network, faces, steps."""

    def __init__(self, device: str, quick: bool):
        self.device, self.is_gpu = device, device == "cuda"
        self.model = large_head.bundled_model() if quick else large_head.large_model()
        self.batch = BATCH if self.is_gpu else SMALL_BATCH
        torch.manual_seed(0)
        self.network = untrained_paper_network(self.model).to(device).train()
        count = FACES if self.is_gpu else 2 * self.batch
        rng = np.random.default_rng(0)
        some = self.model.mean + rng.standard_normal((2 * self.batch, *self.model.mean.shape), dtype=np.float32)
        self._order = rng.permutation(count)
        self._store = FaceStore(some[np.arange(count) % len(some)], np.arange(count), device)
        self._config = DEFAULTS | {"preset": "paper"}
        self._sizes = [self.network.config["latent"]] * self.model.part_count

    @property
    def resident(self) -> int:
        """Bytes of faces on the GPU."""
        return len(self._order) * self.model.mean.nbytes if self._store.resident else 0

    def step(self) -> tuple[Step, torch.optim.Optimizer]:
        """A step as training makes it, not yet recorded."""
        optimiser = make_optimiser(self.network, self._config, capturable=self.is_gpu)
        losses = Losses(self.network, ALONE, self._config, self._sizes, None, None)
        faces = torch.empty(self.batch, *self.model.mean.shape, device=self.device)
        step = Step(losses, loss_weights(self._config), optimiser, faces)
        self._store.load(self._order[: self.batch], faces)
        return step, optimiser

    def seconds(self, recorded: bool) -> list[float]:
        """Seconds of each step, on a GPU the mean of those between two looks at the terms, as in training."""
        step, optimiser = self.step()
        call = Graphed(step, self.device) if recorded and self.is_gpu else step
        count = STEPS_BETWEEN_LOOKS.get(self.device, 1)

        def steps() -> None:
            for number in range(count):
                start = number * self.batch % (len(self._order) - self.batch + 1)
                self._store.load(np.sort(self._order[start : start + self.batch]), step.faces)
                set_rate(optimiser, 1e-5)
                call()
            step.sums.tolist()

        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats()  # before the warm-up: replays allocate nothing
            for _ in range(WARM_UPS + 1):
                call()
        return [seconds / count for seconds in times(steps, self.device, 10 if self.is_gpu else 2)]

    def traffic(self) -> int:
        """Bytes that a step's operations read and write."""
        step, _ = self.step()
        step()
        with Traffic() as traffic:
            step()
        return traffic.bytes


def training_rows(device: str, quick: bool, bandwidth: float) -> list[Row]:
    """Rows of training steps by precision and sparse product; their limits are those of the paper's scale."""
    training = Training(device, quick)
    size = f"{training.model.vertex_count:,} vertices, batch {training.batch}"
    moved = training.traffic()
    rows = _products(training, size)
    rows.append(value(f"what a training step's operations read and write, {size}", moved / 1e9, "GB"))
    if training.is_gpu:
        rows.append(value(f"training faces on the GPU, of {FACES:,}", training.resident / 1e9, "GB"))
        seconds = training.seconds(recorded=False)
        rows.append(row(f"a training step, not recorded as a graph, {size}", seconds, baseline=True))
    for precision in ("float32", "tf32") if training.is_gpu else ("float32",):
        for name, csr in (("gathered", False), ("CSR", True)):
            use_csr(training.network, csr)
            with matrix_products(precision):
                seconds = training.seconds(recorded=True)
            kind = f"{precision}, {name} products"
            rows.append(row(f"a training step, {kind}, {size}", seconds))
            middle = float(np.median(seconds))
            rows.append(value(f"its share of a copy's speed, {kind}", 100 * moved / middle / bandwidth, "%"))
            if training.is_gpu:
                minutes = middle * (FACES // training.batch) * EPOCHS / 60
                limit = None if quick else MINUTES
                rows.append(value(f"the paper's training at this step, {kind}", minutes, "minutes", most=limit))
                rows.append(value(f"peak memory, {kind}", torch.cuda.max_memory_allocated() / 1e9, "GB"))
    use_csr(training.network, False)
    if training.is_gpu:
        rows += tf32_errors(training.network, training.step()[0].faces, "preset paper, hardly trained")
    return rows


def tf32_errors(network, faces: torch.Tensor, what: str) -> list[Row]:
    """How far decoded faces move when matrix products are done in tf32."""
    network.eval()
    with torch.no_grad():
        codes = network.encode(faces)
        exact = network.decode(codes)
        with matrix_products("tf32"):
            apart = (network.decode(codes) - exact).abs()
    return [
        value(f"decoded in tf32, mean difference, {what}", float(apart.mean()), "mm"),
        value(f"decoded in tf32, largest difference, {what}", float(apart.max()), "mm"),
    ]


def _products(training: Training, size: str) -> list[Row]:
    """The finest level's graph product with as many features as its widest layer has."""
    laplacian = training.network.laplacians[0]
    columns = training.batch * training.network.config["filters"][0]
    features = torch.randn(laplacian.shape[1], columns, device=training.device)
    rows, repeats = [], 50 if training.is_gpu else 5

    def product(csr: bool) -> Callable[[], torch.Tensor]:
        def call() -> torch.Tensor:
            laplacian.csr = csr
            return laplacian.product(features)

        return call

    for name, csr in (("gathered", False), ("CSR", True)):
        call = graphed(product(csr), training.device)
        rows.append(row(f"a graph product, {name}, {columns} columns, {size}", times(call, training.device, repeats)))
    laplacian.csr = False
    return rows
