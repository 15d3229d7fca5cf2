# SPDX-License-Identifier: GPL-3.0-or-later
"""The training loop: the same for both presets, and the same whether or not it was interrupted."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import signal
import sys
import time

import numpy as np
import torch
from tqdm import tqdm

from backend.errors import LwaeError
from backend.files import atomic_write
from backend.torch_decoder import torch_network
from trainer.mesh.topology import polygon_edges

from .cuda_graph import Graphed
from .distributed import Team, own_device, team
from .equivariance import Equivariance
from .evaluation.regions import find_regions
from .face_store import FaceStore
from .losses import Bending, Losses, loss_weights
from .optimiser import load_optimiser_state, make_optimiser, optimiser_state, set_rate
from .precision import matrix_products, require_precision
from .run import Run
from .step import Step

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 60
# Looking at a GPU's numbers is waiting for it.
STEPS_BETWEEN_LOOKS = {"cuda": 20}
WARM_UP = 0.05
DECAY = 0.99  # per epoch, of CoMA's code


def train(run: Run, device: str = "cpu", precision: str = "float32", graph: bool = True) -> bool:
    """Train from the checkpoint, if there is one, to the last epoch; the last epoch is what counts.

    Every draw comes from states that the checkpoint holds, so a resumed training equals an uninterrupted one.
    SIGTERM and Ctrl-C finish the current step, write a checkpoint and return. Under `torchrun` all processes train
    together (`distributed`).

    Args:
        device: cpu, cuda, cuda:1, mps.
        precision: one of `precision.PRECISIONS`.
        graph: record the step as a CUDA graph where that is possible: one process on a GPU, and AdamW.

    Returns:
        Whether the last epoch was reached.

    Raises:
        LwaeError: the data set is gone or another one, there is no such device, or the loss is not finite.
    """
    device = require_device(own_device(device))
    require_precision(precision, device)
    with _stop_signals() as stopped, team(device) as processes, matrix_products(precision):
        return _train(run, device, stopped, processes, graph)


def require_device(name: str) -> str:
    """The name of a device that PyTorch can use here; LwaeError if it cannot."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LwaeError(f"PyTorch has no device {name!r} here; use cpu, or cuda or mps where there is one.") from error
    return name


