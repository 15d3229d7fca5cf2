# SPDX-License-Identifier: GPL-3.0-or-later
"""The run folder: what is needed to resume, evaluate or export one training.

    config.json      resolved configuration, data set, git revision
    start.lwae       the model before training: for the `local` preset the closed form, for `paper` a random network
    checkpoint.pt    parameters, optimiser, random states and the training history
    metrics.json     written by `evaluate`
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
import reprlib
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backend.arrays import UNREADABLE
from backend.errors import LwaeError
from backend.files import atomic_folder, atomic_write
from backend.local_network import LEAST_SIGMA, MOST_SIGMA
from backend.lwae_file import MAX_CODE, MAX_PARTS, check_model, load_model, save_model
from backend.model import FaceModel
from backend.prior import Prior
from backend.torch_decoder import torch_network
from trainer.mesh.topology import triangulate

from . import local_preset, paper_preset
from .closed_form import local_arrays
from .datasets.dataset import Dataset, load_dataset
from .latent import fit_latent
from .mirror import find_image, symmetric_mean
from .refit import refit
from .weights.seams import symmetric_weights
from .weights.weights_file import load_weights, weights_command

log = logging.getLogger(__name__)

MUTE = 0.1  # Largest weight on the coarsest mesh of the `paper` preset below which a part is as good as lost.
LEAST = {name: 1 for name in ("epochs", "code_size", "coefficients")} | {"batch_size": 2, "sigma_n": LEAST_SIGMA}
MOST = {"dropout": 0.9, "border_strength": 1.0, "sigma_n": MOST_SIGMA, "seed": 2**63 - 1, "latent": 4096, "order": 100}
CHECKPOINT = {
    **{"network": dict, "optimiser": dict, "epoch": int, "batch": int, "sums": list, "history": list},
    "random": torch.Tensor,
}
CHOICES = {"optimiser": ("adamw", "sgd"), "schedule": ("cosine", "exponential")}
CHOICES |= {"allocation": ("variance", "equal")}
DEFAULTS = {"local": local_preset.DEFAULTS, "paper": paper_preset.DEFAULTS}


@dataclass
class Run:
    """An opened run folder."""

    path: Path
    config: dict

    @property
    def data(self) -> Path:
        """The data set folder."""
        return self.path / self.config["dataset"]

    @property
    def dataset(self) -> Dataset:
        """Raises LwaeError when it is gone or damaged."""
        if not self.data.is_dir():
            raise LwaeError(
                f"{os.path.realpath(self.data)}, the data set of {self.path}, is gone; put it back, or correct its "
                f"path in {self.path / 'config.json'}."
            )
        dataset, model = load_dataset(self.data), self.start_model()
        template = dataset.template
        if not (
            model.vertex_count == dataset.vertex_count
            and np.array_equal(model.polygon_sizes, template.polygon_sizes)
            and np.array_equal(model.polygon_vertices, template.polygon_vertices)
        ):
            raise LwaeError(
                f"{self.data} holds another mesh than {self.path} was trained on; put its data set back, or train "
                "again."
            )
        if not _same_faces(self.config.get("faces"), dataset):
            raise LwaeError(
                f"{self.data} holds other faces or another split than {self.path} was started with; put its data set "
                "back, or start a new run."
            )
        return dataset

    def image(self, dataset: Dataset) -> np.ndarray | None:
        """The mirror image of each vertex, int [N], where mirrored faces count in training too; else None."""
        if not self.config.get("mirror"):
            return None
        model = self.start_model()
        return find_image(model.mean, dataset.template, model.weights, logging.DEBUG)  # said when the run was made

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def start_model(self) -> FaceModel:
        """The model before training."""
        return load_model(self.path / "start.lwae")

    def read_checkpoint(self) -> dict:
        """Raises LwaeError when there is none, or it is damaged."""
        if not self.checkpoint.is_file():
            raise LwaeError(f"{self.path} has no checkpoint yet; run `python -m trainer train` first.")
        try:
            with zipfile.ZipFile(self.checkpoint) as archive:  # torch does not look at the checksums
                if damaged := archive.testzip():
                    raise ValueError(damaged)
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            if not (isinstance(state, dict) and all(isinstance(state.get(key), CHECKPOINT[key]) for key in CHECKPOINT)):
                raise ValueError("no checkpoint of a training")
            if not _is_progress(state):
                raise ValueError("no progress of a training")
            return state
        except (*UNREADABLE, pickle.UnpicklingError) as error:
            raise LwaeError(f"{self.checkpoint} is damaged; delete it and train again.") from error

    def load_parameters(self, network: torch.nn.Module, state: dict) -> None:
        """Raises LwaeError when the checkpoint is another run's."""
        try:
            network.load_state_dict(state["network"])
        except (RuntimeError, TypeError, AttributeError) as error:
            raise LwaeError(
                f"{self.checkpoint} belongs to another run than {self.path / 'start.lwae'}; put the run's own file "
                "back, or train again."
            ) from error

    def trained_model(self) -> FaceModel:
        """The model as the checkpoint has it, its prior and controls fitted to the training faces."""
        dataset = self.dataset
        return fit_latent(self.trained_network(), dataset, self.image(dataset))

    def trained_network(self) -> FaceModel:
        """The model as the checkpoint has it, but with the prior and the controls of the start."""
        model, state = self.start_model(), self.read_checkpoint()
        network = torch_network(model)
        self.load_parameters(network, state)
        model = dataclasses.replace(model, network=model.network | network.export_arrays())
        model.header["training"] = {**self.config, "epochs": state["epoch"]}
        return model


