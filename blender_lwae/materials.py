# SPDX-License-Identifier: GPL-3.0-or-later
"""Skin and eyes. Made once per file and then the artist's: what exists is used as it is."""

from __future__ import annotations

import bpy

from .backend.eyes import IRIS_RADIUS, PUPIL_RADIUS

TAG = "lwae_material"
# Where a vertex lies on its eyeball seen from the front: (x, z) in eyeball radii, and 1 on the front half.
EYE_ATTRIBUTE = "lwae_eye"

SKIN_COLOUR = (0.68, 0.41, 0.30, 1.0)
SCLERA_COLOUR = (0.82, 0.79, 0.76, 1.0)
IRIS_COLOUR = (0.075, 0.13, 0.16, 1.0)
IRIS_EDGE_COLOUR = (0.012, 0.02, 0.026, 1.0)
PUPIL_COLOUR = (0.002, 0.002, 0.002, 1.0)
IRIS_VIEWPORT_COLOUR = (0.03, 0.05, 0.065, 1.0)


def skin() -> bpy.types.Material:
    """The skin of new faces."""
    return _reused("Face Skin") or _make_skin("Face Skin")


def eyes() -> bpy.types.Material:
    """The eyeballs of new faces: white with an iris painted by the attribute `lwae_eye`."""
    return _reused("Face Eyes") or _make_eye("Face Eyes", SCLERA_COLOUR)


def iris() -> bpy.types.Material:
    """The front of the eyeballs: renders exactly like `eyes`, but is dark in the solid viewport."""
    return _reused("Face Iris") or _make_eye("Face Iris", IRIS_VIEWPORT_COLOUR)


def _reused(name: str) -> bpy.types.Material | None:
    for material in bpy.data.materials:
        if material.library is None and material.get(TAG) == name:
            return material
    return None


def _new(name: str, colour: tuple[float, ...], roughness: float):
    material = bpy.data.materials.new(name)
    material[TAG] = name
    material.diffuse_color = colour
    material.roughness = roughness
    if material.node_tree is None:  # Before Blender 5.0.
        material.use_nodes = True
    material.node_tree.nodes.clear()
    output = material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    output.location = (300, 0)
    return material, output


def _make_skin(name: str) -> bpy.types.Material:
    material, output = _new(name, SKIN_COLOUR, 0.55)
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    shader.inputs["Base Color"].default_value = SKIN_COLOUR
    shader.inputs["Roughness"].default_value = 0.52
    shader.inputs["IOR"].default_value = 1.4
    shader.inputs["Subsurface Weight"].default_value = 0.5
    shader.inputs["Subsurface Radius"].default_value = (1.0, 0.35, 0.2)
    shader.inputs["Subsurface Scale"].default_value = 0.003  # Metres: light travels 3 mm in red.
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    return material


def _make_eye(name: str, viewport_colour: tuple[float, ...]) -> bpy.types.Material:
    material, output = _new(name, viewport_colour, 0.15)
    tree = material.node_tree
    group = tree.nodes.new("ShaderNodeGroup")
    group.node_tree = _eye_group()
    group.location = (60, 0)
    tree.links.new(group.outputs["Shader"], output.inputs["Surface"])
    return material


def _eye_group() -> bpy.types.NodeTree:
    """Both eye materials share one node group, so that an iris is recoloured in one place."""
    for tree in bpy.data.node_groups:
        if tree.library is None and tree.get(TAG) == "Face Eye":
            return tree
    tree = bpy.data.node_groups.new("Face Eye", "ShaderNodeTree")
    tree[TAG] = "Face Eye"
    tree.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    nodes, links = tree.nodes, tree.links
    attribute = nodes.new("ShaderNodeAttribute")
    attribute.attribute_name = EYE_ATTRIBUTE
    flat = nodes.new("ShaderNodeVectorMath")
    flat.operation = "MULTIPLY"
    flat.inputs[1].default_value = (1, 1, 0)
    length = nodes.new("ShaderNodeVectorMath")
    length.operation = "LENGTH"
    axes = nodes.new("ShaderNodeSeparateXYZ")
    # The back of the eyeball gets a distance beyond the iris.
    behind = nodes.new("ShaderNodeMath")
    behind.operation = "SUBTRACT"
    behind.inputs[0].default_value = 1
    distance = nodes.new("ShaderNodeMath")
    distance.operation = "ADD"
    ramp = nodes.new("ShaderNodeValToRGB")
    shader = nodes.new("ShaderNodeBsdfPrincipled")
    output = nodes.new("NodeGroupOutput")
    for column, node in enumerate((attribute, flat, length, distance, ramp, shader, output)):
        node.location = (220 * column, 0)
    axes.location, behind.location = (220, -200), (440, -200)

    elements = ramp.color_ramp.elements
    stops = (
        (0.0, PUPIL_COLOUR),
        (PUPIL_RADIUS - 0.015, PUPIL_COLOUR),
        (PUPIL_RADIUS + 0.015, IRIS_COLOUR),
        (IRIS_RADIUS - 0.09, IRIS_COLOUR),
        (IRIS_RADIUS - 0.03, IRIS_EDGE_COLOUR),
        (IRIS_RADIUS + 0.03, SCLERA_COLOUR),
    )
    elements[0].position, elements[0].color = stops[0]
    elements[-1].position, elements[-1].color = stops[-1]
    for position, colour in stops[1:-1]:
        elements.new(position).color = colour

    shader.inputs["Roughness"].default_value = 0.08
    shader.inputs["IOR"].default_value = 1.376  # The cornea's.
    links.new(attribute.outputs["Vector"], flat.inputs[0])
    links.new(attribute.outputs["Vector"], axes.inputs[0])
    links.new(flat.outputs["Vector"], length.inputs[0])
    links.new(axes.outputs["Z"], behind.inputs[1])
    links.new(length.outputs["Value"], distance.inputs[0])
    links.new(behind.outputs["Value"], distance.inputs[1])
    links.new(distance.outputs["Value"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    links.new(shader.outputs["BSDF"], output.inputs["Shader"])
    return tree
