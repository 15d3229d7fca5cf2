# SPDX-License-Identifier: GPL-3.0-or-later
"""A training step of the `paper` preset at the paper's size beside the same network on torch_geometric's ChebConv.

Both compute the same loss (reconstruction and cycle) on the same faces; only the convolution differs, and the rows
say how far their losses are apart.
"""

from __future__ import annotations

import copy
import gc
import subprocess
import sys

import numpy as np
import torch
from torch_geometric.nn import ChebConv

from trainer.losses import loss_terms, loss_weights
from trainer.optimiser import make_optimiser
from trainer.paper_preset import DEFAULTS

from . import large_head
from .measure import ROOT, Row, interleaved, row, value
from .memory import Peak
from .paper_scale import untrained_paper_network

BATCH = 8
OURS, THEIRS = "ours", "torch_geometric"


class GeometricLayer(torch.nn.Module):
    """torch_geometric's layer with the parameters of one of ours, in its place: features [N, B, C]."""

    def __init__(self, ours: torch.nn.Module, edges: torch.Tensor):
        super().__init__()
        order, inputs, outputs = ours.weight.shape
        self.layer = ChebConv(inputs, outputs, order)
        self.edges = edges
        with torch.no_grad():
            self.layer.bias.copy_(ours.bias)
            for linear, weight in zip(self.layer.lins, ours.weight, strict=True):
                linear.weight.copy_(weight.t())

    def forward(self, x: torch.Tensor, _laplacian) -> torch.Tensor:
        # lambda_max = 2 makes its scaled Laplacian ours, and spares it an eigenvalue.
        return self.layer(x.transpose(0, 1), self.edges, lambda_max=2.0).transpose(0, 1).contiguous()


def geometric_twin(network: torch.nn.Module) -> torch.nn.Module:
    """The same network on torch_geometric's layers, whole batches at a time."""
    twin = copy.deepcopy(network)
    edges = [_edges(matrix) for matrix in network.laplacians]
    levels = len(edges)
    for level in range(levels):
        twin.encoder[level] = GeometricLayer(network.encoder[level], edges[level])
        twin.decoder[level] = GeometricLayer(network.decoder[level], edges[levels - 1 - level])
    twin.decoder[levels] = GeometricLayer(network.decoder[levels], edges[0])
    twin._in_blocks = lambda step, x, level: step(x.contiguous())
    return twin


def _edges(laplacian: torch.nn.Module) -> torch.Tensor:
    counts = laplacian.indptr.long().diff()
    rows = torch.repeat_interleave(torch.arange(len(counts)), counts)
    columns = laplacian.indices.long()
    return torch.stack([rows, columns])[:, rows != columns]


class Step:
    """One training step of either network, with the same loss and the same random draws."""

    def __init__(self, quick: bool, names: list[str]):
        self.model = large_head.bundled_model() if quick else large_head.large_model()
        torch.manual_seed(0)
        network = untrained_paper_network(self.model)
        makers = {OURS: lambda: network, THEIRS: lambda: geometric_twin(network)}
        self._networks = {name: makers[name]() for name in names}
        self._config = DEFAULTS | {"preset": "paper"}
        self._weights = loss_weights(self._config)
        noise = np.random.default_rng(0).standard_normal((BATCH, *self.model.mean.shape))
        self._faces = torch.as_tensor(self.model.mean + noise.astype(np.float32))
        self._sizes = [network.config["latent"]] * self.model.part_count
        self._optimisers = {name: make_optimiser(item, self._config) for name, item in self._networks.items()}
        self.first_loss: dict[str, float] = {}

    def __call__(self, name: str) -> None:
        torch.manual_seed(0)
        terms = loss_terms(self._networks[name], self._faces, self._config, self._sizes, None, None)
        loss = sum(weight * terms[key] for key, weight in self._weights.items())
        self._optimisers[name].zero_grad()
        loss.backward()
        self._optimisers[name].step()
        self.first_loss.setdefault(name, float(loss.detach()))


def memory(quick: bool, name: str) -> int:
    """Bytes by which two steps make a process larger that holds network and faces: one process for each network."""
    command = [sys.executable, "-m", "benchmarks.chebyshev", name, *(["--quick"] if quick else [])]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(result.stdout.split()[-1])


def run(quick: bool = False) -> list[Row]:
    peaks = {name: memory(quick, name) for name in (OURS, THEIRS)}
    step = Step(quick, [OURS, THEIRS])
    calls = {OURS: lambda: step(OURS), "ours again": lambda: step(OURS), THEIRS: lambda: step(THEIRS)}
    times = interleaved(calls, 3, warm_ups=1)
    times[OURS] += times["ours again"]
    size = f"{step.model.vertex_count:,} vertices, batch {BATCH}, K = {step.model.part_count}"
    ratio = np.median(times[THEIRS]) / np.median(times[OURS])
    apart = abs(step.first_loss[OURS] / step.first_loss[THEIRS] - 1)
    return [
        row(f"a training step, {size}", times[OURS], unit="s"),
        row("the same network on torch_geometric", times[THEIRS], unit="s", baseline=True),
        value("how many times as fast", ratio, "x", least=8, note=f"first losses {apart:.0e} apart"),
        value("a step's peak memory", peaks[OURS] / 1e6, "MB"),
        value("the same with torch_geometric", peaks[THEIRS] / 1e6, "MB", baseline=True),
        value("share of its memory", peaks[OURS] / peaks[THEIRS], "", most=0.25),
    ]


def main() -> None:
    name, quick = sys.argv[1], "--quick" in sys.argv
    step = Step(quick, [name])
    gc.collect()
    with Peak() as peak:
        for _ in range(2):
            step(name)
    sys.stdout.write(f"{peak.grown}\n")


if __name__ == "__main__":
    main()
