# SPDX-License-Identifier: GPL-3.0-or-later
"""What README and make.py both say."""

import os
import signal
import subprocess
import sys
import time

import pytest

import make

PARENT = """
import sys, make
child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
make.run_tests = lambda _: make.run([sys.executable, "-c", child], 60, "Sleeping")
sys.argv = ["make.py", "test"]
sys.exit(make.main())
"""


def test_readme_names_the_system_packages_that_bpy_needs():
    readme = (make.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`apt-get install {make.APT_PACKAGES}`" in readme


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_children_end_with_us():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=make.ROOT, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(child, 0)
            time.sleep(0.1)
