"""Installs an OpenClaw as a separate process, so that it can be killed like any other.

    python -m holdfast.machine.agents.openclaw.reinstall FOLDER VERSION LOCK

LOCK is that of the installation before: what is installed anew must be of the same packages.

The last line printed is the folder of the installation, or the reason of a failure (exit code 1).
"""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.machine.agents.openclaw.install import InstallError, install_openclaw


def main(arguments: list[str]) -> int:
    """Install; return the exit code."""
    folder, version, lock = arguments
    try:
        installed = install_openclaw(Path(folder), version=version, lock=Path(lock))
    except InstallError as error:
        sys.stdout.write(" ".join(str(error).split()) + "\n")
        return 1
    sys.stdout.write(f"{installed}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
