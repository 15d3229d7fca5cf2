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

from .losses import cycle_loss, reconstruction_loss
from .run import Run

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 60
WARM_UP = 0.05


def train(run: Run, device: str = "cpu") -> bool:
    """Train from the checkpoint, if there is one, to the last epoch; the last epoch is what counts.

    Every draw comes from states that the checkpoint holds, so a resumed training equals an uninterrupted one.
    SIGTERM and Ctrl-C finish the current step, write a checkpoint and return.

    Returns:
        Whether the last epoch was reached.

    Raises:
        LwaeError: the data set is gone or another one, there is no such device, or the loss is not finite.
    """
    with _stop_signals() as stopped:
        return _train(run, require_device(device), stopped)


def require_device(name: str) -> str:
    """The name of a device that PyTorch can use here; LwaeError if it cannot."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LwaeError(f"PyTorch has no device {name!r} here; use cpu, or cuda or mps where there is one.") from error
    return name


def _train(run: Run, device: str, stopped: list[int]) -> bool:
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
    optimiser = torch.optim.AdamW(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        lr=config["learning_rate"],
        weight_decay=config["weight_decay"],
    )
    state = {"epoch": 0, "batch": 0, "sums": [0.0, 0.0], "history": []}
    if run.checkpoint.is_file():
        saved = run.read_checkpoint()
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["random"])
        state = {key: saved[key] for key in state}
    batch_size = min(config["batch_size"], len(dataset.train) // 2 * 2)
    batches = max(1, len(dataset.train) // batch_size)
    total_steps = config["epochs"] * batches
    network.train()

    def save() -> None:
        # In memory first: what torch raises on a full disk is not an OSError.
        buffer = io.BytesIO()
        parameters, moments = network.state_dict(), optimiser.state_dict()
        torch.save({**state, "network": parameters, "optimiser": moments, "random": torch.get_rng_state()}, buffer)
        with atomic_write(run.checkpoint) as stream:
            stream.write(buffer.getbuffer())

    saved_at = -math.inf  # The first epoch is kept too.
    done = state["epoch"] * batches + state["batch"]
    log.info("Training %s from epoch %d to %d; Ctrl-C keeps a checkpoint.", run.path, state["epoch"], config["epochs"])
    with tqdm(total=total_steps, initial=done, unit="step", disable=None) as bar:
        while state["epoch"] < config["epochs"]:
            order = np.random.default_rng([config["seed"], state["epoch"]]).permutation(dataset.train)
            while state["batch"] < batches:
                chosen = np.sort(order[state["batch"] * batch_size :][:batch_size])
                faces = torch.as_tensor(np.ascontiguousarray(dataset.vertices[chosen]), device=device)
                step = state["epoch"] * batches + state["batch"]
                for group in optimiser.param_groups:
                    group["lr"] = config["learning_rate"] * schedule(step / total_steps)
                reconstruction, codes = reconstruction_loss(network, faces)
                cycle = cycle_loss(network, faces, codes, part_sizes) if config["cycle"] else torch.zeros(())
                loss = reconstruction + config["cycle"] * cycle
                if not torch.isfinite(loss):
                    raise LwaeError(
                        f"Training diverged in epoch {state['epoch'] + 1}: the loss is not finite; "
                        "start a new run with a smaller learning_rate."
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                state["batch"] += 1
                state["sums"][0] += float(reconstruction.detach())
                state["sums"][1] += float(cycle.detach())
                bar.update()
                if stopped:
                    save()
                    log.warning("Stopped in epoch %d; continue with --resume.", state["epoch"] + 1)
                    return False
            means = [value / batches for value in state["sums"]]
            state["history"].append({"reconstruction": means[0], "cycle": means[1]})
            bar.set_postfix(reconstruction=f"{means[0]:.4f}", cycle=f"{means[1]:.4f}")
            state.update(epoch=state["epoch"] + 1, batch=0, sums=[0.0, 0.0])
            if time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS or state["epoch"] == config["epochs"]:
                save()
                saved_at = time.monotonic()
                log.info("epoch %d: reconstruction %.4f mm, cycle %.4f mm", state["epoch"], *means)
    return True


def schedule(progress: float) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017)."""
    if progress < WARM_UP:
        return (progress + 1e-3) / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


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
