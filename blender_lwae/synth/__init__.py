# SPDX-License-Identifier: GPL-3.0-or-later
"""Headless face making: `blender -b --command lwae synth`."""