def _train(run: Run, device: str, stopped: list[int], processes: Team, graph: bool) -> bool:
    if not processes.leads:
        log.setLevel(logging.ERROR)
    config, dataset = run.config, run.dataset
    torch.manual_seed(config["seed"])
    model = run.start_model()
    network = torch_network(model, dropout=config.get("dropout", 0.0)).to(device)
    part_sizes = model.code_sizes
    weights = loss_weights(config)
    outside = torch.as_tensor(~find_regions(model).inside, device=device) if "leakage" in weights else None
    bending = None
    if "seam" in weights:
        edges = polygon_edges(dataset.template.polygon_sizes, dataset.template.polygon_vertices)
        bending = Bending(dataset.vertices, dataset.train, model.mean, edges).to(device)
    graph = graph and _can_be_recorded(config, device, processes)
    optimiser = make_optimiser(network, config, capturable=graph)
    state = {"epoch": 0, "batch": 0, "sums": [0.0] * len(weights), "history": []}
    if run.checkpoint.is_file():
        saved = run.read_checkpoint()
        run.load_parameters(network, saved)
        if len(saved["sums"]) != len(weights):
            raise LwaeError(f"{run.checkpoint} was made with other losses; put the run's own config.json back.")
        try:
            load_optimiser_state(optimiser, saved["optimiser"])
            set_random_states(saved, device)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise LwaeError(f"{run.checkpoint} is damaged; delete it and train again.") from error
        state = {key: saved[key] for key in state}
    batch_size = min(config["batch_size"], len(dataset.train) // 2 * 2)
    processes.check_batch(batch_size)
    own = processes.rows(batch_size)
    losses = processes.wrap(Losses(network, processes, config, part_sizes, outside, bending))
    batches = max(1, len(dataset.train) // batch_size)
    total_steps = config["epochs"] * batches
    network.train()
    image = run.image(dataset)
    store = FaceStore(dataset.vertices, dataset.train, device, image=image)
    equivariance = None if image is None else Equivariance(network, model, image)
    step = Step(losses, weights, optimiser, torch.empty(len(own), *model.mean.shape, device=device), equivariance)
    step.sums.copy_(torch.tensor(state["sums"], dtype=step.sums.dtype))
    do_step = Graphed(step, device) if graph else step
    alone = processes.size == 1
    # Several processes have to agree after each step.
    looks = STEPS_BETWEEN_LOOKS.get(torch.device(device).type, 1) if alone else 1

    def save() -> None:
        if not processes.leads:
            return
        # The last step's loss is of the parameters before it.
        if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
            raise _diverged(state["epoch"] + (state["batch"] > 0))
        # In memory first: what torch raises on a full disk is not an OSError.
        buffer = io.BytesIO()
        parameters, moments = network.state_dict(), optimiser_state(optimiser)
        torch.save({**state, "network": parameters, "optimiser": moments, **random_states(device)}, buffer)
        with atomic_write(run.checkpoint) as stream:
            stream.write(buffer.getbuffer())

    saved_at = -math.inf  # The first epoch is kept too.
    done = state["epoch"] * batches + state["batch"]
    log.info("Training %s from epoch %d to %d; Ctrl-C keeps a checkpoint.", run.path, state["epoch"], config["epochs"])
    hidden = None if processes.leads and sys.stderr is not None else True  # None: where no terminal is
    with tqdm(total=total_steps, initial=done, unit="step", disable=hidden) as bar:
        while state["epoch"] < config["epochs"]:
            rng = np.random.default_rng([config["seed"], state["epoch"]])
            order = rng.permutation(dataset.train)
            turned = None if image is None else rng.random(len(dataset.vertices)) < 0.5
            while state["batch"] < batches:
                # As drawn, not sorted: the first half of a batch meets the second.
                chosen = order[state["batch"] * batch_size :][:batch_size][own]
                store.load(chosen, step.faces, None if turned is None else turned[chosen])
                factor = learning_rate_factor(config, state["epoch"] * batches + state["batch"], batches)
                set_rate(optimiser, config["learning_rate"] * factor)
                do_step()
                state["batch"] += 1
                bar.update()
                if state["batch"] % looks and state["batch"] < batches and not (alone and stopped):
                    continue
                # What all must agree on in one message: the terms, and whether somebody was asked to stop.
                said = torch.cat([step.sums, step.sums.new_tensor([len(stopped)])])
                *state["sums"], stops = processes.mean(said).tolist()
                if not all(math.isfinite(number) for number in state["sums"]):
                    raise _diverged(state["epoch"] + 1)
                if stops:
                    save()
                    processes.wait()
                    log.warning("Stopped in epoch %d; continue with --resume.", state["epoch"] + 1)
                    return False
            means = {name: value / batches for name, value in zip(weights, state["sums"], strict=True)}
            state["history"].append(means)
            bar.set_postfix({name: f"{value:.4f}" for name, value in means.items()})
            state.update(epoch=state["epoch"] + 1, batch=0, sums=[0.0] * len(weights))
            step.sums.zero_()
            if time.monotonic() - saved_at > SECONDS_BETWEEN_CHECKPOINTS or state["epoch"] == config["epochs"]:
                save()
                saved_at = time.monotonic()
                log.info("epoch %d: %s", state["epoch"], ", ".join(f"{name} {means[name]:.4f}" for name in means))
    return True


def _diverged(epoch: int) -> LwaeError:
    return LwaeError(
        f"Training diverged in epoch {epoch}: the loss is not finite; start a new run with a smaller learning_rate."
    )


def _can_be_recorded(config: dict, device: str, processes: Team) -> bool:
    """Whether to try to record a training's step as a CUDA graph; on a GPU, says why not."""
    if torch.device(device).type != "cuda":
        return False
    if processes.size > 1:
        log.info("Several processes go step by step: only a training of one process is recorded as a CUDA graph.")
    elif config.get("optimiser") == "sgd":
        log.info("optimiser=sgd goes step by step: only AdamW is recorded as a CUDA graph.")
    else:
        return True
    return False


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
