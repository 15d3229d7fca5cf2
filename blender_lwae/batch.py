# SPDX-License-Identifier: GPL-3.0-or-later
"""Many faces from the sidebar: what is asked for, as the arguments of `lwae synth`, and the run that is under way."""

import os
from pathlib import Path

import bpy
from bpy.props import BoolProperty, BoolVectorProperty, EnumProperty, IntProperty, StringProperty

from . import models
from .backend.errors import LwaeError
from .backend.model import FaceModel
from .chosen_path import chosen_path
from .properties import BESIDE_FILE, MAX_SEED, seed_property, strength_property
from .synth.child import SynthProcess
from .synth.folder import only_share, read_run
from .synth.writers import FORMATS, UNITS

MOST_PARTS = 32  # What a vector property holds; further ones are always chosen.
FORMAT_LABELS = {
    "ply": ("PLY", "Binary meshes with quads, quick to write"),
    "npz": ("NumPy Blocks", "64 faces in one .npz file, for programs that learn from them"),
    "obj": ("OBJ", "Meshes with UVs and materials, for other 3D programs"),
    "stl": ("STL", "Triangles, for printing"),
    "glb": ("glTF", "Meshes with UVs and materials, for engines and the web; in metres"),
}
UNIT_LABELS = {"m": ("Metres", "A head is 0.2 units high"), "mm": ("Millimetres", "A head is 200 units high")}

# The run that is under way; it ends with this Blender.
running: SynthProcess | None = None
# Of the last run in this session: its folder, and a sentence.
last: tuple[str, str] = ("", "")


class LwaeBatchSettings(bpy.types.PropertyGroup):
    """What the Batch panel asks for; kept in the scene."""

    folder: StringProperty(
        name="Folder",
        description="Where the faces go. A folder of its own for each run",
        default="//faces",
        subtype="DIR_PATH",
        options=BESIDE_FILE,
    )
    kind: EnumProperty(
        name="Faces",
        items=(
            ("RANDOM", "Random", "Every face is another person"),
            ("COMBINATIONS", "Part Combinations", "Every target takes every part of every source, one at a time"),
        ),
        options=set(),
    )
    count: IntProperty(
        name="Count", description="Number of faces", default=100, min=1, max=MAX_SEED, soft_max=100_000, options=set()
    )
    sources: IntProperty(
        name="Sources", description="Faces that give parts", default=5, min=1, soft_max=100, options=set()
    )
    targets: IntProperty(
        name="Targets",
        description="Faces that take each part of each source",
        default=11,
        min=1,
        soft_max=100,
        options=set(),
    )
    seed: seed_property("The same seed gives the same faces", options=set())
    strength: strength_property(most=10.0, options=set())
    parts: BoolVectorProperty(
        name="Parts",
        description="Which parts vary, to fit an otherwise average face; of combinations, which are exchanged",
        size=MOST_PARTS,
        default=(True,) * MOST_PARTS,
        options=set(),
    )
    format: EnumProperty(
        name="Format",
        description="Files that hold the meshes",
        items=[(name, *FORMAT_LABELS[name]) for name in FORMATS],
        default="ply",
        options=set(),
    )
    unit: EnumProperty(
        name="Unit",
        description="Unit of the mesh files",
        items=[(name, *UNIT_LABELS[name]) for name in UNITS],
        default="m",
        options=set(),
    )
    portraits: BoolProperty(
        name="Portraits", description="Also render every face, and a sheet of the first 60", options=set()
    )
    size: IntProperty(
        name="Size",
        description="Width and height of a portrait",
        default=256,
        min=32,
        max=4096,
        subtype="PIXEL",
        options=set(),
    )
    jobs: IntProperty(
        name="Processes",
        description="Blenders that share the work on this computer. The faces are the same",
        default=1,
        min=1,
        max=256,
        soft_max=os.cpu_count() or 1,
        options=set(),
    )
    share: IntProperty(
        name="Share", description="Which share of the faces this computer makes", default=1, min=1, options=set()
    )
    shares: IntProperty(
        name="of",
        description="Among how many computers the faces are shared. All can write to one folder",
        default=1,
        min=1,
        soft_max=100,
        options=set(),
    )
    opens_folder: BoolProperty(
        name="Open Folder",
        description="Show the folder when the last face is there",
        default=True,
        options=set(),
    )


def model() -> FaceModel:
    """The model whose faces are made: that of new faces.

    Raises:
        LwaeError: when it is missing or damaged.
    """
    return models.default()


def folder(settings: LwaeBatchSettings) -> Path:
    """Where the faces go.

    Raises:
        LwaeError: when no folder is named, or one beside a file that was never saved.
    """
    return chosen_path(settings.folder, "a folder for the faces")


