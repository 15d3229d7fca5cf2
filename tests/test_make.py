# SPDX-License-Identifier: GPL-3.0-or-later
"""What README and make.py both say."""

import make


def test_readme_names_the_system_packages_that_bpy_needs():
    readme = (make.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`apt-get install {make.APT_PACKAGES}`" in readme
