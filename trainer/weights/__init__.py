# SPDX-License-Identifier: GPL-3.0-or-later
"""Local weights: which vertices belong to which part of the face."""
