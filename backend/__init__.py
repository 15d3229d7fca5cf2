# SPDX-License-Identifier: GPL-3.0-or-later
"""The face model at run time: the `.lwae` file, face codes, prior and decoders.

NumPy only: Blender's own Python has nothing else. PyTorch is imported by `torch_decoder` and `network` alone,
and only by those who ask for them.
"""
