# SPDX-License-Identifier: GPL-3.0-or-later
"""The terms that training minimises the weighted sum of."""

from __future__ import annotations

import torch

OPTIONAL = ("partition", "leakage", "kl")


def loss_weights(config: dict) -> dict[str, float]:
    """Weights of the terms by name, without optional ones that do not count."""
    optional = OPTIONAL if config.get("variational") else OPTIONAL[:-1]
    weights = {name: config[name] for name in optional if config.get(name)}
    return {"reconstruction": 1.0, "cycle": config["cycle"]} | weights


def loss_terms(
    network, faces: torch.Tensor, config: dict, part_sizes: list[int], outside: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """The terms of `loss_weights` for a batch, unweighted.

    Args:
        network: `LocalNetwork` or `PaperNetwork`.
        faces: [B, N, 3] mm.
        part_sizes: Z_k of each part.
        outside: bool [K, N], where no part code should act; for the leakage loss alone.
    """
    weights = loss_weights(config)
    std = network.std if config.get("normalised_loss") else None
    terms = {}
    if config.get("variational"):
        mean, log_variance = network.posterior(faces)
        codes = network.project(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
        terms["kl"] = divergence(mean, log_variance)
    else:
        codes = network.encode(faces)
    decoded = network.decode(codes)
    terms["reconstruction"] = distance(decoded, faces, std)
    terms["cycle"] = cycle_loss(network, faces, codes, part_sizes, std) if weights["cycle"] else torch.zeros(())
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
    network, faces: torch.Tensor, codes: torch.Tensor, part_sizes: list[int], std: torch.Tensor | None = None
) -> torch.Tensor:
    """Swap random parts of two faces, decode, re-encode, swap back, decode, compare (Dubrovina et al. 2019).

    The first half of the batch meets the second half; each part of a pair is swapped with probability 1/2.
    """
    half = len(faces) // 2
    swap = torch.rand(half, len(part_sizes), device=faces.device) < 0.5
    columns = torch.repeat_interleave(swap, torch.tensor(part_sizes, device=faces.device), dim=1)

    def swapped(codes: torch.Tensor) -> torch.Tensor:
        first, second = codes[:half], codes[half : 2 * half]
        return torch.cat([torch.where(columns, second, first), torch.where(columns, first, second)])

    mixed = network.decode(swapped(codes))
    returned = network.decode(swapped(network.encode(mixed)))
    return distance(returned, faces[: 2 * half], std)


def leakage_loss(
    network, codes: torch.Tensor, decoded: torch.Tensor, part_sizes: list[int], outside: torch.Tensor
) -> torch.Tensor:
    """Give each face one random part of the next face: mean absolute change outside of that part's region, mm.

    Source: Aliari et al. 2023, who resample one part's code and ask that the other parts stay.

    Args:
        codes, decoded: [B, D] and what they decode to, [B, N, 3] mm.
        outside: bool [K, N].
    """
    part = int(torch.randint(len(part_sizes), ()))
    start = sum(part_sizes[:part])
    columns = slice(start, start + part_sizes[part])
    exchanged = codes.clone()
    exchanged[:, columns] = codes[:, columns].roll(1, dims=0)
    change = (network.decode(exchanged) - decoded)[:, outside[part]]
    return change.abs().mean() if change.numel() else change.sum()


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
