# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains face models: data sets, local weights, networks, evaluation, export."""
