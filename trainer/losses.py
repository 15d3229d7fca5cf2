# SPDX-License-Identifier: GPL-3.0-or-later
"""What training minimises, in mm."""

from __future__ import annotations

import torch


def reconstruction_loss(network, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean absolute difference of a face and its reconstruction, and the codes [B, D]."""
    codes = network.encode(faces)
    return (network.decode(codes) - faces).abs().mean(), codes


def cycle_loss(network, faces: torch.Tensor, codes: torch.Tensor, part_sizes: list[int]) -> torch.Tensor:
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
    return (returned - faces[: 2 * half]).abs().mean()
