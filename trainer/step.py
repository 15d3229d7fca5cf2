# SPDX-License-Identifier: GPL-3.0-or-later
"""One training step."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Step:
    """A training step whose batch, learning rate and results stay at the same places in memory.

    Nothing in it waits for the device, so that on CUDA it can be recorded as a graph (`cuda_graph`).

    Attributes:
        faces: [B, N, 3] mm, the batch; whoever calls writes it first.
        sums: [terms], what each term amounted to in all calls since somebody set it, in the order of the weights.
    """

    def __init__(
        self,
        losses: Callable[[torch.Tensor], dict[str, torch.Tensor]],
        weights: dict[str, float],
        optimiser: torch.optim.Optimizer,
        faces: torch.Tensor,
        constrain: Callable[[], None] | None = None,
    ):
        """
        Args:
            losses: from faces to terms by name.
            weights: of the terms that count.
            faces: [B, N, 3], becomes the place of the batches.
            constrain: puts the parameters back where they have to stay, after each step of the optimiser.
        """
        self.faces = faces
        # float64, as Python's own numbers, where the device has it.
        kind = torch.float32 if faces.device.type == "mps" else torch.float64
        self.sums = torch.zeros(len(weights), dtype=kind, device=faces.device)
        self._losses, self._weights, self._optimiser = losses, weights, optimiser
        self._constrain = constrain

    def __call__(self) -> None:
        # To None, not to zero: recorded gradients get places of their own, and each replay writes them anew.
        self._optimiser.zero_grad(set_to_none=True)
        terms = self._losses(self.faces)
        sum(weight * terms[name] for name, weight in self._weights.items()).backward()
        self._optimiser.step()
        if self._constrain:
            self._constrain()
        self.sums += torch.stack([terms[name].detach() for name in self._weights])
