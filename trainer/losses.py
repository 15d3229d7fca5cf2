# SPDX-License-Identifier: GPL-3.0-or-later
"""The terms that training minimises the weighted sum of.

All draws are made on the faces' own device, and nothing waits for it or depends on its numbers, so that a training step
can be recorded as a CUDA graph (`cuda_graph`), whose every replay draws anew.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from backend.torch_sparse import SparseMatrix
from trainer.mesh.bending import natural_bending
from trainer.mesh.topology import umbrella_laplacian

from .distributed import ALONE, Team
from .paper_preset import sparse_rows

OPTIONAL = ("seam", "partition", "leakage", "kl")
BLOCK_FACES = 64


def loss_weights(config: dict) -> dict[str, float]:
    """Weights of the terms by name, without optional ones that do not count."""
    optional = OPTIONAL if config.get("variational") else OPTIONAL[:-1]
    weights = {name: config[name] for name in optional if config.get(name)}
    return {"reconstruction": 1.0, "cycle": config["cycle"]} | weights


def loss_terms(
    network,
    faces: torch.Tensor,
    config: dict,
    part_sizes: list[int],
    outside: torch.Tensor | None = None,
    bending: Bending | None = None,
    team: Team = ALONE,
) -> dict[str, torch.Tensor]:
    """The terms of `loss_weights` for a batch, unweighted; for one process's share of it, those of that share.

    Args:
        network: `LocalNetwork` or `PaperNetwork`.
        faces: [B, N, 3] mm.
        part_sizes: Z_k of each part.
        outside: bool [K, N], where no part code should act; for the leakage loss alone.
        bending: for the seam loss alone.
        team: whose share the faces are. The seam and leakage losses mix faces within a share.
    """
    weights = loss_weights(config)
    std = network.std if config.get("normalised_loss") else None
    terms = {}
    if config.get("variational"):
        mean, log_variance = network.posterior(faces)
        noise = torch.randn(len(mean) * team.size, mean.shape[1], dtype=mean.dtype, device=mean.device)
        noise = team.share(noise)
        codes = network.project(mean + torch.exp(0.5 * log_variance) * noise)
        terms["kl"] = divergence(mean, log_variance)
    else:
        codes = network.encode(faces)
    decoded = network.decode(codes)
    terms["reconstruction"] = distance(decoded, faces, std)
    terms["cycle"] = faces.new_zeros(())
    if weights["cycle"]:
        terms["cycle"] = cycle_loss(network, faces, codes, part_sizes, std, team)
    if "seam" in weights:
        terms["seam"] = seam_loss(network, codes.detach(), part_sizes, bending)
    if "partition" in weights:
        terms["partition"] = partition_loss(network.projections)
    if "leakage" in weights:
        terms["leakage"] = leakage_loss(network, codes, decoded, part_sizes, outside)
    return {name: terms[name] for name in weights}


def distance(made: torch.Tensor, faces: torch.Tensor, std: torch.Tensor | None = None) -> torch.Tensor:
    """Mean absolute difference of coordinates in mm, or in units of std [N, 3]."""
    difference = made - faces
    return (difference if std is None else difference / std).abs().mean()


def cycle_loss(
    network,
    faces: torch.Tensor,
    codes: torch.Tensor,
    part_sizes: list[int],
    std: torch.Tensor | None = None,
    team: Team = ALONE,
) -> torch.Tensor:
    """Swap random parts of two faces, decode, re-encode, swap back, decode, compare (Dubrovina et al. 2019).

    The first half of the batch meets the second half; each part of a pair is swapped with probability 1/2.
    """
    half = len(faces) // 2
    swap = torch.rand(half * team.size, len(part_sizes), device=faces.device) < 0.5
    columns = per_number(team.share_of_pairs(swap), part_sizes)

    def swapped(codes: torch.Tensor) -> torch.Tensor:
        first, second = codes[:half], codes[half : 2 * half]
        return torch.cat([torch.where(columns, second, first), torch.where(columns, first, second)])

    mixed = network.decode(swapped(codes))
    returned = network.decode(swapped(network.encode(mixed)))
    return distance(returned, faces[: 2 * half], std)


def per_number(values: torch.Tensor, part_sizes: list[int]) -> torch.Tensor:
    """Values of parts [..., K] for each number of a code, [..., D]."""
    parts = values.split(1, dim=-1)
    return torch.cat([part.expand(*part.shape[:-1], size) for part, size in zip(parts, part_sizes, strict=True)], -1)


class Losses(torch.nn.Module):
    """`loss_terms` as the forward pass of a module, which is what several processes can share."""

    def __init__(self, network: torch.nn.Module, team: Team, *options):
        """
        Args:
            options: of `loss_terms`, from `config` to `bending`.
        """
        super().__init__()
        self.network = network
        self._team, self._options = team, options

    def forward(self, faces: torch.Tensor) -> dict[str, torch.Tensor]:
        return loss_terms(self.network, faces, *self._options, team=self._team)


class Bending(torch.nn.Module):
    """How much each vertex of some faces bends, relative to training faces: E|L (x - mu)|^2 over theirs
    (`natural_bending`).

    L is the umbrella Laplacian of the polygons' own edges, as in the metric `seam`.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, mean: np.ndarray, edges: np.ndarray):
        """
        Args:
            vertices: [S, N, 3] mm, may be memory-mapped.
            faces: which of them to use, int [n].
            mean: [N, 3].
            edges: [E, 2].
        """
        super().__init__()
        laplacian = umbrella_laplacian(edges, len(mean))
        natural = np.zeros(len(mean))
        for start in range(0, len(faces), BLOCK_FACES):
            block = (vertices[faces[start : start + BLOCK_FACES]] - mean).transpose(1, 0, 2).reshape(len(mean), -1)
            natural += ((laplacian @ block) ** 2).sum(axis=1)
        natural = natural_bending(natural / len(faces), laplacian)
        # Vertices that never bend have no measure to be compared with.
        natural[natural <= 1e-8 * natural.max()] = np.inf
        self.laplacian = SparseMatrix(sparse_rows(laplacian))
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("natural", torch.as_tensor(natural, dtype=torch.float32), persistent=False)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Faces [B, N, 3] in mm to [N]."""
        bent = self.laplacian((faces - self.mean).transpose(0, 1).contiguous())
        return bent.square().sum(dim=2).mean(dim=1) / self.natural


def seam_loss(network, codes: torch.Tensor, part_sizes: list[int], bending: Bending) -> torch.Tensor:
    """How much more than real faces the mixes of K random faces of a batch bend, mean over the vertices.

    Args:
        codes: [B, D].
    """
    mixed = [part[torch.randperm(len(codes), device=codes.device)] for part in codes.split(part_sizes, dim=1)]
    return functional.relu(bending(network.decode(torch.cat(mixed, dim=1))) - 1).mean()


def leakage_loss(
    network, codes: torch.Tensor, decoded: torch.Tensor, part_sizes: list[int], outside: torch.Tensor
) -> torch.Tensor:
    """Give each face one random part of the next face: mean absolute change outside of that part's region, mm.

    Source: Aliari et al. 2023, who resample one part's code and ask that the other parts stay.

    Args:
        codes, decoded: [B, D] and what they decode to, [B, N, 3] mm.
        outside: bool [K, N].
    """
    part = torch.randint(len(part_sizes), (), device=codes.device)
    chosen = torch.arange(len(part_sizes), device=codes.device) == part
    exchanged = torch.where(per_number(chosen, part_sizes), codes.roll(1, dims=0), codes)
    change = (network.decode(exchanged) - decoded).abs().mean(dim=(0, 2))
    counted = (outside & chosen[:, None]).any(dim=0).to(change.dtype)
    return (change * counted).sum() / counted.sum().clamp(min=1)


def partition_loss(projections: torch.Tensor) -> torch.Tensor:
    """How far projections [K, Z, Z] are from a partition of the identity: |sum_k P_k - I|^2 / Z.

    Source: Dubrovina et al. 2019, who also ask for P_k P_k = P_k and P_j P_k = 0.
    """
    identity = torch.eye(projections.shape[1], dtype=projections.dtype, device=projections.device)
    return (projections.sum(dim=0) - identity).square().sum() / len(identity)


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, I), both [B, Z]: nats per face, mean over the batch.

    Source: Kingma & Welling 2014.
    """
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1).mean()
