"""Starts the controller: `python -m holdfast.machine.controller`, settings by the environment."""

from __future__ import annotations

import asyncio
import os
import sys

from holdfast.machine.controller.boot import start
from holdfast.machine.controller.settings import process_environment


def draw(size: int) -> str:
    """Return `size` random bytes as hexadecimal digits."""
    return os.urandom(size).hex()


def main() -> int:
    """Run until a signal; return the exit code."""
    return asyncio.run(start(process_environment(), draw))


if __name__ == "__main__":
    sys.exit(main())
