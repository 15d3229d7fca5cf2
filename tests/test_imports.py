# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may import whom."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BLOCKED = """
import importlib, pathlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name + " must not be imported")
sys.meta_path.insert(0, Refuse())
root = pathlib.Path({package!r})
for file in sorted(root.rglob("*.py")):
    name = ".".join(file.with_suffix("").parts)
    if file.name not in {left_out}:
        importlib.import_module(name.removesuffix(".__init__"))
"""

TORCH = {"torch_decoder.py", "torch_local.py", "torch_sparse.py"}


@pytest.mark.parametrize(
    "package, blocked, left_out",
    [
        ("backend", {"bpy", "torch", "scipy", "trainer"}, {"network.py", *TORCH}),
        ("backend", {"bpy", "scipy", "trainer"}, set()),
        ("trainer", {"bpy"}, {"__main__.py"}),
    ],
)
def test_package_imports_without(package, blocked, left_out):
    code = BLOCKED.format(blocked=blocked, package=package, left_out=left_out)
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_backend_imports_relatively_so_that_the_zip_can_carry_it():
    for file in (ROOT / "backend").rglob("*.py"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith(("import backend", "from backend"))]
