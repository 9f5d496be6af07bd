"""Prints what this host supports: python -I -m holdfast.machine.confine --probe."""

from __future__ import annotations

import sys

from holdfast.machine.confine.probing import probe


def main(arguments: list[str]) -> int:
    """Print the probe as JSON; return the exit code."""
    if arguments != ["--probe"]:
        sys.stderr.write("usage: python -I -m holdfast.machine.confine --probe\n")
        return 2
    sys.stdout.write(probe().to_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
