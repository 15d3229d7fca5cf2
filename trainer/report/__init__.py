# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as a page of figures, to be put beside the paper."""
