# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the product is, each figure beside its baseline: `python -m benchmarks`."""
