"""Runs an attempt: `python -I -m holdfast.machine.attempts OPTIONS -- PROGRAM ARGUMENT...`.

The program gets this process's environment, without the order of its confinement.
"""

from __future__ import annotations

import os
import sys

from holdfast.machine.attempts.options import read_options
from holdfast.machine.attempts.run import run
from holdfast.machine.confine.sandbox import VARIABLE


def main() -> int:
    """Run until the program has ended; return the exit code."""
    env = dict(os.environ)
    order = env.pop(VARIABLE, "")
    return run(read_options(sys.argv[1:]), env=env, order=order)


if __name__ == "__main__":
    sys.exit(main())
