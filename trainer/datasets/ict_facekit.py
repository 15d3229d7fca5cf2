# SPDX-License-Identifier: GPL-3.0-or-later
"""Heads drawn from the light model of ICT-FaceKit (Li et al. 2020, arXiv 2004.03458), in its folder FaceXModel.

Each file holds the neutral mesh with one shape added, in cm, Y up: identity shapes are principal components in
standard deviations, expression shapes are blend shapes at their full strength.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.errors import LwaeError

from ..mesh.topology import polygon_starts
from .alignment import frame_matrix
from .correspondence import Correspondence
from .dataset import Dataset, Template, write_dataset
from .expression_set import make_expressions
from .expressions import sample_actions
from .eyes import eye_polygons
from .linear_model import LinearModel

log = logging.getLogger(__name__)

NEUTRAL = "generic_neutral_mesh"
IDENTITY = re.compile(r"identity(\d{3,})")
INDEX = "vertex_indices.json"  # names the expression shapes; the folder has outdated ones beside them
# Geometries as its README lists them: first vertex of each, in the order of the vertices.
GEOMETRIES = {
    "face": 0,
    "head and neck": 9409,
    "mouth socket": 11248,
    "eye sockets": 13294,
    "gums, tongue and teeth": 14062,
    "eyeballs": 21451,
    "lacrimal fluid, eye blend, eye occlusion and eyelashes": 24591,
}
VERTICES = 26719
IDENTITIES = 100
REGIONS = {
    "face": ("face", "eyeballs"),
    "head": ("face", "head and neck", "mouth socket", "eye sockets", "eyeballs"),
    "full": tuple(GEOMETRIES),
}
STRETCHED = 0.15  # Share of stretched edges that a shape may have (published ones: under 0.01).


def prepare_ict_facekit(
    source: Path, path: Path, *, count: int = 2000, seed: int = 0, region: str = "head", expressions: float = 0.0
) -> Dataset:
    """Draw `count` heads and write them as a data set; the labels are the weights of all shapes.

    Identity weights are standard normal, as ICT-FaceKit samples them. The result is aligned rigidly onto the
    neutral mesh, since a tenth of the variance of the identity shapes is a nod. Then expressions are added; those that
    were read for it are also stored as facial actions.

    Args:
        source: the folder FaceXModel, or one of that layout with another mesh; other files in it are ignored.
        region: a key of `REGIONS`: the face or the head, both with eyeballs, or everything. Only the published
            mesh has known regions; of another one everything is taken, and round loose pieces for the eyes.
        expressions: strength of the strongest expression, 0..1; see `expressions.sample_actions`.

    Raises:
        LwaeError: a shape is missing, unreadable or of another mesh, an option is out of range, the folder `path`
            exists or cannot be written.
    """
    source, path = Path(source), Path(path)
    if path.exists():
        raise LwaeError(f"{path} exists already; choose another folder or delete it first.")
    if region not in REGIONS:
        raise LwaeError(f"There is no region {region!r}; use one of {', '.join(REGIONS)}.")
    if not 0 <= expressions <= 1:
        raise LwaeError(f"The strength of the expressions is {expressions:g}; give a number from 0 to 1.")
    files = _find(source)
    names = _expression_names(source, files) if expressions else []
    neutral = Correspondence(files[NEUTRAL], None)
    geometry = _geometry(len(neutral.first))
    identities = _identity_names(source, files, published=geometry is not None)
    kept = np.ones(len(neutral.first), dtype=bool)
    if geometry is not None:
        kept = np.isin(geometry, [list(GEOMETRIES).index(name) for name in REGIONS[region]])
    frame = frame_matrix(10.0, "y", "z")

    def shapes(names: list[str]) -> np.ndarray:
        result = np.empty((len(names), kept.sum(), 3), np.float32)
        for index, name in enumerate(tqdm(names, unit="shape", disable=None)):
            shape = neutral.read(files[name], STRETCHED)[0] - neutral.first
            result[index] = shape[kept] @ frame.T
        return result

    model = LinearModel(neutral.first[kept] @ frame.T, shapes(identities), shapes(names))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x1C7]))
    identity = rng.standard_normal((count, len(identities)))
    expression = sample_actions(names, count, expressions, rng)
    options = [] if region == "head" else [f"--region {region}"]
    options += [f"--expressions {expressions:g}"] if expressions else []
    return write_dataset(
        path,
        model.faces(identity, expression, rotate=True),
        count,
        _template(neutral.template, model.mean, kept, geometry),
        name="ICT-FaceKit heads",
        licence="MIT (ICT-FaceKit light model)",
        provenance=f"ICT-FaceKit light model, {len(identities)} identity and {len(names)} expression shapes "
        f"(strength {expressions:g}), region {region}, {count} faces, seed {seed}",
        command=" ".join(
            ["python -m trainer prepare ict-facekit", shlex.quote(source.name), f"--count {count} --seed {seed}"]
            + [*options, "--out DATA"]
        ),
        seed=seed,
        label_names=identities + names,
        labels=np.concatenate([identity, expression], axis=1),
        expressions=make_expressions(dict(zip(names, model.expression, strict=True)), {}) if names else None,
        reference=model.mean,
    )


def _find(source: Path) -> dict[str, Path]:
    if not source.is_dir():
        raise LwaeError(f"There is no folder {source}; name the folder FaceXModel of ICT-FaceKit.")
    meshes = (file for file in sorted(source.iterdir()) if file.suffix.lower() == ".obj")
    files = {file.stem: file for file in meshes if not file.name.startswith(".")}
    if NEUTRAL not in files:
        raise LwaeError(f"{source} has no {NEUTRAL}.obj; name the folder FaceXModel of ICT-FaceKit.")
    return files


def _identity_names(source: Path, files: dict[str, Path], published: bool) -> list[str]:
    found = sum(IDENTITY.fullmatch(name) is not None for name in files)
    names = [f"identity{number:03d}" for number in range(max(found, IDENTITIES if published else 1))]
    _require(source, files, names)
    return names


def _expression_names(source: Path, files: dict[str, Path]) -> list[str]:
    """Those that the index names; without an index, all other shapes."""
    names = [name for name in files if name != NEUTRAL and not IDENTITY.fullmatch(name)]
    index = source / INDEX
    if index.is_file():
        try:
            listed = json.loads(index.read_text(encoding="utf-8"))["expressions"]
            names = list(dict.fromkeys(str(name) for name in listed))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise LwaeError(f"{index} does not list the expressions ({error!r}); download it again.") from error
    if not names:
        raise LwaeError(f"{source} has no expression shapes; leave out --expressions.")
    _require(source, files, names)
    return names


def _require(source: Path, files: dict[str, Path], names: list[str]) -> None:
    if missing := [name for name in names if name not in files]:
        more = f" and {len(missing) - 1} more shapes" if len(missing) > 1 else ""
        raise LwaeError(f"{source} has no {missing[0]}.obj{more}; download the whole folder FaceXModel again.")


def _geometry(count: int) -> np.ndarray | None:
    """Index into GEOMETRIES of each vertex of the published mesh, int64 [N]; None for another mesh."""
    if count != VERTICES:
        log.info("The mesh has %d vertices, not the published %d: regions are unknown, all is taken.", count, VERTICES)
        return None
    return np.searchsorted(list(GEOMETRIES.values()), np.arange(count), side="right") - 1


def _template(neutral: Template, mean: np.ndarray, kept: np.ndarray, geometry: np.ndarray | None) -> Template:
    """Polygons of the kept vertices; those of the eyeballs get the material 1."""
    template = neutral.of_vertices(kept)
    if geometry is None:
        eyes = eye_polygons(mean, template)
    else:
        first = template.polygon_vertices[polygon_starts(template.polygon_sizes)]
        eyes = geometry[kept][first] == list(GEOMETRIES).index("eyeballs")
    template.polygon_material = eyes.astype(np.uint8)
    return template
