# SPDX-License-Identifier: GPL-3.0-or-later
import signal
import sys

from .cli import main

# Leave as Ctrl-C does, so that what is half-written goes.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
for stream in filter(None, (sys.stdout, sys.stderr)):  # None when it is closed.
    stream.reconfigure(errors="backslashreplace")  # Paths hold what terminals cannot show.
sys.exit(main())
