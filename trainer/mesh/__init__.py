# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes as the trainer sees them: topology, distances, the multi-resolution hierarchy."""
