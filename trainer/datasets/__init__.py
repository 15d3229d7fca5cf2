# SPDX-License-Identifier: GPL-3.0-or-later
"""Face data sets: one folder format, and a `prepare` door for each source."""