def _is_progress(state: dict) -> bool:
    """Whether a checkpoint's epoch, sums and history are as a training keeps them."""
    history = state["history"]
    return (
        min(state["epoch"], state["batch"]) >= 0
        and all(type(number) is float for number in state["sums"])
        and all(isinstance(losses, dict) and losses.keys() == history[0].keys() for losses in history)
        and all(type(number) is float for losses in history for number in losses.values())
    )


def create_run(path: Path, data: Path, preset: str, overrides: dict) -> Run:
    """Make a run folder from a data set that has weights.

    Raises:
        LwaeError: when the folder exists, the data set or its weights are missing, or an option is unknown.
    """
    if path.exists():
        raise LwaeError(f"{path} exists already; continue it with --resume, or choose another folder.")
    if preset not in DEFAULTS:
        raise LwaeError(f"There is no preset {preset!r}; use one of {', '.join(DEFAULTS)}.")
    unknown = set(overrides) - set(DEFAULTS[preset])
    if unknown:
        raise LwaeError(f"The preset {preset} has no option {', '.join(sorted(unknown))}.")
    config = {**DEFAULTS[preset], **overrides, "preset": preset}
    _check_options(config)
    if overrides.get("kl") and not config["variational"]:
        raise LwaeError("kl weighs what a variational encoder adds; say --variational too, or leave out kl.")
    dataset = load_dataset(data)
    if preset == "local" and "epochs" not in overrides:
        config["epochs"] = local_preset.usual_epochs(len(dataset.train), config["batch_size"])
    weights, part_names = load_weights(data)
    if weights.shape != (len(part_names), dataset.vertex_count) or not np.isfinite(weights).all():
        raise LwaeError(
            f"The local weights of {data} belong to another mesh; run `python -m trainer weights {data}` again."
        )
    model = _start_model(dataset, weights, part_names, config)
    try:
        check_model(model)
    except LwaeError as error:
        raise LwaeError(f"{data} makes no model that can be used: {error} Correct it, or prepare it again.") from error
    # `..` leads out of the folder that a symbolic link points to.
    config["dataset"] = os.path.relpath(os.path.realpath(data), os.path.realpath(path))
    config["faces"] = _faces(dataset)
    config["weights_command"] = weights_command(data)
    config["git_revision"] = _git_revision()
    with atomic_folder(path) as folder:
        save_model(model, folder / "start.lwae")
        with atomic_write(folder / "config.json", "w", encoding="utf-8") as stream:
            json.dump(config, stream, indent=1)
    return Run(path, config)


def open_run(path: Path) -> Run:
    """Raises LwaeError when the folder is no run."""
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
        # Options that are newer than the run stand for what it did.
        before = local_preset.BEFORE if config["preset"] == "local" else {}
        config = {**DEFAULTS[config["preset"]], **before, **config, "dataset": str(Path(config["dataset"]))}
        if not isinstance(config.get("weights_command") or "", str):
            raise TypeError("weights_command")
        if b"\0" in os.fsencode(config["dataset"]):  # No file system has such a name.
            raise ValueError("dataset")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LwaeError(f"{path} is not a run; make one with `python -m trainer train`.") from error
    _check_options(config)
    return Run(Path(path), config)


def _faces(dataset: Dataset) -> dict:
    """Tells a data set from others of its mesh: the split, and how large its first and last face are (mm)."""
    ends = dataset.vertices[[0, -1]]
    sizes = np.linalg.norm(ends - ends.mean(axis=1, keepdims=True), axis=-1).mean(axis=1)
    split = np.concatenate([dataset.train, [-1], dataset.test]).astype("<i8")
    return {"split": f"{zlib.crc32(split.tobytes()):08x}", "sizes": sizes.round(4).tolist()}


def _same_faces(noted: dict | None, dataset: Dataset) -> bool:
    """Older runs noted nothing. Another machine may prepare the same faces with other last digits."""
    if not noted:
        return True
    found = _faces(dataset)
    try:
        return noted["split"] == found["split"] and np.allclose(noted["sizes"], found["sizes"], rtol=0, atol=0.01)
    except (KeyError, TypeError, ValueError) as error:
        raise LwaeError("The run's config.json is damaged: its entry \"faces\" is not as `train` writes it.") from error


