# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring face models: one definition per metric, the same mixes for every model, with intervals."""
