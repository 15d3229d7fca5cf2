# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of faces for people to judge."""
