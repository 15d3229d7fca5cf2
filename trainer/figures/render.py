# SPDX-License-Identifier: GPL-3.0-or-later
"""A small orthographic renderer: shaded heads as arrays, good enough to judge shapes without Blender."""

from __future__ import annotations

import numpy as np

LIGHTS = ((np.array([-0.5, -0.75, 0.6]), 0.75), (np.array([0.9, -0.3, 0.1]), 0.25), (np.array([0.0, 0.6, 0.8]), 0.3))
AMBIENT = 0.22
SKIN = (0.85, 0.68, 0.58)


def render(
    vertices: np.ndarray,
    triangles: np.ndarray,
    colors: np.ndarray | tuple = SKIN,
    size: int = 256,
    turn: float = 0.0,
    width_mm: float = 270.0,
    supersample: int = 2,
) -> np.ndarray:
    """Draw one head that looks along -Y, with Z up.

    Triangles are sampled densely and the nearest sample of each pixel is kept (a z-buffer of points).

    Args:
        vertices: [N, 3] in mm.
        triangles: int [T, 3].
        colors: one RGB colour in 0..1, or [N, 3].
        turn: degrees that the head is turned to its left.
        width_mm: what fits into the picture.

    Returns:
        uint8 [size, size, 3] on white.
    """
    resolution = size * supersample
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    points = (vertices - (vertices.max(axis=0) + vertices.min(axis=0)) / 2) @ rotation.T
    colors = np.broadcast_to(np.asarray(colors, dtype=float), (len(points), 3))
    normals = vertex_normals(points, triangles)
    pixels_per_mm = resolution / width_mm
    corners = points[triangles]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1) * pixels_per_mm
    image = np.full((resolution * resolution, 3), 1.0)
    depth = np.full(resolution * resolution, np.inf)
    # Triangles of similar size are sampled together, a little denser than the pixels.
    steps = np.maximum(2, np.ceil(edges * 1.5).astype(int) + 1)
    classes = 2 ** np.ceil(np.log2(steps)).astype(int)
    for step in np.unique(classes):
        chosen = triangles[classes == step]
        i, j = np.meshgrid(np.arange(step + 1), np.arange(step + 1), indexing="ij")
        inside = i + j <= step
        weights = np.stack([i[inside], j[inside], step - i[inside] - j[inside]], axis=1) / step
        sampled = np.einsum("sc,tcd->tsd", weights, points[chosen]).reshape(-1, 3)
        normal = np.einsum("sc,tcd->tsd", weights, normals[chosen]).reshape(-1, 3)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        color = np.einsum("sc,tcd->tsd", weights, colors[chosen]).reshape(-1, 3)
        x = np.floor(sampled[:, 0] * pixels_per_mm + resolution / 2).astype(int)
        y = np.floor(resolution / 2 - sampled[:, 2] * pixels_per_mm).astype(int)
        visible = (x >= 0) & (x < resolution) & (y >= 0) & (y < resolution) & (normal[:, 1] < 0.2)
        pixel, distance = (y * resolution + x)[visible], sampled[visible, 1]
        order = np.lexsort((distance, pixel))
        first = order[np.unique(pixel[order], return_index=True)[1]]
        nearer = first[distance[first] < depth[pixel[first]]]
        depth[pixel[nearer]] = distance[nearer]
        light = AMBIENT + sum(
            power * np.maximum(normal[visible][nearer] @ (d / np.linalg.norm(d)), 0) for d, power in LIGHTS
        )
        image[pixel[nearer]] = np.clip(color[visible][nearer] * light[:, None], 0, 1)
    image = image.reshape(size, supersample, size, supersample, 3).mean(axis=(1, 3))
    return (255 * image + 0.5).astype(np.uint8)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, [N, 3]."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices, dtype=float)
    for i in range(3):
        np.add.at(normals, triangles[:, i], face)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


def contact_sheet(images: list[np.ndarray], columns: int) -> np.ndarray:
    """Equal pictures side by side, row after row; the last row is filled up with white."""
    rows = -(-len(images) // columns)
    height, width = images[0].shape[:2]
    sheet = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return sheet