def arguments(settings: LwaeBatchSettings, overwrite: bool = False, asked: dict | None = None) -> list[str]:
    """Words of the command line that makes the same faces: `synth --out ...`.

    Args:
        overwrite: remove what an earlier run made.
        asked: what `take_arguments` gave, to continue an earlier run.

    Raises:
        LwaeError: when the settings make no run.
    """
    if settings.share > settings.shares:
        raise LwaeError(f"There is no share {settings.share} of {settings.shares}; choose one up to {settings.shares}.")
    # Blender's numbers hold 7 digits and whole seeds below 2^31; those of an earlier run are taken as they are.
    seed, strength = settings.seed, float(f"{settings.strength:.6g}")
    if asked is not None:
        seed, strength = asked["seed"], asked["strength"]
    source = model() if asked is None else asked["model"]
    words = ["synth", "--model", models.tools(source).path, "--out", str(folder(settings)), "--seed", str(seed)]
    words += ["--format", settings.format]
    words += ["--strength", repr(strength)]
    if settings.kind == "RANDOM":
        words += ["--count", str(settings.count)]
    else:
        words += ["--sources", str(settings.sources), "--targets", str(settings.targets)]
    if settings.format != "glb":
        words += ["--units", settings.unit]
    names = source.part_names
    chosen = chosen_parts(settings, source)
    if not chosen:
        raise LwaeError("Choose at least one part.")
    if len(chosen) < len(names):
        words += ["--parts", ",".join(chosen)]
    if settings.portraits:
        words += ["--render", "--size", str(settings.size)]
    if settings.shares > 1:
        words += ["--shard", f"{settings.share}/{settings.shares}"]
    words += ["--jobs", str(settings.jobs)]
    return words + (["--overwrite"] if overwrite else [])


def chosen_parts(settings: LwaeBatchSettings, model: FaceModel) -> list[str]:
    """Names of the parts that vary or are exchanged."""
    return [name for index, name in enumerate(model.part_names) if index >= MOST_PARTS or settings.parts[index]]


def face_count(settings: LwaeBatchSettings) -> int:
    """How many faces the settings ask for, of all shares."""
    if settings.kind == "RANDOM":
        return settings.count
    return settings.sources * settings.targets * len(chosen_parts(settings, model()))


def take_arguments(settings: LwaeBatchSettings) -> dict:
    """Set the settings to what the run in their folder was asked for, and return that, with its FaceModel as "model".

    Where one share alone was made there, and the settings ask for all, they ask for that share afterwards.

    Raises:
        LwaeError: when there is none, it is of another version, or its model is not installed.
    """
    out = folder(settings)
    found = read_run(out)
    if found is None:
        raise LwaeError(f"{out} has no faces to continue; choose the folder of an earlier run.")
    made_with, asked, shares = found
    try:
        source = _model_of_run(out, made_with["hash"], made_with["name"], made_with.get("sliders", ""))
        settings.kind = "COMBINATIONS" if asked["sources"] else "RANDOM"
        if asked["sources"]:
            settings.sources, settings.targets = asked["sources"], asked["targets"]
        else:
            settings.count = asked["count"]
        settings.seed, settings.strength = min(asked["seed"], MAX_SEED), asked["strength"]
        settings.format, settings.unit = asked["format"], asked["units"]
        chosen = [name in asked["parts"] for name in source.part_names] + [True] * MOST_PARTS
        settings.parts = chosen[:MOST_PARTS]
        settings.portraits = "size" in asked
        settings.size = asked.get("size", settings.size)
        if settings.shares == 1:  # Another number was chosen here.
            settings.share, settings.shares = only_share(out, shares)
    except LwaeError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise LwaeError(f"{out} was made by another version; continue it with that.") from error
    return asked | {"model": source}


def _model_of_run(out: Path, model_hash: str, name: str, sliders: str) -> FaceModel:
    try:
        return models.by_hash(model_hash, name, sliders)
    except LwaeError as error:
        raise LwaeError(f"{out} was made with the model {name}; install that to continue.") from error


def stop() -> None:
    """End the run that is under way, if any."""
    global running
    if running is not None:
        running.stop()
        running = None


def register() -> None:
    bpy.utils.register_class(LwaeBatchSettings)
    bpy.types.Scene.lwae_batch = bpy.props.PointerProperty(type=LwaeBatchSettings)


def unregister() -> None:
    stop()
    del bpy.types.Scene.lwae_batch
    bpy.utils.unregister_class(LwaeBatchSettings)
