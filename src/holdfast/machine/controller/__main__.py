"""Starts the controller: `python -m holdfast.machine.controller`, settings by the environment."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from holdfast.kernel.failure import install
from holdfast.machine.controller.boot import start
from holdfast.machine.controller.settings import process_environment


def draw(size: int) -> str:
    """Return `size` random bytes as hexadecimal digits."""
    return os.urandom(size).hex()


def main() -> int:
    """Run until a signal ends it; return the exit code."""
    install(sys.stderr.write, threading)
    return asyncio.run(start(process_environment(), draw))


if __name__ == "__main__":
    sys.exit(main())
