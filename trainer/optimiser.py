# SPDX-License-Identifier: GPL-3.0-or-later
"""Optimisers, and their state in checkpoints, which any device can continue."""

from __future__ import annotations

import torch

MOMENTUM = 0.9  # of CoMA's code
# What belongs to the device that steps, not to the training.
OF_THE_DEVICE = ("lr", "capturable", "foreach", "fused")


def make_optimiser(network: torch.nn.Module, config: dict, capturable: bool = False) -> torch.optim.Optimizer:
    """AdamW, or CoMA's stochastic gradient descent with momentum.

    Args:
        capturable: its steps can be recorded as a CUDA graph: the learning rate is a tensor on the parameters' device.
            For AdamW alone.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    options = {"lr": config["learning_rate"], "weight_decay": config["weight_decay"]}
    if config.get("optimiser") == "sgd":
        return torch.optim.SGD(parameters, momentum=MOMENTUM, **options)
    if not capturable:
        return torch.optim.AdamW(parameters, **options)
    options["lr"] = torch.tensor(options["lr"], device=parameters[0].device)
    return torch.optim.AdamW(parameters, capturable=True, **options)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate; one that is a tensor stays where it is in memory."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict:
    """Its state for a checkpoint."""
    state = optimiser.state_dict()
    return state | {"param_groups": [group | {"lr": float(group["lr"])} for group in state["param_groups"]]}


def load_optimiser_state(optimiser: torch.optim.Optimizer, saved: dict) -> None:
    """Continue the state of a checkpoint, which may have been written on another kind of device.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, RuntimeError: when it is no state of this optimiser.
    """
    own = [{name: group[name] for name in OF_THE_DEVICE if name in group} for group in optimiser.param_groups]
    groups = [group | kept for group, kept in zip(saved["param_groups"], own, strict=True)]
    optimiser.load_state_dict(saved | {"param_groups": groups})
    if any(float(state.get("step", 0)) < 0 for state in optimiser.state.values()):
        raise ValueError("it counts less than no steps")  # AdamW would divide by zero.
