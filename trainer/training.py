# SPDX-License-Identifier: GPL-3.0-or-later
"""The training loop: the same for both presets, and the same whether or not it was interrupted."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import signal
import time

import numpy as np
import torch
from tqdm import tqdm

from backend.errors import LwaeError
from backend.files import atomic_write
from backend.torch_decoder import torch_network
from trainer.mesh.topology import polygon_edges

from .distributed import Team, own_device, team
from .evaluation.regions import find_regions
from .losses import Bending, Losses, loss_weights
from .run import Run

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 60
WARM_UP = 0.05
MOMENTUM, DECAY = 0.9, 0.99  # Of CoMA's code; the decay is per epoch.


def train(run: Run, device: str = "cpu") -> bool:
    """Train from the checkpoint, if there is one, to the last epoch; the last epoch is what counts.

    Every draw comes from states that the checkpoint holds, so a resumed training equals an uninterrupted one.
    SIGTERM and Ctrl-C finish the current step, write a checkpoint and return. Under `torchrun` all processes train
    together (`distributed`).

    Returns:
        Whether the last epoch was reached.

    Raises:
        LwaeError: the data set is gone or another one, there is no such device, or the loss is not finite.
    """
    device = require_device(own_device(device))
    with _stop_signals() as stopped, team(device) as processes:
        return _train(run, device, stopped, processes)


def require_device(name: str) -> str:
    """The name of a device that PyTorch can use here; LwaeError if it cannot."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LwaeError(f"PyTorch has no device {name!r} here; use cpu, or cuda or mps where there is one.") from error
    return name


def _train(run: Run, device: str, stopped: list[int], processes: Team) -> bool:
    if not processes.leads:
        log.setLevel(logging.ERROR)
    config, dataset = run.config, run.dataset
    torch.manual_seed(config["seed"])
    model = run.start_model()
    if model.vertex_count != dataset.vertex_count:
        raise LwaeError(
            f"{dataset.path} has {dataset.vertex_count} vertices but {run.path} was started with {model.vertex_count}; "
            "put its data set back, or start a new run."
        )
    network = torch_network(model, dropout=config.get("dropout", 0.0)).to(device)
    part_sizes = model.code_sizes
    weights = loss_weights(config)
    outside = torch.as_tensor(~find_regions(model).inside, device=device) if "leakage" in weights else None
    bending = None
    if "seam" in weights:
        edges = polygon_edges(dataset.template.polygon_sizes, dataset.template.polygon_vertices)
        bending = Bending(dataset.vertices, dataset.train, model.mean, edges).to(device)
    optimiser = make_optimiser(network, config)
    state = {"epoch": 0, "batch": 0, "sums": [0.0] * len(weights), "history": []}
    if run.checkpoint.is_file():
        saved = run.read_checkpoint()
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        set_random_states(saved, device)
        state = {key: saved[key] for key in state}
    batch_size = min(config["batch_size"], len(dataset.train) // 2 * 2)
    processes.check_batch(batch_size)
    own = processes.rows(batch_size)
    losses = processes.wrap(Losses(network, processes, config, part_sizes, outside, bending))
    batches = max(1, len(dataset.train) // batch_size)
    total_steps = config["epochs"] * batches
    network.train()

    def save() -> None:
        if not processes.leads:
            return
        # In memory first: what torch raises on a full disk is not an OSError.
        buffer = io.BytesIO()
        parameters, moments = network.state_dict(), optimiser.state_dict()
        torch.save({**state, "network": parameters, "optimiser": moments, **random_states(device)}, buffer)
        with atomic_write(run.checkpoint) as stream:
            stream.write(buffer.getbuffer())

    saved_at = -math.inf  # The first epoch is kept too.
    done = state["epoch"] * batches + state["batch"]
    log.info("Training %s from epoch %d to %d; Ctrl-C keeps a checkpoint.", run.path, state["epoch"], config["epochs"])
    with tqdm(total=total_steps, initial=done, unit="step", disable=None if processes.leads else True) as bar:
        while state["epoch"] < config["epochs"]:
            order = np.random.default_rng([config["seed"], state["epoch"]]).permutation(dataset.train)
            while state["batch"] < batches:
                chosen = np.sort(order[state["batch"] * batch_size :][:batch_size])[own]
                faces = torch.as_tensor(np.ascontiguousarray(dataset.vertices[chosen]), device=device)
                factor = learning_rate_factor(config, state["epoch"] * batches + state["batch"], batches)
                for group in optimiser.param_groups:
                    group["lr"] = config["learning_rate"] * factor
                terms = losses(faces)
                loss = sum(weight * terms[name] for name, weight in weights.items())
                # What all must agree on in one message: the terms, and whether somebody was asked to stop.
                said = torch.stack([*(terms[name].detach() for name in weights), loss.new_tensor(len(stopped))])
                *found, stops = processes.mean(said).tolist()
                if not all(math.isfinite(number) for number in found):
                    raise LwaeError(
                        f"Training diverged in epoch {state['epoch'] + 1}: the loss is not finite; "
                        "start a new run with a smaller learning_rate."
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                state["batch"] += 1
                state["sums"] = [total + number for total, number in zip(state["sums"], found, strict=True)]
                bar.update()
                if stops:
                    save()
                    processes.wait()
                    log.warning("Stopped in epoch %d; continue with --resume.", state["epoch"] + 1)
                    return False
            means = {name: value / batches for name, value in zip(weights, state["sums"], strict=True)}
            state["history"].append(means)
            bar.set_postfix({name: f"{value:.4f}" for name, value in means.items()})
            state.update(epoch=state["epoch"] + 1, batch=0, sums=[0.0] * len(weights))
            if time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS or state["epoch"] == config["epochs"]:
                save()
                saved_at = time.monotonic()
                log.info("epoch %d: %s", state["epoch"], ", ".join(f"{name} {means[name]:.4f}" for name in means))
    return True


def make_optimiser(network: torch.nn.Module, config: dict) -> torch.optim.Optimizer:
    """AdamW, or CoMA's stochastic gradient descent with momentum."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    options = {"lr": config["learning_rate"], "weight_decay": config["weight_decay"]}
    if config.get("optimiser") == "sgd":
        return torch.optim.SGD(parameters, momentum=MOMENTUM, **options)
    return torch.optim.AdamW(parameters, **options)


def learning_rate_factor(config: dict, step: int, batches: int) -> float:
    """What the learning rate is multiplied by, at a step of a training with that many batches per epoch."""
    if config.get("schedule") == "exponential":
        return DECAY ** (step // batches)
    return schedule(step / (config["epochs"] * batches))


def schedule(progress: float) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017)."""
    if progress < WARM_UP:
        return (progress + 1e-3) / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def random_states(device: str) -> dict[str, torch.Tensor]:
    """What a checkpoint keeps of the generators that training draws from: the CPU's and the device's own."""
    states = {"random": torch.get_rng_state()}
    kind = torch.device(device).type
    if kind == "cuda":
        states["random_cuda"] = torch.cuda.get_rng_state(device)
    elif kind == "mps":
        states["random_mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(saved: dict, device: str) -> None:
    """Continue the generators of a checkpoint; a device that it was not written on starts from the seed."""
    torch.set_rng_state(saved["random"])
    kind = torch.device(device).type
    if kind == "cuda" and "random_cuda" in saved:
        torch.cuda.set_rng_state(saved["random_cuda"], device)
    elif kind == "mps" and "random_mps" in saved:
        torch.mps.set_rng_state(saved["random_mps"])


@contextlib.contextmanager
def _stop_signals():
    """A list that is empty until somebody asks the process to stop."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
