# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that is meant for people."""


class LwaeError(ValueError):
    """Bad input. The message is one clear sentence: what is wrong and what to do."""
