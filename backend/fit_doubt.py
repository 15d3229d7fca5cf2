# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a fit is to be trusted."""

from __future__ import annotations

from .encode_mesh import UNITS
from .fit_mesh import MeshFit
from .plausibility import FACE_LIMITS, Plausibility

NEAR = 0.8  # mm from the mesh, which heads of other people than the model's are met to


def fit_doubt(plausibility: Plausibility, fit: MeshFit, scale: str) -> str | None:
    """Why a mesh may be no head, if so.

    Distances alone do not tell: they are of what belongs together, and a model bends to a ball within 1 mm. But then it
    is like nobody, and heads that are like nobody of the model's are met better.
    """
    if scale == "units" and fit.pose.scale not in UNITS.values():
        return "in no usual unit is the mesh as large as a head"
    unlike = float(plausibility(fit.code)[0][0])
    if fit.distance.to_mesh > NEAR and unlike > FACE_LIMITS[-1]:
        return (
            f"the face is {unlike:.0f} times as far from the mean face as people are, and yet "
            f"{fit.distance.to_mesh:.1f} mm from the mesh, which may be no head"
        )
    return None
