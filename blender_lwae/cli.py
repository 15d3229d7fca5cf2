# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `blender -b --command lwae`: `synth` makes faces, `info` describes a model, `models` lists them.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 and 143 stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import math
import platform
import signal
import sys
import threading
from pathlib import Path

import bpy
import numpy as np

from . import model_list
from .backend.controls import part_controls, slider_signature
from .backend.errors import LwaeError
from .backend.lwae_file import load_model
from .backend.model import WHOLE, FaceModel
from .backend.numpy_decoder import NumpyDecoder
from .backend.synthesis import Plan, sampling_hash
from .synth.folder import prepare
from .synth.jobs import Reporter, run_workers
from .synth.progress import Progress
from .synth.run import Job, run
from .synth.writers import FORMATS, UNITS

FAILED, WRONG_ARGUMENTS = 1, 2
LOG_INTERVAL, LEASH_INTERVAL = 10.0, 0.2  # Seconds between lines of progress where no terminal is.


class Stopped(Exception):
    """The run was asked to end by a signal."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}; the same command continues it")
        self.exit_code = 128 + number


class StopSignals:
    """Within this context Ctrl-C and SIGTERM are only noted, so that no file is cut; `check` raises."""

    def __enter__(self):
        self._number = 0
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _note(self, number, _frame):
        self._number = number

    def stop_at_end_of(self, stream) -> None:
        """Count the end of a stream as SIGTERM: whoever holds its other end has gone, or wants us to stop."""

        def wait() -> None:
            stream.read()
            self._number = self._number or signal.SIGTERM

        threading.Thread(target=wait, daemon=True).start()

    def check(self) -> None:
        if self._number:
            raise Stopped(self._number)


class Parser(argparse.ArgumentParser):
    """One sentence instead of the whole usage."""

    def error(self, message: str):
        raise LwaeError(f"{message}; see lwae {self.prog.split()[-1]} --help.".replace("lwae lwae", "lwae"))


def whole_number(minimum: int, maximum: int = 2**31 - 1):
    def convert(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not minimum <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {minimum} to {maximum}")
        return int(text)

    return convert


def strength(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 10")
    return value


def folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("give the name of a folder")
    return Path(text)


def shard(text: str) -> tuple[int, int]:
    number, slash, total = text.partition("/")
    if not (text.isascii() and slash and number.isdigit() and total.isdigit() and 1 <= int(number) <= int(total)):
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n with 1 <= i <= n, such as 2/4")
    return int(number) - 1, int(total)


def build_parser() -> Parser:
    parser = Parser(prog="lwae", description="Faces from a locally weighted autoencoder.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="synth|info|models")
    info = commands.add_parser("info", help="describe a model: its parts and controls")
    synth = commands.add_parser("synth", help="make faces with their part codes as labels")
    for command in (info, synth):
        command.add_argument(
            "--model",
            default="",
            metavar="MODEL",
            help="a .lwae file, or the name of an installed model (default: the one that came with the add-on)",
        )
    commands.add_parser("models", help="list the installed models")
    add = synth.add_argument
    add("--out", type=folder, required=True, metavar="DIR", help="folder for the faces; continued if it has some")
    add("--count", type=whole_number(1), metavar="N", help="number of random faces")
    add("--seed", type=whole_number(0, 2**63 - 1), default=0, metavar="S", help="same seed, same faces (default 0)")
    add("--format", choices=FORMATS, default="ply", help="mesh files (default ply)")
    add("--units", choices=UNITS, default="m", help="unit of the mesh files (default m)")
    add("--parts", metavar="A,B", help="random: vary only these parts; combinations: exchange only these")
    add("--strength", type=strength, default=1.0, metavar="X", help="distance from the mean face (default 1)")
    add("--sources", type=whole_number(1), metavar="N", help="part combinations: faces that give parts")
    add(
        "--targets",
        type=whole_number(1),
        metavar="N",
        help="part combinations: faces that take each part of each source",
    )
    add("--render", action="store_true", help="also thumbnails and a contact sheet")
    add("--size", type=whole_number(32, 4096), default=256, metavar="PX", help="thumbnail size (default 256)")
    add("--shard", type=shard, default=(0, 1), metavar="I/N", help="make only share I of N (from 1)")
    add("--jobs", type=whole_number(1, 256), default=1, metavar="N", help="processes (default 1)")
    add("--worker", action="store_true", help=argparse.SUPPRESS)
    # Of a run that a window started: it ends with its standard input and says often how far it is.
    add("--leash", action="store_true", help=argparse.SUPPRESS)
    add("--overwrite", action="store_true", help="start afresh in a folder that has faces")
    return parser


def main(arguments: list[str]) -> int:
    """Run the command; what Blender's `--command` calls.

    Returns:
        The exit code.
    """
    try:
        options = build_parser().parse_args(arguments)
        prepare_command = {"info": _model_facts, "models": _installed, "synth": _synth_job}[options.command]
        prepared = prepare_command(options)
    except LwaeError as error:
        return _fail(error, WRONG_ARGUMENTS)
    except SystemExit as error:  # argparse's --help
        return int(error.code or 0)
    if options.command != "synth":
        sys.stdout.write(prepared)
        return 0
    job, decoder = prepared
    total = job.face_count
    try:
        with StopSignals() as signals:
            if job.worker:
                reporter = Reporter()
                run(job, decoder, reporter.advance, signals.check)
                reporter.flush()
                return 0
            if options.leash:
                signals.stop_at_end_of(sys.stdin)
            progress = Progress(total, sys.stderr, log_interval=LEASH_INTERVAL if options.leash else LOG_INTERVAL)
            if options.jobs > 1:
                run_workers(_shares(arguments, job, options.jobs), progress.advance, signals.check)
                run(job, decoder, lambda made=0, kept=0: None, signals.check)
            else:
                run(job, decoder, progress.advance, signals.check)
            progress.finish()
    except LwaeError as error:
        return _fail(error, FAILED)
    except OSError as error:
        return _fail(f"Cannot write to {job.out}: {error.strerror or error}.", FAILED)
    except Stopped as error:
        return _fail(error, error.exit_code)
    sys.stdout.write(f"{total} faces are in {job.out}\n")
    return 0


def _fail(error: object, code: int) -> int:
    sys.stderr.write(f"\nlwae: {error}\n" if sys.stderr.isatty() else f"lwae: {error}\n")
    sys.stderr.flush()
    return code


def _synth_job(options: argparse.Namespace) -> tuple[Job, NumpyDecoder]:
    if bool(options.sources) != bool(options.targets):
        raise LwaeError("--sources and --targets are given together; see lwae synth --help.")
    if bool(options.count) == bool(options.sources):
        raise LwaeError("Give either --count or --sources and --targets; see lwae synth --help.")
    if options.units != "m" and options.format == "glb":
        raise LwaeError("A glb file is in metres by its standard; leave --units away or choose another format.")
    number, total = options.shard
    if options.overwrite and total > 1 and not options.worker:
        raise LwaeError(
            "--overwrite with --shard would remove the faces of the other shards; leave it away or use a new folder."
        )
    model = load_model(model_list.find(options.model))
    names = [name.strip() for name in options.parts.split(",")] if options.parts is not None else model.part_names
    parts = tuple(sorted({model.part_index(name) for name in names}))
    if options.sources:
        plan = Plan.combinations(model, options.seed, options.sources, options.targets, parts, options.strength)
    else:
        plan = Plan(model, options.seed, options.count, options.strength, parts)
    job = Job(
        plan,
        options.out.absolute(),
        options.format,
        options.units,
        number,
        total,
        options.size if options.render else 0,
        options.worker,
    )
    decoder = NumpyDecoder(model)
    if not job.worker:
        prepare(job.out, _record(job), options.overwrite)
    return job, decoder


def _shares(arguments: list[str], job: Job, jobs: int) -> list[list[str]]:
    """Arguments of worker processes that share the blocks of a job among them."""
    jobs = min(jobs, job.block_count)
    shards = job.shards * jobs
    shares = (f"{job.shard + job.shards * number + 1}/{shards}" for number in range(jobs))
    arguments = [argument for argument in arguments if argument != "--leash"]
    return [[*arguments, "--jobs", "1", "--worker", "--shard", share] for share in shares]


def _record(job: Job) -> dict:
    """What run.json says; equal arguments give equal faces."""
    plan = job.plan
    arguments = {
        "seed": plan.seed,
        "count": plan.count,
        "strength": plan.strength,
        "parts": [plan.model.part_names[part] for part in plan.parts],
        "sources": plan.sources,
        "targets": plan.targets,
        "format": job.format,
        "units": job.unit,
    }
    if job.thumbnail_size:
        arguments["size"] = job.thumbnail_size
    layout = {name: list(plan.model.part_offsets[k : k + 2]) for k, name in enumerate(plan.model.part_names)}
    return {
        "model": {
            "name": plan.model.name,
            "hash": plan.model.hash,
            "sliders": slider_signature(plan.model),
            "sampling_hash": sampling_hash(plan.model),
        },
        "arguments": arguments,
        "shares": [f"{job.shard + 1}/{job.shards}"],
        "code_columns": {name: [int(first), int(end)] for name, (first, end) in layout.items()},
        "made_with": {
            "blender": bpy.app.version_string,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }


def _model_facts(options: argparse.Namespace) -> str:
    path = model_list.find(options.model)
    model: FaceModel = load_model(path)
    lines = [
        f"{model.name} ({path})",
        f"preset {model.preset}, {model.vertex_count} vertices, {model.part_count} parts, "
        f"{model.code_size} code numbers, hash {model.hash}",
        f"licence {model.header.get('licence', 'unknown')}",
    ]
    for part, name in enumerate(model.part_names):
        controls = ", ".join(control.name for control in model.controls if control.part == part)
        lines.append(f"  {name} ({model.code_sizes[part]}): {controls or 'no controls'}")
    whole = ", ".join(model.controls[index].name for index in part_controls(model, WHOLE))
    lines += [f"whole face: {whole}"] if whole else []
    names = model.expressions.names
    lines += [f"{len(names)} expressions: {', '.join(names)}"] if names else []
    return "\n".join(lines) + "\n"


def _installed(_options: argparse.Namespace) -> str:
    lines = []
    for item in model_list.model_list():
        key = item.path.name if item.key == model_list.BUNDLED else item.key
        if item.facts is None:
            lines.append(f"{key}: {item.error}")
        else:
            lines.append(f"{key}: {item.name}, {model_list.describe(item.facts)}, {item.facts.licence or 'no licence'}")
    return "\n".join(lines) + "\n"


_command = None


def register() -> None:
    global _command
    _command = bpy.utils.register_cli_command("lwae", main)


def unregister() -> None:
    global _command
    bpy.utils.unregister_cli_command(_command)
    _command = None