def _check_options(config: dict) -> None:
    """Numbers must be numbers within their limits; the paper network checks the rest of its options itself."""
    for name, usual in DEFAULTS[config["preset"]].items():
        value, least = config[name], LEAST.get(name, 0)
        if isinstance(usual, bool):
            valid, kind = isinstance(value, bool), "true or false"
        elif isinstance(usual, int | float):
            kinds = (int,) if isinstance(usual, int) else (int, float)
            # NaN is in no range, and a whole number may be larger than any float.
            valid = type(value) in kinds and least <= value <= MOST.get(name, sys.float_info.max)
            kind = f"a {'whole ' if isinstance(usual, int) else ''}number of at least {least}"
            kind += f" and at most {MOST[name]}" if name in MOST else ""
        elif isinstance(usual, list):
            valid = isinstance(value, list) and all(type(one) is int and one >= 1 for one in value)
            kind = f"whole numbers of at least 1 such as {json.dumps(usual, separators=(',', ':'))}"
        elif name in CHOICES:
            valid, kind = value in CHOICES[name], " or ".join(CHOICES[name])
        else:
            continue
        if not valid:
            raise LwaeError(f"The option {name} must be {kind}, not {reprlib.repr(value)}.")


def _start_model(dataset: Dataset, weights: np.ndarray, part_names: list[str], config: dict) -> FaceModel:
    template = dataset.template
    faces = dataset.faces(dataset.train)
    mean = faces.mean(axis=0, dtype=np.float64).astype(np.float32)
    triangles = triangulate(template.polygon_sizes, template.polygon_vertices)
    image = find_image(mean, template, weights) if config.get("mirror") else None
    if config["preset"] == "local":
        if image is not None:
            mean, weights = symmetric_mean(mean, image), symmetric_weights(weights, image)
        faces -= mean  # in place: many faces of many vertices fit in memory once, not thrice
        arrays = local_arrays(faces, mean, triangles, weights, config["code_size"], config["allocation"], image)
        code_sizes = [len(arrays[f"part{k}/basis"]) for k in range(len(weights))]
        kept = ("sigma_n", "encoder_iterations", "border_strength")
        network_config = {key: config[key] for key in kept} | {"residuals": []}
    else:
        network = paper_preset.build(faces, mean, triangles, weights, config)
        code_sizes = [network.config["latent"]] * len(weights)
        network_config, arrays = network.config, network.export_arrays()
        _warn_of_mute_parts(arrays["gate"], part_names)
    size = sum(code_sizes)
    if size > MAX_CODE or len(weights) > MAX_PARTS:
        raise LwaeError(
            f"{len(weights)} parts and {size:,} numbers for a face are more than a model holds ({MAX_PARTS}, "
            f"{MAX_CODE:,}); train with a smaller code_size or latent, or find fewer parts."
        )
    header = {
        "name": dataset.name,
        "preset": config["preset"],
        "units": "mm",
        "up": "Z",
        "licence": dataset.licence,
        "provenance": dataset.provenance,
        "network": network_config,
    }
    model = FaceModel(
        header=header,
        mean=mean,
        polygon_sizes=template.polygon_sizes,
        polygon_vertices=template.polygon_vertices,
        uv=template.uv,
        polygon_material=template.polygon_material,
        part_names=part_names,
        code_sizes=code_sizes,
        weights=weights,
        controls=[],
        prior=Prior(np.zeros(size, np.float32), np.zeros((size, 1), np.float32), 1.0),
        network=arrays,
    )
    if config["preset"] == "paper":
        return model  # The codes of a random network say nothing of the faces: no prior, no controls yet.
    model = refit(model, faces, config["refit"], image)  # and from here on what is left of the faces
    model = _with_residual_blocks(model, faces, config, image)
    del faces
    return fit_latent(model, dataset, image)


def _warn_of_mute_parts(gate: np.ndarray, part_names: list[str]) -> None:
    """Say which parts have next to no weight on the coarsest mesh [K, N_L], where alone they can act."""
    mute = [name for name, share in zip(part_names, gate.max(axis=1), strict=True) if share < MUTE]
    if mute:
        log.warning(
            "The coarsest mesh has %d vertices, too few for %s: what that code says is hardly heard. "
            "Use fewer parts, or fewer levels such as --set filters=[16,16,32].",
            gate.shape[1],
            " and ".join(mute),
        )


def _with_residual_blocks(model: FaceModel, residual: np.ndarray, config: dict, image: np.ndarray | None) -> FaceModel:
    """The model with residual blocks for what it leaves of the training faces, [S, N, 3] mm."""
    rng = np.random.default_rng(np.random.SeedSequence([config["seed"], 0xB10C]))
    blocks, arrays = local_preset.residual_blocks(model.weights, model.code_sizes, config, residual, rng, image)
    network = {**model.header["network"], "residuals": blocks}
    return dataclasses.replace(model, header={**model.header, "network": network}, network=model.network | arrays)


def _git_revision() -> str:
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()
